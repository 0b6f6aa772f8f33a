"""Gather the values of consecutive iterations into columns, exactly and without sampling."""

from __future__ import annotations

from collections.abc import Callable

from flor_trace.hints import Any
from flor_trace.runtime.nest import Instance, outer_values
from flor_trace.runtime.values import scalar
from flor_trace.types import Scalar

#: Rows of one batch; a batch also ends with its loop and when an outer loop goes on.
MAX_ROWS = 512

Frame = dict[str, Any]


class Batch:
    """The rows of one loop instance that are not in the journal yet."""

    __slots__ = (
        "columns",
        "first",
        "instances",
        "outer",
        "outer_iterations",
        "values",
    )

    def __init__(self, instance: Instance, first: int) -> None:
        self.first = first
        self.outer = outer_values(instance)
        self.instances = instance.outer  # a generator may go on under another loop
        self.outer_iterations = instance.under
        self.values: list[Scalar | None] = []
        self.columns: dict[str, list[Scalar | None]] = {}

    def fits(self, instance: Instance, iteration: int) -> bool:
        """Whether `iteration` is the next row of this batch."""
        return (
            iteration == self.first + len(self.values)
            and instance.outer == self.instances
            and instance.under == self.outer_iterations
        )

    def full(self) -> bool:
        """Whether the batch should be written."""
        return len(self.values) >= MAX_ROWS

    def add(self, value: Scalar | None, names: tuple[str, ...], values: tuple[Any, ...]) -> None:
        """Add the row of the next iteration."""
        count = len(self.values)
        self.values.append(value)
        columns = self.columns
        for name, held in zip(names, values, strict=True):
            item = held if type(held) is float else scalar(held)
            if item is None:
                continue
            column = columns.get(name)
            if column is None:
                column = columns[name] = []
            if len(column) < count:
                column.extend([None] * (count - len(column)))
            column.append(item)

    def frame(self, instance: Instance, identify: Callable[[Instance], int]) -> Frame:
        """The journal frame of these rows."""
        count = len(self.values)
        for column in self.columns.values():
            column.extend([None] * (count - len(column)))
        outer = [
            [identify(outer), iteration, value]
            for outer, iteration, value in zip(
                self.instances, self.outer_iterations, self.outer, strict=True
            )
        ]
        return {
            "t": "rows",
            "loop": identify(instance),
            "outer": outer,
            "first": self.first,
            "value": self.values,
            "cols": self.columns,
        }
