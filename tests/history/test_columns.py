from __future__ import annotations

import json
import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flor_trace.history.columns import packed, unpack_rows
from flor_trace.history.journal import JournalWriter, read_journal


def rows(count, value, **cols):
    frame = {"t": "rows", "first": 0, "count": count, "value": value, "cols": cols}
    return json.loads(json.dumps(frame))


@given(st.lists(st.floats(), min_size=1), st.integers(-(2**40), 2**40), st.integers(-9, 9))
def test_columns_of_numbers_come_back_bit_for_bit(reals, first, step):
    count = len(reals)
    wholes = [2**62 - k for k in range(count)]
    frame = rows(
        count,
        packed(("range", (first, step))),
        real=packed(("f8", array("d", reals).tobytes())),
        whole=packed(("i8", array("q", wholes).tobytes())),
        text=packed(["a"] * count),
    )

    unpack_rows(frame)

    assert array("d", frame["cols"]["real"]).tobytes() == array("d", reals).tobytes()
    assert frame["cols"]["whole"] == wholes
    assert frame["cols"]["text"] == ["a"] * count
    assert frame["value"] == [first + step * k for k in range(count)]
    assert "count" not in frame


def test_a_column_without_a_value_is_null_throughout():
    frame = rows(3, None, x=[1, 2, 3])
    unpack_rows(frame)

    assert frame["value"] == [None] * 3


def test_frames_of_lists_are_left_as_they_are():
    frame = {"t": "rows", "value": [1], "cols": {"x": [2]}}
    unpack_rows(frame)

    assert frame == {"t": "rows", "value": [1], "cols": {"x": [2]}}


@pytest.mark.parametrize(
    "column", [{"f8": "no base64"}, {"f2": "AAAA"}, {}, {"f8": "AAAA", "i8": ""}, {"range": [1]}]
)
def test_columns_of_other_kinds_are_refused_and_nothing_is_changed(column):
    frame = rows(1, None, x=column)
    before = json.dumps(frame)

    with pytest.raises((ValueError, LookupError, TypeError)):
        unpack_rows(frame)
    assert json.dumps(frame) == before


def test_a_huge_count_takes_no_memory():
    with pytest.raises(ValueError, match="none of ours"):
        unpack_rows(rows(1 << 40, None))


def test_a_journal_gives_lists_and_keeps_what_it_does_not_know(tmp_path):
    journal = JournalWriter(tmp_path / "journal")
    known = rows(2, {"range": [5, 1]}, x=packed(("f8", array("d", [0.5, math.inf]).tobytes())))
    journal.append(known)
    strange = rows(1, None, x={"f2": "AAAA"})
    journal.append(strange)
    journal.append({"t": "exit"})
    journal.close()

    first, second, third = (frame for _, frame in read_journal(tmp_path / "journal"))
    assert (first["value"], first["cols"]) == ([5, 6], {"x": [0.5, math.inf]})
    assert second == strange
    assert third == {"t": "exit"}
