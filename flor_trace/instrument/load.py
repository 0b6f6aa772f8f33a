"""From the source of a module to code that reports to the hooks."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import CodeType

from flor_trace.hints import TYPE_CHECKING
from flor_trace.instrument.bind import Source, bind
from flor_trace.instrument.cache import CodeCache, Unit
from flor_trace.instrument.change import TreeChange
from flor_trace.instrument.failures import OUR_FAILURES
from flor_trace.records import dataclass
from flor_trace.types import NO_CONTROLS, Controls, Hooks

if TYPE_CHECKING:  # only the runs that use it import it
    from flor_trace.instrument.tracing import TraceEngine

#: Hears the module and the reason when one of them could not be instrumented.
OnFailure = Callable[[str, BaseException], None]


def tell(name: str, failure: BaseException) -> None:
    """Write one line about a failure to the standard error stream."""
    stream = sys.stderr
    if stream is not None:
        stream.write(
            f"flor_trace: {name} runs, but is not recorded: {type(failure).__name__}: {failure}\n"
        )


@dataclass(frozen=True, slots=True)
class CodeLoader:
    """Compiles modules, from the cache if possible, and binds them to the hooks."""

    hooks: Hooks
    cache: CodeCache
    controls: Controls
    on_failure: OnFailure
    engine: str | TraceEngine = "auto"  #: a name that `engines` knows, or what traces instead

    def load(
        self, source: bytes, path: str, module: str, change: TreeChange | None = None
    ) -> CodeType | None:
        """Return bound code, after the hooks have heard of the module; None if that failed.

        None without a word also for a program that does not compile: Python itself tells that.
        """
        try:
            if not isinstance(self.engine, str):
                return self._watched(self.engine, source, path, module, change)
            unit = Unit(
                *(source, path, module),
                controls=self.controls,
                change=change,
                engine=self.engine,
            )
            rewritten = self.cache.compiled(unit)
            self.hooks.module(rewritten.info, path)
            origin = Source(source, path, change=change)
            return bind(
                rewritten.code, rewritten.info, self.hooks, source=origin, places=rewritten.places
            )
        except SyntaxError:
            return None
        except OUR_FAILURES as failure:
            self.on_failure(module, failure)
            return None

    def _watched(
        self,
        tracer: TraceEngine,
        source: bytes,
        path: str,
        module: str,
        change: TreeChange | None,
    ) -> CodeType:
        """Return plain code, whose loops the tracer knows."""
        from flor_trace.instrument.compile import analyse_module  # noqa: PLC0415 - slow to import

        found, flows = analyse_module(source, path, module, change=change)
        self.hooks.module(found.info, path)
        tracer.watch(flows, [self.hooks.site(loop) for loop in found.info.loops])
        return found.code


def program_code(  # noqa: PLR0913 - most have defaults and go by name
    source: bytes,
    path: str,
    module: str,
    hooks: Hooks,
    *,
    cache_dir: Path | None = None,
    controls: Controls = NO_CONTROLS,
    on_failure: OnFailure = tell,
    engine: str | TraceEngine = "auto",
) -> CodeType:
    """Return the code of the main program, bound to the hooks.

    `path` is what Python would put into ``co_filename``.  The program is also compiled as it is,
    so that its warnings and its `SyntaxError` come out as without us, and so that there is
    something to run when it cannot be instrumented.
    """
    # Held back: where the program does not compile, plain python is to tell that, and its warnings.
    with warnings.catch_warnings(record=True) as caught:
        plain = compile(source, path, "exec", dont_inherit=True)
    for warning in caught:
        warnings._showwarnmsg(warning)  # type: ignore[attr-defined]
    loader = CodeLoader(hooks, CodeCache(cache_dir), controls, on_failure, engine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bound = loader.load(source, path, module)
    assert isinstance(plain, CodeType)
    return plain if bound is None else bound
