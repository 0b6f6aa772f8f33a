# ruff: noqa: B007 - loops as a program has them
from __future__ import annotations

import array
import gc
import math
import sys
import time
import weakref

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flor_trace import _pure


class Text(str):
    __slots__ = ()


def read(value):
    if isinstance(value, str | int):
        return value if len(str(value)) < 40 else None
    return NotImplemented


def gather(twin, values, *, least=0, names=("x",), read=read, until=None):
    """The columns of a loop whose variable `x` goes through `values`, and the handler's calls."""
    found, calls = [], []

    def boundary(li):
        calls.append(li.n)
        if li.rows is None:
            li.rows = twin.Columns(names, read)
            li.rows.until, li.rows.deadline = until or sys.maxsize, math.inf

    def leave(li, how):
        found.append((li.rows.first, li.rows.count, li.rows.take(least)))

    twin.set_handler(boundary, leave)
    site = twin.Site(None, 0)

    def program():
        for x in site[list(values)]:
            if x is None:
                del x

    program()
    return found[0], calls


CELL = st.one_of(
    st.none(),
    st.floats(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.text(max_size=3),
    st.builds(object),
    st.just(2**300),
)


def scalar(value):
    if value is None or type(value) is object or value == 2**300:
        return None
    return value


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(CELL, min_size=1, max_size=30))
def test_the_columns_hold_every_scalar_at_its_row(twin, cells):
    (first, count, (column,)), calls = gather(twin, cells)

    assert (first, count, calls) == (0, len(cells), [0])
    wanted = [scalar(cell) for cell in cells]
    assert repr(unpacked(column, count)) == repr(wanted)


def unpacked(column, count):
    if column is None:
        return [None] * count
    if isinstance(column, list):
        return column
    form, content = column
    if form == "range":
        return [content[0] + content[1] * k for k in range(count)]
    return array.array({"f8": "d", "i8": "q"}[form], content).tolist()


@pytest.mark.parametrize(
    ("cells", "form"),
    [
        ([1.5, math.nan, math.inf], "f8"),
        ([5, 7, 8], "i8"),
        ([5, 5, 5], "i8"),
        ([5, 7, 9], "range"),
        ([9, 6, 3], "range"),
        ([2**62, 2**62 + 1], "i8"),
    ],
)
def test_numbers_without_gaps_are_packed(twin, cells, form):
    (_, count, (column,)), _ = gather(twin, cells)

    assert column[0] == form
    assert repr(unpacked(column, count)) == repr(cells)


@pytest.mark.parametrize("cells", [[1.5, 2], [True, False], [1.5, None], [1, 2**63], ["a", "b"]])
def test_everything_else_is_a_list(twin, cells):
    (_, _, (column,)), _ = gather(twin, cells)

    assert column == cells


def test_few_rows_are_lists(twin):
    (_, _, (column,)), _ = gather(twin, [1.0, 2.0], least=3)

    assert column == [1.0, 2.0]


def test_the_reader_is_asked_once_of_a_type_that_never_has_a_scalar(twin):
    asked = []

    def read(value):
        asked.append(value)
        return NotImplemented if isinstance(value, list) else str(value)

    things = [[1], [2], Text("a"), [3], [4]]
    (_, _, (column,)), _ = gather(twin, things, read=read)

    assert column == [None, None, "a", None, None]
    assert asked == [[1], "a"]


def test_the_handler_is_called_at_until(twin):
    _, calls = gather(twin, range(6), until=4)

    assert calls == [0, 4, 5, 6]


def test_the_handler_is_called_from_the_deadline_on(twin):
    calls = []

    def boundary(li):
        calls.append(li.n)
        if li.rows is None:
            li.rows = twin.Columns((), read)
        li.rows.until, li.rows.deadline = sys.maxsize, time.perf_counter() + 0.05

    twin.set_handler(boundary, lambda li, how: None)
    for k in twin.Site(None, 0)[range(12)]:
        if k in (4, 8):
            time.sleep(0.1)

    assert calls == [0, 5, 9]


