"""Small questions about a list of instructions, labels and exception ranges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TypeGuard

from bytecode.instr import Instr, InstrLocation, Label, SetLineno, TryBegin, TryEnd

Item = Instr | Label | TryBegin | TryEnd | SetLineno

NO_LOCATION = InstrLocation(None, None, None, None)

#: Unconditional jumps of all supported versions.
ALWAYS_JUMPS = frozenset({"JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"})


def is_instr(item: object) -> TypeGuard[Instr]:
    """Tell an instruction from a label or the end of an exception range."""
    return type(item) is Instr


def next_instr(items: Sequence[Item], k: int) -> int:
    """Return the index of the first instruction after index `k`, ``len(items)`` if none."""
    k += 1
    while k < len(items) and not is_instr(items[k]):
        k += 1
    return k


def target(item: object) -> Label | None:
    """Return where an instruction jumps to, None for anything that does not jump."""
    if not is_instr(item):
        return None
    argument: object = item.arg
    return argument if isinstance(argument, Label) else None


def jumps_always(item: object) -> bool:
    """Tell whether this is an unconditional jump."""
    return is_instr(item) and item.name in ALWAYS_JUMPS


def has_line(location: InstrLocation | None) -> bool:
    """Tell whether the compiler gave a line."""
    return location is not None and location.lineno is not None


def is_invented(item: Instr) -> bool:
    """Tell whether the source has no text for this: the compiler made it up, as ``return None``."""
    location = item.location
    return location is None or location.lineno is None or location.col_offset is None


def labels_before(items: Sequence[Item], k: int) -> list[Label]:
    """Return the labels of the instruction at index `k`."""
    found = []
    while k > 0 and not is_instr(items[k - 1]):
        k -= 1
        item = items[k]
        if isinstance(item, Label):
            found.append(item)
    return found


def arrivals(
    items: Sequence[Item],
    before: Sequence[Item],
    into: Mapping[Label, Label] = MappingProxyType({}),
) -> Iterator[InstrLocation | None]:
    """Yield the locations of the instructions after which the one behind `before` can run.

    `before` holds the items in front of it, nearest last; `items` holds all jumps of the code.
    A jump to the label ``into[x]`` counts as one to the label ``x``.
    """
    labels: set[Label] = set()
    for item in reversed(before):
        if isinstance(item, Label):
            labels.add(item)
            labels.update({into[item]} if item in into else ())
        elif is_instr(item):
            if not item.is_final():
                yield item.location
            break
    if labels:
        for item in items:
            if target(item) in labels:
                assert is_instr(item)
                yield item.location


def without_empty_ranges(items: Iterable[Item]) -> list[Item]:
    """Drop exception ranges that no longer cover any instruction."""
    kept: list[Item] = []
    opened: int | None = None
    for item in items:
        if isinstance(item, TryBegin):
            opened = len(kept)
        elif isinstance(item, TryEnd):
            if opened is not None:
                del kept[opened]
                opened = None
                continue
        elif is_instr(item):
            opened = None
        kept.append(item)
    return kept
