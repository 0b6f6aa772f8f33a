"""Gather the values of consecutive iterations into columns, exactly and without sampling."""

from __future__ import annotations

from collections.abc import Callable

from flor_trace._speedups import Columns, LoopIter
from flor_trace.hints import Any
from flor_trace.history.columns import PACK_FROM, packed
from flor_trace.runtime.nest import Instance, Loop, suspends, values_of_row
from flor_trace.types import Scalar

#: Rows of one batch; a batch also ends with its loop and when an outer loop goes on.
MAX_ROWS = 4096

Frame = dict[str, Any]
Reader = Callable[[Any], Any]


def names_of(loop: Loop) -> tuple[str, ...]:
    """The variables of which a loop's rows are: those logged, and its target if it is not one."""
    if loop.target >= 0:
        return loop.names
    target = loop.info.targets[0] if loop.info.targets else loop.info.dimension
    return (*loop.names, target)


def _columns_of_traced() -> type[Columns]:
    """The loops of the engine that traces are not the ones that C knows."""
    from flor_trace._pure import Columns as TracedColumns  # noqa: PLC0415 - for that engine only

    return TracedColumns  # type: ignore[return-value]


class Rows:
    """The rows of one loop instance that are not in the journal yet."""

    __slots__ = ("_at_boundary", "columns", "instances", "outer", "outer_iterations")

    def __init__(self, instance: Instance, li: LoopIter, read: Reader) -> None:
        fills = type(li) is LoopIter
        self.columns = (Columns if fills else _columns_of_traced())(names_of(instance.loop), read)
        self._at_boundary = fills and not suspends(li)
        self._place(instance)

    def _place(self, instance: Instance) -> None:
        self.outer: list[Scalar | None] = values_of_row(instance)
        self.instances = instance.outer  # a generator may go on under another loop
        self.outer_iterations = instance.under

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self.columns.count

    def has(self, iteration: int) -> bool:
        """Whether the last row is that of `iteration`: the loop itself has added it."""
        return self.columns.next == iteration + 1

    def fits(self, instance: Instance, iteration: int) -> bool:
        """Whether `iteration` is the next row, under the same iterations as those before."""
        return (
            self.columns.next in (iteration, -1)
            and instance.outer == self.instances
            and instance.under == self.outer_iterations
        )

    def add(self, instance: Instance, li: LoopIter, iteration: int) -> None:
        """Add the row of an iteration that has just ended."""
        if not self.columns.count and (
            instance.under != self.outer_iterations or instance.outer != self.instances
        ):
            self._place(instance)
        self.columns.add(li, iteration)

    def fill(self, li: LoopIter, until: int, deadline: float) -> None:
        """Have the loop add its rows by itself, without a word, until either is reached."""
        if self._at_boundary:
            self.columns.until, self.columns.deadline = until, deadline
            li.rows = self.columns

    def discard(self) -> None:
        """Forget these rows."""
        self.columns.take(0)

    def full(self) -> bool:
        """Whether the rows should be written."""
        return self.columns.count >= MAX_ROWS

    def frame(self, instance: Instance, identify: Callable[[Instance], int]) -> Frame:
        """The journal frame of these rows, which are gone from here then."""
        first, count = self.columns.first, self.columns.count
        taken = [packed(column) for column in self.columns.take(PACK_FROM)]
        names = instance.loop.names
        outer = [
            [identify(outer), iteration, value]
            for outer, iteration, value in zip(
                self.instances, self.outer_iterations, self.outer, strict=True
            )
        ]
        value = taken[instance.loop.target]  # the last one if it is not logged
        return {
            "t": "rows",
            "loop": identify(instance),
            "outer": outer,
            "first": first,
            "count": count,
            "value": value,
            "cols": {
                name: column
                for name, column in zip(names, taken, strict=False)
                if column is not None
            },
        }
