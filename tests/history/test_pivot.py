from __future__ import annotations

import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flor_trace.history.pivot import Table, pivot
from flor_trace.history.spans import Span
from flor_trace.types import ArtifactRef

EPOCH, STEP, TEST = "train.py:main:0", "train.py:main:1", "train.py:main:2"
DIMS = {EPOCH: "epoch", STEP: "step", TEST: "test"}


def span(runid: str, keys: list[str], outer: list[Any], first: int, **columns: list[Any]) -> Span:
    count = len(next(iter(columns.values()), [None]))
    targets = [None] if not keys else list(range(first, first + count))
    dims = tuple(DIMS.get(key.partition("#")[0], "i") for key in keys)
    return Span(
        runid, tuple(keys), dims, tuple((at, at) for at in outer), first, targets, dict(columns)
    )


def config(runid: str, **values: Any) -> Span:
    return span(runid, [], [], 0, **{name: [value] for name, value in values.items()})


def wide(spans: list[Span], names: list[str] | None = None, dims: tuple[str, ...] = ()) -> Table:
    runs = {
        runid: ("proj", runid, "2026-01-01", "vid")
        for runid in sorted({each.runid for each in spans})
    }
    return pivot(spans, runs, names=names, dims=dims)


def rows(table: Table, *columns: str) -> list[tuple[Any, ...]]:
    chosen = columns or (*table.dims, *table.names)
    found = list(zip(*(table.columns[name] for name in chosen), strict=True))
    assert len(found) == table.length
    return found


def test_a_value_of_the_run_is_on_every_row_of_the_run() -> None:
    table = wide([config("r", lr=0.1), span("r", [EPOCH], [], 0, acc=[0.5, 0.6])])
    assert table.index == ("projid", "runid", "tstamp", "vid")
    assert list(table.columns) == ["projid", "runid", "tstamp", "vid", "epoch", "lr", "acc"]
    assert rows(table) == [(0, 0.1, 0.5), (1, 0.1, 0.6)]
    assert rows(table, "runid", "vid") == [("r", "vid")] * 2


def test_a_run_without_loops_is_one_row() -> None:
    assert rows(wide([config("r", lr=0.1, seed=7)])) == [(0.1, 7)]


def test_a_value_of_an_outer_loop_is_on_the_rows_of_the_inner_loop() -> None:
    table = wide(
        [
            span("r", [EPOCH, STEP], [0], 0, loss=[1, 2]),
            span("r", [EPOCH], [], 0, acc=[0.5]),
            span("r", [EPOCH, STEP], [1], 0, loss=[3]),
            span("r", [EPOCH], [], 1, acc=[0.6]),
        ]
    )
    assert table.dims == ("epoch", "step")
    assert rows(table) == [(0, 0, 1, 0.5), (0, 1, 2, 0.5), (1, 0, 3, 0.6)]


def test_loops_beside_one_another_are_stacked_and_never_multiplied() -> None:
    table = wide(
        [
            config("r", lr=0.1),
            span("r", [EPOCH, STEP], [0], 0, loss=list(range(300))),
            span("r", [EPOCH, TEST], [0], 0, hit=list(range(200))),
            span("r", [EPOCH], [], 0, acc=[0.5]),
        ]
    )
    assert table.length == 500
    found = rows(table, "epoch", "step", "test", "lr", "loss", "hit", "acc")
    assert found[0] == (0, 0, None, 0.1, 0, None, 0.5)
    assert found[300] == (0, None, 0, 0.1, None, 0, 0.5)


def test_two_names_of_one_loop_share_their_rows() -> None:
    values = list(range(300))
    table = wide([span("r", [EPOCH], [], 0, a=values, b=values)])
    assert table.length == 300


def test_an_outer_iteration_without_inner_rows_keeps_a_row() -> None:
    table = wide(
        [
            span("r", [EPOCH, STEP], [0], 0, loss=[1]),
            span("r", [EPOCH], [], 0, acc=[0.5, 0.6]),
            span("r", [EPOCH, STEP], [2], 0, loss=[3]),
        ]
    )
    assert rows(table, "epoch", "step", "loss", "acc") == [
        (0, 0, 1, 0.5),
        (1, None, None, 0.6),
        (2, 0, 3, None),
    ]


