from __future__ import annotations

import pandas as pd
import pytest
from replay_helpers import enter, header, info, leave, loop, module, recorded, rows

from flor_trace.errors import NothingMatched
from flor_trace.replay.engine import _wanted, prepare, read_probe
from flor_trace.replay.probes import parse
from flor_trace.replay.resolve import Place
from flor_trace.store.layout import open_store

LR = info("lr")
RUN = "20261123-run"


def wanted(targets, selected, column="lr"):
    run = recorded(
        header(), module(LR), loop(0, LR), enter(0), rows(0, targets), leave(0, len(targets))
    )
    where = Place(parse("x=1"), LR, run.outermost[0])
    table = None if selected is None else pd.DataFrame({"runid": RUN, column: selected})
    return _wanted(run, where, table)


def test_without_a_condition_every_complete_iteration_is_wanted():
    assert wanted([0.1, 0.2], None) == {0, 1}


def test_rows_select_the_iterations_with_their_value():
    assert wanted([0.1, 0.2, 0.3], [0.2]) == {1}
    assert wanted(["a", "b"], ["a", "b"]) == {0, 1}


def test_iterations_with_one_value_are_selected_together():
    """The pivot cannot tell them apart, so none of them may be left out."""
    assert wanted([0.1, 0.2, 0.1], [0.1]) == {0, 2}


def test_iterations_without_a_value_go_by_their_number():
    assert wanted([None, None, None], [1, 2]) == {1, 2}


def test_a_row_of_the_whole_run_selects_all_of_it():
    assert wanted([0.1, 0.2], [float("nan")]) == {0, 1}
    assert wanted([0.1, 0.2], [5], column="other") == {0, 1}


def test_an_empty_store_matches_nothing(tmp_path):
    store = open_store(tmp_path / "store", create=True)

    with pytest.raises(NothingMatched, match="no run is recorded"):
        prepare(store, read_probe(store, "x=1"))
