"""The ``sys.meta_path`` finder and the loader that give rewritten code to an import."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType, TracebackType

from flor_trace._speedups import AfterExec, Before, Unseen
from flor_trace.hints import TYPE_CHECKING, Any, Self
from flor_trace.instrument.cache import CodeCache
from flor_trace.instrument.change import TreeChange
from flor_trace.instrument.failures import OUR_FAILURES
from flor_trace.instrument.load import CodeLoader, OnFailure, program_code, tell
from flor_trace.instrument.readers import PYTEST_REWRITER, READERS
from flor_trace.instrument.select import Project
from flor_trace.types import NO_CONTROLS, Controls, Hooks

if TYPE_CHECKING:  # only the runs that use it import it
    from flor_trace.instrument.tracing import TraceEngine

__all__ = ["Installed", "install", "program_code"]

AfterImport = Callable[[ModuleType], None]


class Loader(SourceFileLoader):
    """Loads one of the user's own modules.

    Only ``get_code`` differs, and it never touches a ``.pyc`` file, so ``__cached__``, source
    access, resources and ``runpy`` are Python's own.
    """

    _code: CodeType | None = None

    def __init__(self, fullname: str, path: str, module: str, installed: Installed) -> None:
        super().__init__(fullname, path)
        self._module = module
        self._installed = installed

    @Unseen
    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Have the code ready before the module runs, and return None: Python makes the module.

        Where there is no instrumented code this turns into Python's own loader, so that a syntax
        error in the module has the traceback that it has without us.
        """
        self._code = self._installed.code_of(self, self._module)
        if self._code is None:
            self.__class__ = SourceFileLoader  # type: ignore[assignment]
        return None

    @Unseen
    def get_code(self, fullname: str) -> CodeType | None:
        """Return instrumented code, or what Python would use where that is not to be had."""
        code, self._code = self._code, None
        if code is None:  # a reload, or somebody who only wants the code
            code = self._installed.code_of(self, self._module)
        return super().get_code(fullname) if code is None else code


# Programs look at the type of `__loader__` by its name, and print it.
Loader.__module__ = SourceFileLoader.__module__
Loader.__name__ = Loader.__qualname__ = SourceFileLoader.__qualname__


class Installed:
    """The import hook while it is in place; usable in ``with``."""

    def __init__(
        self,
        project: Project,
        loader: CodeLoader,
        after_import: Mapping[str, tuple[AfterImport, ...]],
    ) -> None:
        self.project = project
        self._loader = loader
        self._after_import = after_import
        self._active = False
        self.mains: frozenset[str] = frozenset()  #: what `runpy` may look up to run it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.uninstall()

    def place(self) -> None:
        """Go in front of the path finder, and catch up with what is imported already."""
        self._active = True
        at = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else len(sys.meta_path)
        sys.meta_path.insert(at, self)
        for name in self._after_import:
            module = sys.modules.get(name)
            if module is not None:
                self._imported(module, name)

    def uninstall(self) -> None:
        """Leave later imports alone; modules that were imported stay as they are."""
        self._active = False
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def stop(self) -> None:
        """Instrument nothing more, as in a forked child; who reads code is still told."""
        self._active = False

    @Unseen
    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec that Python itself finds, with our loader for the user's own modules."""
        spec = next(self._found(fullname, path, target), None)
        if spec is not None:
            if self._active:
                self._take_over(spec)
                self._make_ready(spec)
            if fullname in self._after_import:
                self._watch(spec)
        return spec

    def _make_ready(self, spec: ModuleSpec) -> None:
        """As `Loader.create_module`, which `runpy` does not call."""
        is_main = spec.name in self.mains and spec.submodule_search_locations is None
        if is_main and isinstance(spec.loader, Loader):
            spec.loader.create_module(spec)

    def invalidate_caches(self) -> None:
        """Do nothing: the finders that are asked are on ``sys.meta_path`` themselves."""

    @staticmethod
    def _found(name: str, path: Any, target: ModuleType | None) -> Iterator[ModuleSpec]:
        finders: list[Any] = [PathFinder, *filter(_is_editable, sys.meta_path)]
        for finder in finders:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                yield spec

    def _take_over(self, spec: ModuleSpec) -> None:
        # Loaders of other kinds, of zip files or of other tools, know best how to get their code.
        if type(spec.loader) is SourceFileLoader:
            module = self.project.module_of(spec.loader.path)
            if module is not None:
                spec.loader = Loader(spec.loader.name, spec.loader.path, module, self)

    def code_of(self, loader: Loader, module: str) -> CodeType | None:
        """Return the instrumented code of a module, None where Python's own is to be used."""
        if not self._active:
            return None
        try:
            source = loader.get_data(loader.path)
        except OSError:
            return None  # Python meets the same error when it reads the file, and tells it
        return self._loader.load(source, loader.path, module)

    def code_of_file(self, path: str, change: TreeChange) -> CodeType | None:
        """Return the instrumented code of a file that another tool compiles with a change.

        None for a file that is not of the project, and where there is only the other tool's own.
        """
        module = self.project.module_of(path) if self._active else None
        if module is None:
            return None
        return self._loader.load(Path(path).read_bytes(), path, module, change)

    def _watch(self, spec: ModuleSpec) -> None:
        """Have this one import call us when the module has been executed.

        The loader has its own ``exec_module`` back before the module runs, and neither wrapper
        adds a frame.
        """
        loader: Any = spec.loader
        name = spec.name
        try:
            forget = Unseen(lambda module: vars(loader).pop("exec_module"))
            tell_us = Unseen(lambda module: self._imported(module, name))
            loader.exec_module = AfterExec(Before(loader.exec_module, forget), tell_us)
        except OUR_FAILURES as failure:
            self._loader.on_failure(name, failure)

    def _imported(self, module: ModuleType, name: str) -> None:
        for callback in self._after_import[name]:
            try:
                callback(module)
            except OUR_FAILURES as failure:
                self._loader.on_failure(name, failure)


def _is_editable(finder: object) -> bool:
    """Tell the finders of editable installs: they serve the user's own sources."""
    return getattr(finder, "__module__", "").startswith("__editable__")


def install(
    project: Project,
    hooks: Hooks,
    *,
    cache_dir: Path | None,
    controls: Controls = NO_CONTROLS,
    after_import: Mapping[str, AfterImport] | None = None,
    on_failure: OnFailure = tell,
    engine: str | TraceEngine = "auto",
) -> Installed:
    """Instrument the project's modules as they are imported from now on.

    `after_import` holds functions that are called with a module right after it was executed, at
    once for one that is imported already.  `engine` is a name that
    `flor_trace.instrument.engines` knows, or what traces the loops: then nothing is rewritten.
    A failure of ours never breaks an import: it goes to `on_failure` with the name of the module,
    and the module runs as Python compiled it.
    """
    watched: dict[str, tuple[AfterImport, ...]] = {k: (f,) for k, f in READERS.items()}
    for name, callback in (after_import or {}).items():
        watched[name] = (*watched.get(name, ()), callback)
    loader = CodeLoader(hooks, CodeCache(cache_dir), controls, on_failure, engine)
    installed = Installed(project, loader, watched)

    def with_pytest(rewriter: ModuleType) -> None:
        from flor_trace.instrument.pytest_rewrite import teach_pytest  # noqa: PLC0415 - rare

        teach_pytest(rewriter, installed.code_of_file, on_failure)

    watched[PYTEST_REWRITER] = (with_pytest, *watched.get(PYTEST_REWRITER, ()))
    installed.place()
    return installed