def test_the_innermost_value_of_a_name_counts() -> None:
    table = wide(
        [
            config("r", lr=1.0),
            span("r", [EPOCH], [], 0, lr=[0.1, None]),
            span("r", [EPOCH, STEP], [0], 0, lr=[None, 0.01]),
            span("r", [EPOCH, STEP], [1], 0, lr=[0.02]),
        ]
    )
    assert rows(table) == [(0, 0, 0.1), (0, 1, 0.01), (1, 0, 0.02)]


def test_runs_with_other_names_and_loops_are_stacked() -> None:
    table = wide(
        [
            config("a", lr=0.1),
            span("a", [EPOCH], [], 0, acc=[1]),
            config("b", wd=0.2),
            span("b", [EPOCH, STEP], [0], 0, loss=[2]),
            config("c", lr=0.3),
        ]
    )
    assert rows(table, "runid", "epoch", "step", "lr", "acc", "wd", "loss") == [
        ("a", 0, None, 0.1, 1, None, None),
        ("b", 0, 0, None, None, 0.2, 2),
        ("c", None, None, 0.3, None, None, None),
    ]


def test_only_rows_with_a_chosen_name_are_given() -> None:
    spans = [
        config("a", lr=0.1, seed=1),
        span("a", [EPOCH, STEP], [0], 0, loss=[1, None, 3]),
        span("a", [EPOCH], [], 0, acc=[0.5, 0.6]),
        config("b", seed=2),
    ]
    table = wide(spans, ["acc", "lr", "acc"])
    assert table.dims == ("epoch",)
    assert table.names == ("acc", "lr")
    assert rows(table) == [(0, 0.5, 0.1), (1, 0.6, 0.1)]
    assert rows(wide(spans, ["nothing"])) == []
    assert wide(spans, ["nothing"]).names == ("nothing",)


def test_a_dimension_can_be_asked_for_like_a_name() -> None:
    bare = span("a", [EPOCH], [], 0)
    bare.targets = [10, 20]
    spans = [
        config("a", lr=0.1),
        span("a", [EPOCH, STEP], [2], 0, loss=[1, 2]),
        bare,
    ]
    assert rows(wide(spans, ["lr"], ("epoch",))) == [(10, 0.1), (20, 0.1), (2, 0.1)]
    assert rows(wide(spans, [], ("step",))) == [(2, 0), (2, 1)]
    assert rows(wide(spans, ["loss"], ("epoch",))) == [
        (10, None, None), (20, None, None), (2, 0, 1), (2, 1, 2)
    ]  # fmt: skip


def test_the_value_of_the_target_stands_in_the_column_of_the_dimension() -> None:
    one = span("r", [EPOCH], [], 0, acc=[1, 2, 3])
    one.targets = [0.1, None, {"$": "ndarray"}]
    assert rows(wide([one])) == [(0.1, 1), (1, 2), (2, 3)]


def test_equal_values_of_a_target_do_not_join() -> None:
    one = span("r", [EPOCH], [], 0, acc=[1, 2])
    one.targets = [0.1, 0.1]
    assert rows(wide([one])) == [(0.1, 1), (0.1, 2)]


def test_loops_of_one_dimension_share_its_column_while_names_tell_them_apart() -> None:
    first, second = "t.py:train:0", "t.py:test:0"
    table = wide([span("r", [first], [], 0, loss=[1, 2]), span("r", [second], [], 0, hit=[3])])
    assert table.dims == ("i",)
    assert rows(table) == [(0, 1, None), (1, 2, None), (0, None, 3)]


def test_loops_of_one_dimension_that_log_one_name_get_columns_of_their_own() -> None:
    first, second = "t.py:train:0", "t.py:test:0"
    table = wide(
        [
            span("r", [first], [], 0, loss=[1, 2]),
            span("r", [second], [], 0, loss=[3]),
            span("s", [second], [], 0, loss=[4]),
        ]
    )
    assert table.dims == ("i@train:0", "i@test:0")
    assert rows(table) == [(0, None, 1), (1, None, 2), (None, 0, 3), (None, 0, 4)]


def test_a_loop_that_moved_between_versions_keeps_its_column() -> None:
    table = wide(
        [span("r", ["t.py:main:0"], [], 0, loss=[1]), span("s", ["t.py:fit:3"], [], 0, loss=[2])]
    )
    assert table.dims == ("i",)
    assert rows(table, "runid", "i", "loss") == [("r", 0, 1), ("s", 0, 2)]


