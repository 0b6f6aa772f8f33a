from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flor_trace.cli.output import _cell, duration, plain, print_rows
from flor_trace.history.artifacts import Artifact

COLUMNS = ("name", "value")


class Cell:
    """A cell that stands for an array."""

    def __init__(self, array, kind="ndarray", text="ndarray(2, 2)"):
        self.array, self.kind, self.text = array, kind, text

    def load(self):
        return self.array

    def __str__(self):
        return self.text


def rows(*values):
    return [{"name": f"n{k}", "value": value} for k, value in enumerate(values)]


# -- JSON ------------------------------------------------------------------------------------------


def test_json_is_json_that_every_reader_takes(capsys, strict_json):
    values = [1, 1.5, True, "a\nb", None, math.nan, math.inf, -math.inf, pd.NA, pd.NaT,
              np.float64(2.5), np.int64(3), np.bool_(True), pd.Timestamp("2026-01-02")]  # fmt: skip

    print_rows(rows(*values), COLUMNS, as_json=True)

    assert [row["value"] for row in strict_json(capsys.readouterr().out)] == [
        1, 1.5, True, "a\nb", None, None, "inf", "-inf", None, None, 2.5, 3, True,
        "2026-01-02 00:00:00",
    ]  # fmt: skip


def test_arrays_are_nested_lists_in_json(capsys, strict_json):
    array = np.array([[1.0, math.nan], [math.inf, 2.0]])

    print_rows(rows(Cell(array), Cell(np.array([1 + 2j]))), COLUMNS, as_json=True)

    first, second = strict_json(capsys.readouterr().out)
    assert first["value"] == [[1.0, None], ["inf", 2.0]]
    assert second["value"] == ["(1+2j)"]


def test_an_error_of_a_probe_is_its_text_in_json():
    assert plain(Cell(None, "error", "ZeroDivisionError: x")) == "ZeroDivisionError: x"


def test_nested_values_are_plain_too():
    assert plain({"a": [math.nan, {"b": math.inf}], "c": (1,)}) == {
        "a": [None, {"b": "inf"}],
        "c": [1],
    }


def test_artifacts_have_what_the_printing_needs():
    assert callable(Artifact.load)
    assert hasattr(Artifact, "kind")


# -- TSV -------------------------------------------------------------------------------------------


def test_piped_output_is_tab_separated_and_exact(capsys):
    print_rows(rows(0.1 + 0.2, 3, None, math.nan, True, Cell(np.zeros(2))), COLUMNS)

    assert capsys.readouterr().out.splitlines() == [
        "name\tvalue",
        "n0\t0.30000000000000004",
        "n1\t3",
        "n2\t",
        "n3\t",
        "n4\tTrue",
        "n5\tndarray(2, 2)",
    ]


def test_a_column_that_a_row_lacks_is_empty(capsys):
    print_rows([{"name": "a"}], COLUMNS)

    assert capsys.readouterr().out == "name\tvalue\na\t\n"


@given(st.text())
def test_a_text_cannot_break_the_table_or_reach_the_terminal(text):
    cell = _cell(text)

    assert cell.isprintable()
    assert "\t" not in cell


def test_a_readable_text_stays_as_it_is():
    assert _cell("größe → 3 ‹x› 🙂") == "größe → 3 ‹x› 🙂"
    assert _cell("\x1b[31mred") == "\\x1b[31mred"


# -- tables ----------------------------------------------------------------------------------------


def test_people_get_a_table_with_short_numbers(terminal):
    screen = terminal()
    print_rows(rows(1 / 3, 12), COLUMNS)

    lines = [line.split() for line in screen.getvalue().splitlines()]
    assert lines == [["name", "value"], ["n0", "0.333333"], ["n1", "12"]]


@pytest.mark.parametrize("text", ["[red]x[/red]", "a:smile:b", ":warning:", "[/]", "\x1b[31m"])
def test_texts_are_shown_literally(terminal, text):
    screen = terminal()
    print_rows(rows(text), COLUMNS)

    assert text.replace("\x1b", "\\x1b") in screen.getvalue()
    assert "\x1b" not in screen.getvalue()


def test_numbers_stand_to_the_right(terminal):
    screen = terminal()
    print_rows(rows(1, 22222), COLUMNS)

    _, first, second = (line.rstrip() for line in screen.getvalue().splitlines())
    assert len(first) == len(second)


def test_an_empty_table_has_its_columns(terminal):
    screen = terminal()
    print_rows([], COLUMNS)

    assert screen.getvalue().split() == ["name", "value"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.04, "0.0 s"), (59.9, "59.9 s"), (60, "1 min 00 s"), (3599.6, "1 h 00 min"),
     (61.4, "1 min 01 s"), (7265, "2 h 01 min")],
)  # fmt: skip
def test_durations_are_said_as_people_say_them(seconds, text):
    assert duration(seconds) == text
