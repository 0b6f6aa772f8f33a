# ruff: noqa: B007, UP028 - loops as a program has them
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from runtime_helpers import Observer, info, site

from flor_trace._speedups import UNBOUND
from flor_trace.runtime import rows
from flor_trace.runtime.nest import Instance, Loop, target_value
from flor_trace.runtime.rows import Batch

NAMES = ("a", "b", "c")
CELL = st.one_of(st.just(UNBOUND), st.none(), st.just(object()), st.integers(), st.text(max_size=2))


def numbers():
    known = {}
    return lambda instance: known.setdefault(instance, len(known))


@given(st.lists(st.tuples(st.integers(), st.tuples(CELL, CELL, CELL)), max_size=12))
def test_columns_hold_every_value_at_its_row_and_null_in_the_gaps(given_rows):
    instance = Instance(Loop(info(), NAMES), (), 0, 0.0)
    batch = Batch(instance, 5)

    for value, values in given_rows:
        batch.add(value, NAMES, values)
    frame = batch.frame(instance, lambda _: 3)

    assert (frame["t"], frame["loop"], frame["first"], frame["outer"]) == ("rows", 3, 5, [])
    assert frame["value"] == [value for value, _ in given_rows]
    for position, name in enumerate(NAMES):
        wanted = [
            held if isinstance(held, int | str) else None
            for held in (values[position] for _, values in given_rows)
        ]
        if name in frame["cols"]:
            assert frame["cols"][name] == wanted
        else:
            assert set(wanted) <= {None}


def test_a_column_that_never_had_a_value_is_left_out():
    instance = Instance(Loop(info(), NAMES), (), 0, 0.0)
    batch = Batch(instance, 0)
    batch.add(0, NAMES, (1, None, UNBOUND))

    assert batch.frame(instance, numbers())["cols"] == {"a": [1]}


def test_a_batch_is_full_when_it_has_its_rows():
    batch = Batch(Instance(Loop(info(), ()), (), 0, 0.0), 0)

    for k in range(rows.MAX_ROWS):
        assert not batch.full()
        batch.add(k, (), ())
    assert batch.full()


class Batching(Observer):
    """Gathers rows as the recorder does."""

    def __init__(self):
        super().__init__()
        self.batches = {}
        self.frames = []
        self.identify = numbers()

    def iteration_over(self, instance, li, iteration, values):
        batch = self.batches.get(instance)
        if batch is None or not batch.fits(instance, iteration):
            self.flush(instance)
            batch = self.batches[instance] = Batch(instance, iteration)
        batch.add(target_value(instance, li), instance.loop.names, values)

    def left(self, instance, li, how):
        self.flush(instance)

    def flush(self, instance):
        batch = self.batches.pop(instance, None)
        if batch is not None:
            self.frames.append(batch.frame(instance, lambda i: i.dimension))

    def of(self, dimension):
        return [
            (frame["outer"], frame["first"], frame["value"])
            for frame in self.frames
            if frame["loop"] == dimension
        ]


def test_the_rows_of_one_execution_lie_under_its_outer_iteration(tracing):
    seen = tracing(observer=Batching())
    outer, inner = site("epoch"), site("step", line=2)

    for epoch in outer["ab"]:
        for step in inner[range(2)]:
            pass

    assert seen.of("step") == [
        ([["epoch", 0, "a"]], 0, [0, 1]),
        ([["epoch", 1, "b"]], 0, [0, 1]),
    ]
    assert seen.of("epoch") == [([], 0, ["a", "b"])]


def test_a_batch_ends_when_the_loop_around_a_generator_goes_on(tracing):
    seen = tracing(observer=Batching())
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

    assert seen.of("item")[:2] == [
        ([["epoch", 0, "a"]], 0, [0, 1, 2]),
        ([["epoch", 1, "b"]], 3, [3, 4]),
    ]


def test_a_batch_ends_when_a_generator_goes_on_under_another_loop(tracing):
    """Both loops are in their iteration 0: only the loop tells the rows apart."""
    seen = tracing(observer=Batching())
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