def test_files_are_named_where_the_place_in_them_is_the_same() -> None:
    table = wide(
        [span("r", ["a.py:main:0"], [], 0, x=[1]), span("r", ["b.py:main:0"], [], 0, x=[2])]
    )
    assert table.dims == ("i@a.py:main:0", "i@b.py:main:0")


def test_executions_of_one_loop_in_one_iteration_are_stacked() -> None:
    table = wide(
        [
            span("r", ["t.py:test:0"], [], 0, hit=[1, 2]),
            span("r", ["t.py:test:0#1"], [], 0, hit=[3, 4]),
        ]
    )
    assert table.dims == ("i",)
    assert rows(table) == [(0, 1), (1, 2), (0, 3), (1, 4)]


def test_rows_are_in_the_order_in_which_the_loops_ran() -> None:
    table = wide(
        [
            span("r", [EPOCH, STEP], [0], 0, loss=[1]),
            span("r", [EPOCH, TEST], [0], 0, hit=[2]),
            span("r", [EPOCH, STEP], [1], 0, loss=[3]),
            span("r", [EPOCH, TEST], [1], 0, hit=[4]),
        ]
    )
    assert rows(table, "loss", "hit") == [(1, None), (None, 2), (3, None), (None, 4)]


def test_a_replayed_column_joins_the_recorded_rows() -> None:
    replayed = span("r", [EPOCH], [], 1, cf=[{"$": "ndarray", "at": "1-a", "shape": [2]}])
    replayed.source = 3
    table = wide([span("r", [EPOCH], [], 0, acc=[0.5, 0.6]), replayed])
    ref = ArtifactRef("ndarray", "1-a", {"shape": [2]})
    assert rows(table) == [(0, 0.5, None), (1, 0.6, ref)]


def test_names_that_collide_with_other_columns_are_told_apart() -> None:
    table = wide([config("r", vid=1, epoch=2), span("r", [EPOCH], [], 0, acc=[3])])
    assert table.names == ("vid (value)", "epoch (value)", "acc")
    assert rows(table, "vid", "vid (value)", "epoch", "epoch (value)") == [("vid", 1, 0, 2)]


def test_falsy_values_are_values() -> None:
    (row,) = rows(wide([config("r", a=0, b=False, c="", d=0.0)]))
    assert row == (0, False, "", 0.0)
    ((value,),) = rows(wide([config("r", a=math.nan)]))
    assert math.isnan(value)


def test_a_number_logged_in_pieces_is_whole_again() -> None:
    spans = [span("r", [EPOCH], [], first, acc=[first, first + 1]) for first in (4, 0, 2)]
    assert rows(wide(spans)) == [(n, n) for n in range(6)]


LOOPS = [[], [EPOCH], [EPOCH, STEP], [EPOCH, TEST]]


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)),
        st.integers(),
        max_size=25,
    )
)
def test_every_value_is_found_where_it_was_logged_and_no_row_is_made_up(
    cells: dict[tuple[int, int, int], int],
) -> None:
    spans, places = [], {}
    for (level, at, inner), value in cells.items():
        keys = LOOPS[level]
        outer, first = ([at], inner) if len(keys) == 2 else ([], at if keys else 0)
        place = (*outer, first) if keys else ()
        name = f"n{level}"
        if (level, place) not in places:
            places[level, place] = value
            spans.append(span("r", keys, outer, first, **{name: [value]}))
    table = wide(spans)
    dims = [table.columns.get(dim, [None] * table.length) for dim in ("epoch", "step", "test")]
    keys = list(zip(*dims, strict=True))
    assert len(set(keys)) == len(keys), "no two rows of one place"
    for (level, place), value in places.items():
        column = table.columns[f"n{level}"]
        under = [row for row, key in enumerate(keys) if _lies_under(level, place, key)]
        assert under, "each value is on a row"
        assert {column[row] for row in under} == {value}
    logged = sum(sum(value is not None for value in table.columns[name]) for name in table.names)
    assert logged == sum(
        sum(_lies_under(level, place, key) for key in keys) for level, place in places
    )


def _lies_under(level: int, place: tuple[int, ...], key: tuple[Any, ...]) -> bool:
    epoch, step, test = key
    return bool(
        level == 0
        or (level == 1 and epoch == place[0])
        or (level == 2 and (epoch, step) == place)
        or (level == 3 and (epoch, test) == place)
    )
