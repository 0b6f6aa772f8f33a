"""Which iterations of a dimension are asked at: some values, a range of them, every n-th."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flor_trace.errors import ProbeError
from flor_trace.types import Scalar

_EVERY = re.compile(r"%\s*([1-9]\d*)")
_RANGE = re.compile(r"(-?\d+)?\.\.(-?\d+)?")


@dataclass(frozen=True, slots=True)
class Selection:
    """Some of the iterations of a loop.

    An iteration is known by the value that the loop's target had; by its number from 0 where
    that was no number, string or truth value.
    """

    every: int = 1
    ranges: tuple[tuple[int | None, int | None], ...] = ()  #: first and last; None is open
    values: frozenset[str] = frozenset()

    def takes(self, iteration: int, value: Scalar | None) -> bool:
        """Whether the iteration is among them."""
        known = iteration if value is None else value
        if self.every > 1:
            count = iteration if not isinstance(known, int) else known
            return count % self.every == 0
        if not self.ranges and not self.values:
            return True
        return str(known) in self.values or any(_within(known, each) for each in self.ranges)


def read_selection(text: str) -> Selection:
    """Read what follows on a dimension: nothing, ``%100``, ``=3``, ``=3..7``, ``=1,4,8..``.

    Raises:
        ProbeError: for anything else.

    """
    text = text.strip()
    every = _EVERY.fullmatch(text)
    if every is not None:
        return Selection(every=int(every[1]))
    if not text:
        return Selection()
    parts = [part.strip() for part in text.removeprefix("=").split(",")]
    if not text.startswith("=") or not all(parts):
        raise ProbeError(
            f"cannot read {text!r} behind a dimension: write %100 for every hundredth, =3, =3..7 "
            "(both included), or several of these with commas: =1,4,8.."
        )
    ranges = [found for part in parts if (found := _RANGE.fullmatch(part)) and any(found.groups())]
    return Selection(
        ranges=tuple((_number(found[1]), _number(found[2])) for found in ranges),
        values=frozenset(part for part in parts if part not in {found[0] for found in ranges}),
    )


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _within(value: Scalar, bounds: tuple[int | None, int | None]) -> bool:
    if isinstance(value, str):
        return False
    first, last = bounds
    return (first is None or value >= first) and (last is None or value <= last)
