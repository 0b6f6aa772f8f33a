"""The same from Python: plain DataFrames, and replay with Flor's names."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from harness import Project

import flor_trace as flor
from flor_trace.errors import NothingMatched, ProbeError, WhereError

PROGRAM = """
import argparse
import random

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--hidden", type=int, default=128)
args = parser.parse_args()


def confusion(weights):
    return np.outer(weights, weights).round(3)


weights = np.zeros(3)
for epoch in range(4):
    for step in range(3):
        weights = weights + random.random()
        loss = float(1 / (1 + weights.sum()))
        np.linalg.inv(np.random.default_rng(0).normal(size=(60, 60)))
    accuracy = float(weights.mean())
"""


@pytest.fixture
def runs(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    project.write("main.py", PROGRAM)
    project.record("main.py")
    project.record("--name", "wide", "main.py", "--hidden", "512")
    monkeypatch.chdir(project.path)
    return project


def test_log_records_and_full_pivot_are_plain_frames(runs: Project) -> None:
    records = flor.log_records()
    table = flor.full_pivot(records)

    assert list(flor.DATA_PREP) == ["projid", "runid", "tstamp", "vid"]
    assert type(records) is pd.DataFrame
    assert set(records["source"]) == {"forward"}
    assert list(table.columns[:4]) == list(flor.DATA_PREP)
    assert pd.api.types.is_numeric_dtype(table["accuracy"])
    assert pd.api.types.is_integer_dtype(table["hidden"])
    per_run = table.groupby("runid")["accuracy"].nunique().tolist()
    assert per_run == [4, 4]


def test_pivot_gives_one_row_per_innermost_iteration(runs: Project) -> None:
    outer = flor.pivot("hidden", "accuracy")
    inner = flor.pivot("accuracy", "loss")

    assert len(outer) == 8
    assert len(inner) == 24
    assert inner.groupby(["runid", "epoch"])["accuracy"].nunique().eq(1).all()


def test_replay_fills_only_the_cells_that_the_clause_selects(runs: Project) -> None:
    runs.replay("cf_matrix=confusion(weights)", "--run", "wide")

    table = flor.replay(
        apply_vars=["cf_matrix"],
        where_clause='cf_matrix.isna() and hidden.astype("float") < 250 and epoch > 1',
    )

    narrow = table[table.hidden == 128].drop_duplicates("epoch").set_index("epoch")
    assert narrow.cf_matrix.isna().tolist() == [True, True, False, False]
    matrix = narrow.cf_matrix[3].load()
    assert matrix.shape == (3, 3)
    assert np.array_equal(matrix, np.asarray(narrow.cf_matrix[3]))
    assert matrix[0, 0] == round(narrow.accuracy[3] ** 2, 3)
    records = flor.log_records()
    assert set(records[records.name == "cf_matrix"].source) == {"replay"}


def test_a_column_that_does_not_exist_yet_is_missing_everywhere(runs: Project) -> None:
    table = flor.replay(
        apply_vars=["twice=accuracy * 2"], where_clause="twice.isna() and accuracy > 0"
    )

    rows = table.drop_duplicates(["runid", "epoch"])
    assert rows.twice.tolist() == (rows.accuracy * 2).tolist()
    with pytest.raises(NothingMatched):
        flor.replay(apply_vars=["twice"], where_clause="twice.isna()")


def test_errors_say_what_to_do(runs: Project) -> None:
    with pytest.raises(ProbeError, match="near"):
        flor.replay(apply_vars=["x=acuracy"])
    with pytest.raises(WhereError):
        flor.replay(apply_vars=["x=accuracy"], where_clause="accuracy >")


def test_replay_is_a_function_whatever_was_imported_before(runs: Project) -> None:
    out = runs.plain(
        "-c",
        "import flor_trace.replay.probes, flor_trace as flor, flor_trace.api\n"
        "print(len(flor.replay(apply_vars=['y=accuracy + 1'], runs=['wide'])))\n",
    ).stdout

    assert int(out) > 0
