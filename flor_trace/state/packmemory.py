"""Remembers large containers between captures, so that those that did not change are not read."""

from __future__ import annotations

from flor_trace._speedups import Memo, Packer
from flor_trace.hints import Any, Final
from flor_trace.records import dataclass
from flor_trace.state.codecs.base import Packing

#: Containers of fewer objects are packed again each time.
REMEMBER_FROM: Final = 4096
#: Bytes that may be kept from one capture to the next.
MOST_BYTES: Final = 1 << 30


@dataclass(slots=True)
class _Entry:
    packing: Packing
    memo: Memo | None
    used: bool = True


class PackMemory:
    """The packed form of large plain containers, by address.

    The first time one is the same as before, a memo of it is made, which holds what it holds:
    from then on it takes a comparison of addresses and of dict versions to know that nothing in it
    changed. A container that changes each time is never held.
    """

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._ignored: frozenset[str] = frozenset()

    def begin(self, ignored: frozenset[str]) -> None:
        """Forget all if other names are ignored than before: they decide what is packed."""
        if ignored != self._ignored:
            self._entries, self._ignored = {}, ignored

    def __len__(self) -> int:
        return len(self._entries)

    def pack(self, packer: Packer, obj: Any) -> Packing | None:
        """Return what `Packer.pack` returns, without its memo."""
        entry = self._entries.get(id(obj))
        if entry is not None and entry.memo is not None and packer.holds(obj, entry.memo):
            entry.used = True
            return entry.packing
        found = packer.pack(obj, entry is not None)
        if found is None:
            return None
        packing, memo = found[:5], found[5]
        if packing[1] >= REMEMBER_FROM and not packing[3]:
            if entry is None or entry.packing[0] != packing[0]:
                self._entries[id(obj)] = _Entry(packing, None)
            else:
                packing = entry.packing  # the same bytes object tells that nothing changed
                self._entries[id(obj)] = _Entry(packing, memo)
        return packing

    def settle(self) -> None:
        """Forget what the capture that ends did not meet, and what would be too much."""
        kept: dict[int, _Entry] = {}
        total = 0
        for key, entry in self._entries.items():
            total += len(entry.packing[0])
            if entry.used and total <= MOST_BYTES:
                kept[key] = _Entry(entry.packing, entry.memo, used=False)
        self._entries = kept