def test_the_handler_is_called_when_many_rows_have_gathered(twin):
    (_, count, _), calls = gather(twin, range(4100))

    assert calls == [0, 4096, 4097, 4098, 4099, 4100]
    assert count == 4100


def test_rows_that_do_not_follow_are_left_to_the_handler(twin):
    seen = []

    def boundary(li):
        if li.rows is None:
            li.rows = twin.Columns(("x",), read)
            li.rows.until, li.rows.deadline = sys.maxsize, math.inf
        seen.append((li.n, li.rows.next))

    twin.set_handler(boundary, lambda li, how: None)
    for x in twin.Site(None, 0)[range(4)]:
        (loop,) = twin.running()
        if x == 1:
            loop.n = 7

    assert seen == [(0, -1), (7, 1), (8, 1), (9, 1)]
    with pytest.raises(ValueError, match="row 9 does not follow 1 rows from 0 on"):
        add_here(twin, loop.rows, 9)


def add_here(twin, columns, iteration):
    twin.set_handler(lambda li: None, lambda li, how: None)
    for x in twin.Site(None, 0)[[0]]:
        (loop,) = twin.running()
        columns.add(loop, iteration)


def test_what_the_reader_raises_reaches_the_program(twin):
    def read(value):
        raise LookupError("from the reader")

    with pytest.raises(LookupError, match="from the reader"):
        gather(twin, ["a", "b"], read=read)


def test_the_variables_of_a_module_are_read(twin):
    columns = twin.Columns(("x", "missing"), read)

    def boundary(li):
        columns.until, columns.deadline = sys.maxsize, math.inf
        li.rows = columns

    twin.set_handler(boundary, lambda li, how: None)
    exec(compile("for x in site[range(3)]: pass", "m.py", "exec"), {"site": twin.Site(None, 0)})

    assert columns.take(9) == [[0, 1, 2], None]


def test_taking_leaves_nothing_behind(twin):
    columns = twin.Columns(("x",), read)
    add_here(twin, columns, 5)

    assert (columns.first, columns.count, columns.next) == (5, 1, 6)
    assert columns.take(0) == [[0]]
    assert (columns.count, columns.next, columns.take(0)) == (0, -1, [None])


def test_columns_keep_nothing_alive_that_they_only_read(twin):
    class Thing:
        pass

    columns = twin.Columns(("x",), read)

    def program():
        thing = Thing()
        for x in twin.Site(None, 0)[[thing]]:
            pass
        return weakref.ref(thing)

    twin.set_handler(lambda li: setattr(li, "rows", columns), lambda li, how: None)
    gone = program()
    gc.collect()

    assert columns.count == 1
    assert gone() is None


@pytest.mark.parametrize("names", [["x"], ("x", 1), None])
def test_columns_are_of_a_tuple_of_names(twin, names):
    with pytest.raises(TypeError):
        twin.Columns(names, read)


def test_rows_are_columns_or_none(twin):
    twin.set_handler(lambda li: None, lambda li, how: None)
    for _ in twin.Site(None, 0)[[1]]:
        (loop,) = twin.running()
        assert loop.rows is None
        with pytest.raises(TypeError, match="rows must be Columns or None"):
            loop.rows = []
        loop.rows = twin.Columns((), read)
        loop.rows = None


def test_numbers_of_numpy_are_read_as_floats(twin):
    numpy = pytest.importorskip("numpy")

    (_, _, (column,)), _ = gather(twin, [numpy.float64(0.1), numpy.float64(0.2)], read=None)

    assert repr(unpacked(column, 2)) == "[0.1, 0.2]"


def test_the_twins_have_the_same_attributes():
    native = pytest.importorskip("flor_trace._native")

    def public(kind):
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(native.Columns) == public(_pure.Columns)
