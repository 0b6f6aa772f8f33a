# ruff: noqa: B007, F841, UP028 - loops as a program has them
from __future__ import annotations

import math
from random import Random

from runtime_helpers import Observer, site

from flor_trace.history.columns import PACK_FROM, unpack_rows
from flor_trace.runtime.rows import MAX_ROWS, Rows
from flor_trace.runtime.values import read


def numbers():
    known = {}
    return lambda instance: known.setdefault(instance, len(known))


class Gathering(Observer):
    """Has each loop fill its rows, and keeps their frames as a journal gives them back."""

    def __init__(self, every=MAX_ROWS):
        super().__init__()
        self.rows, self.frames, self.every, self.calls = {}, [], every, 0

    def iteration_over(self, instance, li, iteration):
        self.calls += 1
        if instance not in self.rows:
            self.rows[instance] = Rows(instance, li, read)
        rows = self.rows[instance]
        if not rows.has(iteration):
            if not rows.fits(instance, iteration):
                self.flush(instance)
            rows.add(instance, li, iteration)
        if rows.full():
            self.flush(instance)
        rows.fill(li, li.n + self.every, math.inf)

    def left(self, instance, li, how):
        self.flush(instance)

    def flush(self, instance):
        rows = self.rows.get(instance)
        if rows is not None and rows.count:
            frame = rows.frame(instance, lambda i: i.dimension)
            unpack_rows(frame)
            self.frames.append(frame)

    def of(self, dimension):
        return [
            (frame["outer"], frame["first"], frame["value"])
            for frame in self.frames
            if frame["loop"] == dimension
        ]

    def column(self, name):
        return [value for frame in self.frames for value in frame["cols"][name]]


def test_every_value_is_kept_exactly_and_most_boundaries_call_nobody(tracing):
    seen = tracing(observer=Gathering())
    loop = site("step", stores=("real", "whole", "truth"))
    count = 3 * MAX_ROWS + 5
    draw = Random(1)
    kept = []

    def program():
        for step in loop[range(count)]:
            real = draw.uniform(-1, 1) if step else math.nan
            whole = draw.getrandbits(62)
            truth = step % 3 == 0
            kept.append((step, real, whole, truth))

    program()

    assert sum(len(frame["value"]) for frame in seen.frames) == count
    assert [frame["first"] for frame in seen.frames] == [0, *range(MAX_ROWS, count, MAX_ROWS)]
    columns = [seen.column(name) for name in ("step", "real", "whole", "truth")]
    assert list(map(repr, zip(*columns, strict=True))) == list(map(repr, kept))
    assert seen.calls < 20


def test_a_column_has_null_in_the_gaps_and_is_left_out_when_it_never_had_a_value(tracing):
    seen = tracing(observer=Gathering())
    loop = site("step", stores=("rare", "never", "text"))

    def program():
        for step in loop[range(2 * PACK_FROM)]:
            never = object()
            text = "odd" if step % 2 else 2**70
            if step == 3:
                rare = True
            elif step == 4:
                del rare

    program()

    (frame,) = seen.frames
    assert set(frame["cols"]) == {"step", "rare", "text"}
    assert [k for k, value in enumerate(frame["cols"]["rare"]) if value is not None] == [3]
    assert frame["cols"]["text"][:2] == [2**70, "odd"]
    assert frame["value"] == list(range(2 * PACK_FROM))


def test_a_loop_over_no_scalars_has_rows_without_values(tracing):
    seen = tracing(observer=Gathering())

    for thing in site("thing")[[[1], [2]]]:
        pass

    assert [(f["first"], f["value"], f["cols"]) for f in seen.frames] == [(0, [None, None], {})]


def test_the_rows_of_one_execution_lie_under_its_outer_iteration(tracing):
    seen = tracing(observer=Gathering())
    outer, inner = site("epoch"), site("step", line=2)

    for epoch in outer["ab"]:
        for step in inner[range(2)]:
            pass

    assert seen.of("step") == [
        ([["epoch", 0, "a"]], 0, [0, 1]),
        ([["epoch", 1, "b"]], 0, [0, 1]),
    ]
    assert seen.of("epoch") == [([], 0, ["a", "b"])]


def test_rows_end_when_the_loop_around_a_generator_goes_on(tracing):
    seen = tracing(observer=Gathering())
    source, outer = site("item"), site("epoch", line=2)

    def items():
        for item in source[range(9)]:
            yield item

    def program():
        generator = items()
        for epoch in outer["ab"]:
            for _ in range(3):
                next(generator)
        generator.close()

    program()

    first, (outer, at, values) = seen.of("item")
    assert first == ([["epoch", 0, "a"]], 0, [0, 1, 2])
    assert (outer, at, values[:2]) == ([["epoch", 1, "b"]], 3, [3, 4])


def test_rows_end_when_a_generator_goes_on_under_another_loop(tracing):
    """Both loops are in their iteration 0: only the loop tells the rows apart."""
    seen = tracing(observer=Gathering())
    source, first, second = site("item"), site("epoch", line=2), site("part", line=3)

    def items():
        for item in source[range(9)]:
            yield item

    def program():
        generator = items()
        for epoch in first["ab"]:
            for _ in range(3):
                next(generator)
            break
        for part in second["cd"]:
            for _ in range(3):
                next(generator)
            break
        generator.close()

    program()

    first_rows, (outer, first, values) = seen.of("item")[:2]
    assert first_rows == ([["epoch", 0, "a"]], 0, [0, 1])
    assert (outer, first, values[:3]) == ([["part", 0, "c"]], 2, [2, 3, 4])
