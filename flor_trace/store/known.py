"""Which chunks a writer need not write, found without reading more indexes than that saves."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from flor_trace.store import files
from flor_trace.store.framing import Key, length_of
from flor_trace.store.index import PACK_SUFFIX, is_name, keys_in, pack_names, read_entries

#: Where those who finish a pack note its name, below the store: nobody has to list all packs.
FINISHED = Path("cache", "finished-packs")
#: So much of its end is read, for some three hundred names.
_RECENT_BYTES = 8192

#: What may be spent on looking, in entries: a millisecond at once, and then a part of what
#: compressing the bytes takes that somebody wants to store.
_AT_ONCE = 6000
_BYTES_EACH = 256
#: What opening one index costs in such entries, and listing the packs for each of them.
_OPENING = 200
_LISTING = 10


class Known:
    """The chunks that are durable already, or will be with the writer's own pack.

    Those of finished packs are looked up when they are asked for, in the newest packs first, and
    in older ones as more is stored. A pack without sidecar does not count: its writer may be alive
    and not have synced, or may have lost power.
    """

    def __init__(self, packs: Path, limit: int) -> None:
        self._packs = packs
        self._limit = limit
        self._own: set[Key] = set()
        self._found: dict[Key, str] = {}
        self._left = _AT_ONCE
        self._names = self._by_age()

    def __contains__(self, key: Key) -> bool:
        return key in self._own or self.pack_of(key) is not None

    def pack_of(self, key: Key) -> str | None:
        """Return the name of a finished pack that has the chunk, as far as known."""
        if key not in self._found:
            self._left += length_of(key) // _BYTES_EACH
            while self._left > 0 and len(self._found) < self._limit:
                name = next(self._names, None)
                if name is None:
                    break
                self._look_into(name)
                if key in self._found:
                    break
        return self._found.get(key)

    def add(self, key: Key) -> None:
        """Take notice of a chunk in the writer's own pack."""
        self._own.add(key)

    def difference_update(self, keys: Iterable[Key]) -> None:
        """Forget chunks of the writer's own pack."""
        self._own.difference_update(keys)

    def forget_pack(self, name: str) -> None:
        """Forget a finished pack that turned out to be gone."""
        self._found = {key: pack for key, pack in self._found.items() if pack != name}

    def _look_into(self, name: str) -> None:
        self._left -= _OPENING
        try:
            length = os.lstat(self._packs / (name + PACK_SUFFIX)).st_size
        except OSError:
            return
        index = read_entries(self._packs, name)
        if index is not None and index[0] <= length:
            before = len(self._found)
            for key in keys_in(index[1]):
                self._found.setdefault(key, name)
            self._left -= len(self._found) - before

    def _by_age(self) -> Iterator[str]:
        """Give the names of packs, the newest first; those that nobody noted after the others.

        Names begin with the time of the run, so the newest are the last.
        """
        noted = recently_finished(self._packs)
        yield from noted
        given = set(noted)
        with suppress(OSError):  # then nothing can be written either, and that will be told
            names = pack_names(self._packs)
            self._left -= _LISTING * len(names)
            yield from (name for name in reversed(names) if name not in given)


def note_finished(packs: Path, name: str) -> None:
    """Let the next writers know of a finished pack; if that fails they find it later."""
    with suppress(OSError):
        fd = files.open_appending(packs.parent / FINISHED)
        try:
            # Also at the beginning: what was noted before may have been cut off.
            files.write_all(fd, [f"\n{name}\n".encode()])
        finally:
            os.close(fd)


def recently_finished(packs: Path) -> list[str]:
    """Return the names of packs that were finished last, the newest first."""
    try:
        with files.reading(packs.parent / FINISHED) as fd:
            start = max(0, os.fstat(fd).st_size - _RECENT_BYTES)
            lines = files.read_exactly(fd, _RECENT_BYTES, start).decode("ascii", "replace")
    except OSError:
        return []
    names = lines.split("\n")[1:] if start else lines.split("\n")
    return list(dict.fromkeys(filter(is_name, reversed(names))))
