"""From the source of a module to code that reports to the hooks."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import CodeType

from flor_trace.instrument.bind import Source, bind
from flor_trace.instrument.cache import CodeCache, Unit
from flor_trace.instrument.change import TreeChange
from flor_trace.instrument.failures import OUR_FAILURES
from flor_trace.records import dataclass
from flor_trace.types import Hooks, LoopKey

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
    controls: frozenset[LoopKey]
    on_failure: OnFailure

    def load(
        self, source: bytes, path: str, module: str, change: TreeChange | None = None
    ) -> CodeType | None:
        """Return bound code, after the hooks have heard of the module; None if that failed.

        None without a word also for a program that does not compile: Python itself tells that.
        """
        try:
            unit = Unit(source, path, module, controls=self.controls, change=change)
            rewritten = self.cache.compiled(unit)
            self.hooks.module(rewritten.info, path)
            origin = Source(source, path, change=change)
            return bind(rewritten.code, rewritten.info, self.hooks, source=origin)
        except SyntaxError:
            return None
        except OUR_FAILURES as failure:
            self.on_failure(module, failure)
            return None


def program_code(
    source: bytes,
    path: str,
    module: str,
    hooks: Hooks,
    *,
    cache_dir: Path | None = None,
    controls: frozenset[LoopKey] = frozenset(),
    on_failure: OnFailure = tell,
) -> CodeType:
    """Return the code of the main program, bound to the hooks.

    `path` is what Python would put into ``co_filename``.  The program is also compiled as it is,
    so that its warnings and its `SyntaxError` come out as without us, and so that there is
    something to run when it cannot be instrumented.
    """
    plain = compile(source, path, "exec", dont_inherit=True)
    loader = CodeLoader(hooks, CodeCache(cache_dir), controls, on_failure)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bound = loader.load(source, path, module)
    assert isinstance(plain, CodeType)
    return plain if bound is None else bound
