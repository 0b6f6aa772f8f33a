"""Measure, in this interpreter, what a rewritten loop costs beside other ways to watch loops.

Run by instrument.py, once for each interpreter and twin; prints one JSON document.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from operator import is_
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

import measuring
from measuring import Row, Way, in_turns, over

from flor_trace._speedups import NATIVE, LoopIter, Site, set_handler
from flor_trace.instrument.cache import CodeCache, Unit
from flor_trace.instrument.load import CodeLoader
from flor_trace.types import NO_CONTROLS, LoopInfo, ModuleInfo

SUBJECTS = Path(__file__).with_name("subjects.py")
NS = 1e9


class Hooks:
    """Sites that tell nobody anything but the handler that is set."""

    def __init__(self) -> None:
        self.sites: list[Site] = []

    def module(self, info: ModuleInfo, path: str) -> None:
        self.info = info

    def site(self, loop: LoopInfo) -> object:
        self.sites.append(Site(loop, 0 if loop.kind == "for" else 1))
        return self.sites[-1]

    def control(self, loop: LoopInfo) -> None:
        return None


def fail(module: str, error: BaseException) -> None:
    raise error


def rewritten(hooks: Hooks) -> ModuleType:
    """The subjects, rewritten."""
    loader = CodeLoader(hooks, CodeCache(None), NO_CONTROLS, fail)
    code = loader.load(SUBJECTS.read_bytes(), str(SUBJECTS), "subjects.py")
    assert code is not None
    module = ModuleType("subjects")
    exec(code, module.__dict__)
    return module


def plain() -> ModuleType:
    spec = importlib.util.spec_from_file_location("subjects", SUBJECTS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def calls(module: ModuleType, subject: str, n: int) -> Callable[[], object]:
    """A function that does the work of a subject `n` times."""
    function = getattr(module, subject)
    if subject.startswith("enter"):
        return lambda: [None for _ in repeat(None, n) if function()]
    argument = list(range(n)) if subject == "items" else n
    return lambda: function(argument)


def hush(li: LoopIter) -> None:
    li.quiet = True


def nothing(*_: object) -> None:
    """Be told, and do nothing about it."""


def unset() -> None:
    set_handler(None, None)


#: What is told of boundaries and of ends.  Quiet: told once in each loop, then nothing is due.
HANDLERS: dict[str, tuple[Callable[..., object], Callable[..., object]]] = {
    "quiet": (hush, nothing),
    "to Python": (nothing, nothing),
    "to C": (id, is_),
}


class Ours:
    """The rewritten subjects, with each kind of handler."""

    def __init__(self) -> None:
        self.hooks = Hooks()
        self.module = rewritten(self.hooks)

    def _mode(self, mode: int) -> None:
        for site in self.hooks.sites:
            site.mode = mode

    def ways(self, subject: str, n: int) -> Iterator[Way]:
        run = calls(self.module, subject, n)
        yield Way("no handler", run)
        yield Way("given up", run, lambda: self._mode(1), lambda: self._mode(0))
        for name, handlers in HANDLERS.items():
            yield Way(name, run, partial(set_handler, *handlers), unset)


def traced(frame: FrameType, event: str, argument: Any) -> Any:
    return traced


def others(run: Callable[[], object]) -> Iterator[Way]:
    """The same work under coverage.py, a trace function, and monitoring."""
    yield Way("settrace", run, lambda: sys.settrace(traced), lambda: sys.settrace(None))
    monitoring = getattr(sys, "monitoring", None)
    if monitoring is not None:
        for name in ("LINE", "JUMP"):
            event = getattr(monitoring.events, name)
            yield Way(f"monitoring {name}", run, lambda e=event: monitor(e), lambda: monitor(None))
    yield from coverage_ways(run)


def monitor(event: int | None) -> None:
    monitoring = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
    tool = monitoring.PROFILER_ID
    if event is None:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)
        return
    monitoring.use_tool_id(tool, "benchmark")
    for each in (monitoring.events.LINE, monitoring.events.JUMP):
        monitoring.register_callback(tool, each, nothing)
    monitoring.set_events(tool, event)


def coverage_ways(run: Callable[[], object]) -> Iterator[Way]:
    try:
        import coverage
        from coverage import env  # noqa: F401
    except ImportError:
        return
    for core in ("ctrace", "sysmon") if sys.version_info >= (3, 12) else ("ctrace",):
        made = coverage.Coverage(data_file=None, config_file=False, include=[str(SUBJECTS)])
        made.set_option("run:core", core)
        yield Way(f"coverage {core}", run, made.start, made.stop)


def measure_loops(n: int, rounds: int) -> Iterator[Row]:
    ours, bare = Ours(), plain()
    for subject, scale in (("count", n), ("items", n), ("while_loop", n)):
        yield from _beside(ours, bare, subject, scale, rounds)
    for subject in ("enter_for", "enter_while"):
        yield from _beside(ours, bare, subject, max(n // 10, 1), rounds)


def _beside(ours: Ours, bare: ModuleType, subject: str, n: int, rounds: int) -> Iterator[Row]:
    run = calls(bare, subject, n)
    base = Way("plain", run)
    fast = in_turns([base, *ours.ways(subject, n)], rounds)
    # Fewer rounds of what is slow, and beside a plain loop of their own.
    slow = in_turns([base, *others(run)], max(rounds // 4, 1))
    for times in (fast, slow):
        for name, measured in times.items():
            if name != "plain":
                yield {
                    "subject": subject,
                    "way": name,
                    "plain_ns": min(times["plain"]) / n * NS,
                    **over(measured, times["plain"], NS / n),
                }


def library(files: int) -> list[tuple[bytes, str]]:
    """Sources of the standard library, about as many lines as a small project has."""
    import asyncio
    import email

    found: list[Path] = []
    for package in (asyncio, json, email):
        assert package.__file__ is not None
        found += sorted(Path(package.__file__).parent.rglob("*.py"))
    return [(path.read_bytes(), str(path)) for path in found[:files]]


def measure_imports(files: int, rounds: int, directory: Path) -> Iterator[Row]:
    """What a module costs before it runs: milliseconds for a thousand lines."""
    import marshal

    sources = library(files)
    lines = sum(text.count(b"\n") for text, _ in sources)
    loader = CodeLoader(Hooks(), CodeCache(directory), NO_CONTROLS, fail)
    fresh = CodeLoader(Hooks(), CodeCache(None), NO_CONTROLS, fail)
    stored = [marshal.dumps(compile(text, path, "exec")) for text, path in sources]

    def load(through: CodeLoader) -> None:
        for text, path in sources:
            through.load(text, path, path)

    load(loader)
    ways = [
        Way("python from .pyc", lambda: [marshal.loads(data) for data in stored]),
        Way("from the cache", lambda: load(loader)),
    ]
    times = in_turns(ways, rounds)
    slow = [
        Way("python compiling", lambda: [_compile(text, path) for text, path in sources]),
        Way("rewriting", lambda: load(fresh)),
    ]
    times |= in_turns(slow, max(rounds // 10, 1))
    for name, measured in times.items():
        yield {
            "subject": "import",
            "way": name,
            "ms_per_1000_lines": min(measured) * 1e6 / lines,
            "lines": lines,
        }
    assert all((directory / Unit(t, p, p).key()).exists() for t, p in sources)


def _compile(text: bytes, path: str) -> CodeType:
    return compile(text, path, "exec", dont_inherit=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--cache", type=Path, required=True)
    options = parser.parse_args()
    rows = [
        *measure_loops(options.iterations, options.rounds),
        *measure_imports(options.files, options.rounds, options.cache),
    ]
    twin = "native" if NATIVE else "python"
    version = ".".join(map(str, sys.version_info[:2]))
    print(json.dumps([{"python": version, "twin": twin, **row} for row in rows]))


if __name__ == "__main__":
    sys.path.insert(0, str(measuring.ROOT))
    main()
