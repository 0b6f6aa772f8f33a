"""Values of consecutive iterations, as the catalog gives them to the pivot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from flor_trace.types import Address, ArtifactRef, Coordinate, Record, RunId

#: Names one cell: the loops around it, the iterations they were in, and what was logged.
_Key = tuple[tuple[str, ...], tuple[int, ...], str]

DIVERGED = "diverged"


@dataclass(slots=True)
class Span:
    """Columns of values over consecutive iterations of one loop instance.

    A value of the run as a whole is a span of no loops with one row.
    """

    runid: str
    keys: tuple[str, ...]  #: identities of the loops, outermost first
    dims: tuple[str, ...]  #: their dimensions
    outer: tuple[tuple[int, Any], ...]  #: iteration and value of the loops around
    first: int
    targets: list[Any]  #: what the loop's target held, per row
    columns: dict[str, list[Any]] = field(default_factory=dict)  #: None: not set
    source: int = 0  #: 0: recorded; else the number of the replay
    verdict: str | None = None

    def iterations(self, row: int) -> tuple[int, ...]:
        """The iteration of each loop at a row."""
        if not self.keys:
            return ()
        return (*(at for at, _ in self.outer), self.first + row)

    def coordinates(self, row: int) -> tuple[Coordinate, ...]:
        """The path to a row."""
        if not self.keys:
            return ()
        steps = (*self.outer, (self.first + row, self.targets[row]))
        return tuple(
            Coordinate(dim, at, scalar(value))
            for dim, (at, value) in zip(self.dims, steps, strict=True)
        )


def scalar(value: Any) -> Any:
    """`value` if it is a scalar that was logged exactly, else None."""
    return value if isinstance(value, bool | int | float | str) else None


def cell(value: Any) -> Any:
    """A logged value: a reference to what was written as an object, everything else as it is."""
    if isinstance(value, list):
        return str(value)  # no journal of ours has lists; a cell of a table must not be one
    if not isinstance(value, dict):
        return value
    address = value.get("at")
    meta = {str(key): item for key, item in value.items() if key not in ("$", "at")}
    kind = str(value.get("$", "unknown"))
    return ArtifactRef(kind, Address(address) if isinstance(address, str) else None, meta)


def records(span: Span) -> Iterator[Record]:
    """The records of a span, row by row."""
    source: Any = "replay" if span.source else "forward"
    for row in range(len(span.targets)):
        present = [(name, col[row]) for name, col in span.columns.items() if col[row] is not None]
        if present:
            coordinates = span.coordinates(row)
            for name, value in present:
                yield Record(RunId(span.runid), coordinates, name, cell(value), source)


def without_duplicates(spans: Sequence[Span]) -> list[Span]:
    """The spans of one run with at most one value for a name at an iteration.

    A recorded value wins over replayed ones, and of those the newest wins, but no value of a
    replay that diverged wins over one of a replay that did not.  Where a run was resumed and an
    iteration recorded twice, the later one counts.
    """
    contested = _contested(spans)
    if not contested:
        return list(spans)
    taken: set[_Key] = set()
    newest_first = list(spans)[::-1]
    for span in sorted(newest_first, key=_rank):
        for name in contested.intersection(span.columns):
            span.columns[name] = _untaken(span, name, taken)
    return [span for span in spans if span.source == 0 or _holds_anything(span)]


def _rank(span: Span) -> tuple[bool, bool, int]:
    return span.source != 0, span.verdict == DIVERGED, -span.source


def _untaken(span: Span, name: str, taken: set[_Key]) -> list[Any]:
    """The column without the values whose place is taken; the others take theirs."""
    kept: list[Any] = []
    for row, value in enumerate(span.columns[name]):
        key = (span.keys, span.iterations(row), name)
        if value is None or key in taken:
            kept.append(None)
        else:
            taken.add(key)
            kept.append(value)
    return kept


def _holds_anything(span: Span) -> bool:
    return any(value is not None for column in span.columns.values() for value in column)


def _contested(spans: Sequence[Span]) -> set[str]:
    """The names that may have more than one value at some iteration."""
    sources: dict[str, set[tuple[int, int]]] = {}
    for number, span in enumerate(spans):
        for name in span.columns if span.source else ():
            sources.setdefault(name, set()).add((span.source, number))
    forward = {name for span in spans if span.source == 0 for name in span.columns}
    again = {name for name, found in sources.items() if len(found) > 1 or name in forward}
    return again | _recorded_twice([span for span in spans if span.source == 0])


def _recorded_twice(spans: Sequence[Span]) -> set[str]:
    """The names in spans of one loop instance that overlap."""
    places: dict[tuple[Any, ...], list[Span]] = {}
    for span in spans:
        place = (span.keys, tuple(at for at, _ in span.outer))
        places.setdefault(place, []).append(span)
    found: set[str] = set()
    for together in places.values():
        end = -1
        for span in sorted(together, key=lambda span: span.first):
            if span.first < end:
                found.update(name for other in together for name in other.columns)
                break
            end = max(end, span.first + len(span.targets))
    return found
