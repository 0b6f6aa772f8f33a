"""What later chunks may build on: how the chunks that a writer wrote are stored."""

from __future__ import annotations

from collections.abc import Iterable

from flor_trace.store.framing import DEEPEST, Base, Key

#: So many chunks are remembered; later ones do not build on those before them.
LIMIT = 100_000


class Lineage:
    """Remembers the depth of the chunks of one writer, and the blocks of those made of parts."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._known: dict[Key, int | list[Key]] = {}

    def note(self, key: Key, stored: int | list[Key]) -> None:
        """Remember a chunk by its depth or its blocks."""
        self._known[key] = stored
        while len(self._known) > self._limit:
            del self._known[next(iter(self._known))]

    def forget(self, keys: Iterable[Key]) -> None:
        """Forget chunks that are lost."""
        for key in keys:
            self._known.pop(key, None)

    def blocks(self, key: Key) -> list[Key] | None:
        """Return the blocks of a chunk of parts, or None for another or an unknown one."""
        known = self._known.get(key)
        return known if isinstance(known, list) else None

    def depth(self, base: Base | None, length: int) -> int | None:
        """Return the depth of a base from which data of a length may be stored as a difference."""
        known = None if base is None else self._known.get(base.key)
        if base is None or not isinstance(known, int) or known >= DEEPEST:
            return None
        return known if len(base.data) == length else None
