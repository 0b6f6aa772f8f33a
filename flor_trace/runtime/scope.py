"""List the objects that a boundary can see, under names that a replay finds again."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice, starmap, takewhile
from types import BuiltinFunctionType, CellType, FunctionType, GeneratorType, ModuleType

from flor_trace._speedups import running
from flor_trace.hints import Any
from flor_trace.state.codecs.classes import has_state
from flor_trace.state.codecs.functions import holds_state
from flor_trace.state.rng import rng_roots
from flor_trace.types import StackFrame

#: Iterators that draw from others as they go, and keep nothing back.
_THROUGH = (enumerate, zip, map, filter, tuple, chain, islice, starmap, takewhile)
_MOST_SOURCES = 64

_ATOMS = (bool, int, float, complex, str, bytes, type(None))
_FIXED = (ModuleType, BuiltinFunctionType)


def roots(
    stack: Sequence[StackFrame],
    modules: Mapping[str, dict[str, Any]],
    filenames: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Root name to object, for the frames of the program (innermost first) and its modules.

    ``local:x`` is a local of the innermost frame, ``caller:0:main:x`` one of a frame around it
    (counted from the outermost), ``global:train.py:x`` a module's, ``rng:torch`` a generator's
    state, ``iterator:0:batches`` a generator of the program's `filenames` that a running loop
    draws from.  Immutable locals of callers are left out: nothing that the loop runs can see or
    change them, unless they are cells.  Classes and functions are code, and left out unless those
    of the program's `filenames` hold something.
    """
    found: dict[str, Any] = {}
    for name, value in local_names(stack[0]).items():
        if not _is_fixed(value, filenames):
            found[f"local:{name}"] = value
    for depth, (code, _, names, cells) in enumerate(reversed(stack[1:])):
        if code.co_name == "<module>":
            continue
        for name, value in names.items():
            if isinstance(value, _ATOMS) and name not in cells:
                continue
            if not _is_fixed(value, filenames):
                found[f"caller:{depth}:{code.co_qualname}:{name}"] = value
    found.update(_globals(modules, filenames))
    for number, generator in enumerate(_generators(stack, filenames)):
        found[f"iterator:{number}:{generator.gi_code.co_qualname}"] = generator
    found.update(rng_roots())
    return found


def _globals(
    modules: Mapping[str, dict[str, Any]], filenames: frozenset[str]
) -> Iterator[tuple[str, Any]]:
    for module, names in modules.items():
        for name, value in list(names.items()):
            if not name.startswith("__") and not _is_fixed(value, filenames):
                yield f"global:{module}:{name}", value


def _generators(
    stack: Sequence[StackFrame], filenames: frozenset[str]
) -> Iterator[GeneratorType[Any, Any, Any]]:
    """What the loops of running frames draw from, itself or by way of `enumerate` and the like.

    A replay steps through a loop to get to a boundary; that leaves a generator where it was, but
    not with the variables that it had.
    """
    codes = {code for code, *_ in stack}
    for loop in running():
        found: Any = loop.iterator
        for each in _sources(found):
            if (
                type(each) is GeneratorType
                and loop.code() in codes
                and each.gi_code.co_filename in filenames
            ):
                yield each


def _sources(iterator: Any) -> list[Any]:
    """The iterator and those that it draws from, from the outside in."""
    found = [iterator]
    for each in found:
        if type(each) in _THROUGH and len(found) < _MOST_SOURCES:
            found += gc.get_referents(each)
    return found


def local_names(frame: StackFrame) -> dict[str, Any]:
    """The locals of a function's or class body's frame; none for a module's, whose are globals."""
    code, _, names, _ = frame
    return {} if code.co_name == "<module>" else names


def cells_of(stack: Sequence[StackFrame]) -> Iterator[tuple[str, CellType]]:
    """Root name and cell of every cell variable that `roots` lists."""
    for name, cell in stack[0][3].items():
        yield f"local:{name}", cell
    for depth, (code, _, _, cells) in enumerate(reversed(stack[1:])):
        for name, cell in cells.items():
            yield f"caller:{depth}:{code.co_qualname}:{name}", cell


def _is_fixed(value: Any, filenames: frozenset[str]) -> bool:
    """Whether the value is code that holds nothing: kept from the live side, whatever happens."""
    if isinstance(value, type):
        return not has_state(value, filenames.__contains__)
    if isinstance(value, _FIXED):
        return True
    if type(value) is not FunctionType or value.__closure__ is not None:
        return False
    return not (value.__code__.co_filename in filenames and holds_state(value))


def _namespace(module: Any) -> dict[str, Any]:
    """What a module holds, without asking it: a lazy module would load itself."""
    try:
        namespace = object.__getattribute__(module, "__dict__")
    except AttributeError:
        return {}
    return namespace if type(namespace) is dict else {}


class Modules:
    """The namespaces of the project's modules, found again only when something was imported."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}  # file name -> module path
        self._fixed: dict[str, dict[str, Any]] = {}
        self._seen = -1
        self._namespaces: dict[str, dict[str, Any]] = {}

    def add(self, filename: str, module: str, namespace: dict[str, Any] | None = None) -> None:
        """Hear of a module of the project; `namespace` for one that has no ``__file__``."""
        self._files[filename] = module
        if namespace is not None:
            self._fixed[module] = namespace
        self._seen = -1

    def forget(self) -> None:
        """Hold nothing of the program any more."""
        self._files, self._fixed, self._namespaces, self._seen = {}, {}, {}, -1

    @property
    def filenames(self) -> frozenset[str]:
        """The files whose frames belong to the program."""
        return frozenset(self._files)

    def namespaces(self) -> dict[str, dict[str, Any]]:
        """Module path to the module's globals, in a fixed order."""
        if len(sys.modules) != self._seen:
            self._seen = len(sys.modules)
            found = dict(self._fixed)
            for module in list(sys.modules.values()):
                namespace = _namespace(module)
                filename = namespace.get("__file__")
                if type(filename) is str and filename in self._files:
                    found[self._files[filename]] = namespace
            self._namespaces = dict(sorted(found.items()))
        return self._namespaces
