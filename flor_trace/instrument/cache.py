"""Keep rewritten modules between runs, under a key that names everything they depend on."""

from __future__ import annotations

import marshal
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import MAGIC_NUMBER
from pathlib import Path

from flor_trace import __version__
from flor_trace._speedups import digest
from flor_trace.instrument import tidy
from flor_trace.instrument.change import TreeChange
from flor_trace.instrument.rewritten import Rewritten, columns_are_kept, from_plain, to_plain
from flor_trace.pyfacts import CACHE_TAG
from flor_trace.records import dataclass
from flor_trace.shadows import OurImports
from flor_trace.types import NO_CONTROLS, Controls

#: Raise it whenever the same source has to give other code or other loop descriptions.
FORMAT = b"3"

_HEADER = b"flor_trace code\n"
_DIGEST_BYTES = 16
_UNREADABLE = (EOFError, OSError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Unit:
    """One module to be compiled, with all that its code depends on."""

    source: bytes
    path: str
    module: str
    optimize: int = -1
    controls: Controls = NO_CONTROLS
    flags: int = 0
    change: TreeChange | None = None
    engine: str = "auto"

    def key(self) -> str:
        """Return the name of its cache entry."""
        level = sys.flags.optimize if self.optimize == -1 else self.optimize
        settings = f"{level} {self.flags} {columns_are_kept()}"
        parts = [FORMAT, __version__.encode(), CACHE_TAG.encode(), MAGIC_NUMBER, settings.encode()]
        parts += [self.path.encode(errors="surrogateescape"), self.module.encode(), self.source]
        parts += [key.encode() for key in sorted(self.controls.loops)]
        parts += [repr(spot).encode() for spot in sorted(self.controls.spots)]
        if self.engine != "auto":
            parts += [b"engine", self.engine.encode()]
        if self.change is not None:
            parts += [b"change", self.change.name.encode()]
        return digest(_framed(parts)).hex()


def _framed(parts: Iterable[bytes]) -> bytes:
    """Join parts so that no two different lists give the same bytes."""
    return b"".join(b"%d:%b" % (len(part), part) for part in parts)


class CodeCache:
    """A directory of rewritten modules; without a directory it keeps nothing.

    It only ever saves time: what cannot be read or written is compiled again, silently.
    """

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory

    def compiled(self, unit: Unit) -> Rewritten:
        """Return the rewritten module, from the cache if it is there.

        Raises what `flor_trace.instrument.compile.compile_module` raises.
        """
        if self.directory is None:
            return _compile(unit)
        entry = self.directory / unit.key()
        found = _read(entry)
        if found is None:
            found = _compile(unit)
            if not _is_left_alone(found):
                _write(entry, found)
        return found


def _is_left_alone(rewritten: Rewritten) -> bool:
    """Whether the module was not rewritten: the next run is to try again, and may do better."""
    return any(qualname == "<module>" for qualname, _ in rewritten.info.left_alone)


def _compile(unit: Unit) -> Rewritten:
    # The rewriter and its library are slow to import and not needed for what is cached.
    with OurImports():
        from flor_trace.instrument.compile import compile_module  # noqa: PLC0415

    return compile_module(
        unit.source,
        unit.path,
        unit.module,
        optimize=unit.optimize,
        controls=unit.controls,
        flags=unit.flags,
        change=unit.change,
        engine=unit.engine,
    )


def _read(entry: Path) -> Rewritten | None:
    """Return what an entry holds, None if it is missing or damaged: then it is made again."""
    try:
        with open(entry, "rb") as file:
            data = file.read()
            written = os.fstat(file.fileno()).st_mtime
        begin = len(_HEADER) + _DIGEST_BYTES
        body = data[begin:]
        # `marshal` may crash on damaged input, so nothing unverified reaches it.
        if data[:begin] != _HEADER + digest(body):
            return None
        found = from_plain(marshal.loads(body))
    except _UNREADABLE:
        return None
    tidy.mark_used(entry, written)
    return found


def _write(entry: Path, rewritten: Rewritten) -> None:
    body = marshal.dumps(to_plain(rewritten))
    temporary = entry.with_name(f"{entry.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(_HEADER + digest(body) + body)
        os.replace(temporary, entry)
    except OSError:
        # A full or read-only disk costs the next run some milliseconds, and this one nothing.
        with suppress(OSError):
            temporary.unlink()
        return
    if tidy.is_due(entry):
        tidy.tidy(entry.parent)
