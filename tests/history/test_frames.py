from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flor_trace.errors import ChunkDamaged, ChunkMissing, WhereError
from flor_trace.history.artifacts import Artifact
from flor_trace.history.catalog import Catalog
from flor_trace.history.frames import DATA_PREP, full_pivot, log_records, pivot, select
from flor_trace.types import ArtifactRef

Journals = Any  # see conftest.py

MATRIX = np.arange(6).reshape(2, 3)
AT = "48-" + "0" * 32
ENCODED = {"$": "ndarray", "at": AT, "dtype": "<i8", "shape": [2, 3]}
ERROR = {"$": "error", "text": "ZeroDivisionError: division by zero"}


def read(address: str) -> bytes:
    if address != AT:
        raise ChunkMissing(f"no chunk {address}")
    return MATRIX.tobytes()


def store(journals: Journals) -> Catalog:
    """Two runs; the second has no steps and other settings."""
    for runid, hidden in (("r1", 128), ("r2", 256)):
        frames = [
            {"t": "config", "values": {"lr": 0.1, "hidden": hidden, "amp": True, "opt": "adam"}},
            journals.loop(0, "train.py:main:0", "epoch"),
            journals.loop(1, "train.py:main:1", "step"),
        ]
        for epoch in range(2):
            if runid == "r1":
                outer = [[0, epoch, epoch]]
                frames.append(journals.rows(1, outer, 0, [0, 1], loss=[epoch + 0.5, math.nan]))
            frames.append(journals.rows(0, [], epoch, [epoch], acc=[epoch], best=[epoch == 1]))
        journals.run(runid, *frames, tstamp=f"2026-11-2{runid[1]}T15:45:01.123456+00:00")
    return Catalog(journals.root)


def test_the_long_table_has_one_value_a_row(journals: Journals) -> None:
    table = log_records(store(journals))
    assert list(table.columns) == [
        "projid", "runid", "tstamp", "vid", "filename", "epoch", "step", "name", "value", "source"
    ]  # fmt: skip
    assert len(table) == 20
    assert table["tstamp"].dtype == "datetime64[us]"
    assert table["tstamp"][0] == pd.Timestamp("2026-11-21T15:45:01.123456")
    first = table[table["runid"] == "r1"].set_index(["name", "epoch", "step"])["value"]
    assert type(first.loc["hidden"].iloc[0]) is int
    assert first.loc[("loss", 1, 0)] == 1.5
    assert set(table["source"]) == {"forward"}
    assert set(table["filename"]) == {"train.py"}


def test_the_pivot_of_all_names_has_numbers_in_number_columns(journals: Journals) -> None:
    table = pivot(store(journals))
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} | {
        "projid": "", "runid": "", "vid": "", "opt": ""
    } == {
        "projid": "", "runid": "", "tstamp": "datetime64[us]", "vid": "", "epoch": "int64",
        "step": "Int64", "lr": "float64", "hidden": "int64", "amp": "bool", "opt": "",
        "loss": "float64", "acc": "int64", "best": "bool",
    }  # fmt: skip
    assert len(table) == 6
    assert tuple(table.columns[:4]) == DATA_PREP
    assert table["opt"].tolist() == ["adam"] * 6


def test_named_columns_come_in_the_order_asked(journals: Journals) -> None:
    table = pivot(store(journals), "acc", "epoch", "lr", "missing")
    assert list(table.columns) == [*DATA_PREP, "epoch", "acc", "lr", "missing"]
    assert table["acc"].tolist() == [0, 1, 0, 1]
    assert table["missing"].isna().all()
    assert pivot(Catalog(journals.root), "loss", runids=["r2"]).empty


def test_the_full_pivot_of_the_long_table_is_the_pivot(journals: Journals) -> None:
    catalog = store(journals)
    journals.replay(
        "r1", 1, journals.loop(5, "train.py:main:0", "epoch"),
        journals.value("cf", [[5, 1, 1]], ENCODED), journals.value("cf", [[5, 0, 0]], ERROR),
    )  # fmt: skip
    whole = full_pivot(log_records(catalog, reader=read))
    pd.testing.assert_frame_equal(whole, pivot(catalog, reader=read))


def test_a_part_of_the_long_table_can_be_pivoted(journals: Journals) -> None:
    table = log_records(store(journals))
    part = full_pivot(table[table["name"].isin(["acc", "lr"])])
    assert [name for name in part.columns if name not in DATA_PREP] == ["epoch", "lr", "acc"]
    assert part["acc"].tolist() == [0, 1, 0, 1]
    assert full_pivot(table[table["name"] == "nothing"]).empty
    doubled = table[table["name"] == "acc"].assign(value=lambda t: t["value"].astype("Int64") * 2)
    assert full_pivot(doubled)["acc"].tolist() == [0, 2, 0, 2]
    assert full_pivot(doubled)["acc"].dtype == "int64"
    with pytest.raises(KeyError, match="no column 'name'"):
        full_pivot(table.drop(columns="name"))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2], "int64"),
        ([1, None], "float64"),
        ([2**53 + 1, None], "Int64"),
        ([2**70, 1], "object"),
        ([1, 2.5], "float64"),
        ([2**60 + 1, 2.5], "object"),
        ([math.nan, math.inf], "float64"),
        ([-math.inf, None], "float64"),
        ([True, False], "bool"),
        ([True, None], "boolean"),
        ([True, 1], "object"),
        (["a", 1], "object"),
        ([None, "a"], "text"),
    ],
)
def test_a_column_has_the_plainest_exact_type(
    journals: Journals, values: list[Any], dtype: str
) -> None:
    journals.run(
        "r1",
        journals.loop(0, "t:m:0", "i"),
        journals.rows(0, [], 0, [0, 1], x=values, y=[1, 1]),
    )
    column = pivot(Catalog(journals.root), "x", "y")["x"]
    if dtype == "text":
        assert pd.api.types.is_string_dtype(column.dtype)
    else:
        assert str(column.dtype) == dtype
    for given, held in zip(values, column.tolist(), strict=True):
        if given is None:
            assert pd.isna(held)
        else:
            assert repr(given) == repr(held) or given == held


def test_an_empty_store_gives_empty_tables_with_their_columns(journals: Journals) -> None:
    catalog = Catalog(journals.root)
    assert list(pivot(catalog).columns) == list(DATA_PREP)
    assert list(pivot(catalog, "loss").columns) == [*DATA_PREP, "loss"]
    assert log_records(catalog).empty
    assert full_pivot(log_records(catalog)).empty
    assert select(pivot(catalog), "loss.isna()").empty


def test_values_of_diverged_replays_are_marked_and_in_no_pivot(journals: Journals) -> None:
    catalog = store(journals)
    journals.replay(
        "r1", 1, journals.loop(5, "train.py:main:0", "epoch"),
        journals.value("cf", [[5, 0, 0]], 1, "diverged"),
        journals.value("cf", [[5, 1, 1]], 2, "exact"),
    )  # fmt: skip
    table = log_records(catalog)
    found = table[table["name"] == "cf"]
    assert dict(zip(found["value"], found["source"], strict=True)) == {1: "diverged", 2: "replay"}
    assert pivot(catalog, "cf")["cf"].tolist() == [2]
    assert full_pivot(found)["cf"].tolist() == [2]


# -- artifacts ----------------------------------------------------------------------------------


def artifact(reader: Callable[[Any], bytes] | None = read, **meta: Any) -> Artifact:
    return Artifact(ArtifactRef("ndarray", AT, {"dtype": "<i8", "shape": [2, 3], **meta}), reader)


def with_matrix(journals: Journals) -> pd.DataFrame:
    catalog = store(journals)
    journals.replay(
        "r1", 1, journals.loop(5, "train.py:main:0", "epoch"),
        journals.value("cf", [[5, 1, 1]], ENCODED), journals.value("bad", [[5, 0, 0]], ERROR),
    )  # fmt: skip
    return pivot(catalog, "epoch", "cf", "bad", reader=read)


def test_arrays_are_read_only_when_looked_into(journals: Journals) -> None:
    table = with_matrix(journals).set_index(["runid", "epoch"])
    held = table.loc[("r1", 1), "cf"]
    assert isinstance(held, Artifact)
    assert repr(held) == "int64[2, 3]"
    np.testing.assert_array_equal(held.load(), MATRIX)
    np.testing.assert_array_equal(np.asarray(held), MATRIX)
    np.testing.assert_array_equal(np.array(held, dtype="float32"), MATRIX.astype("float32"))
    assert (held.kind, held.shape, held.dtype) == ("ndarray", (2, 3), "<i8")
    held.load()[0, 0] = 9  # a copy of one's own


def test_an_artifact_is_a_single_cell_to_pandas(journals: Journals) -> None:
    table = with_matrix(journals)
    assert table["cf"].isna().tolist() == [True, False, True, True]
    assert table["bad"].notna().tolist() == [True, False, False, False]
    again = pd.concat([table, table.copy()], ignore_index=True).drop_duplicates("cf")
    assert again["cf"].notna().sum() == 1
    assert "int64[2, 3]" in table.to_string()
    assert "error: ZeroDivisionError: division by zero" in table.to_string()
    assert table.merge(table, on="runid")["cf_x"].notna().any()


def test_artifacts_are_equal_when_their_contents_are() -> None:
    assert artifact() == artifact(None)
    assert hash(artifact()) == hash(artifact(None))
    assert artifact() != artifact(shape=[3, 2])
    assert artifact() != MATRIX.tolist()
    assert artifact() != Artifact(ArtifactRef("error", None, {"text": "x"}))


@pytest.mark.parametrize(
    "meta", [{"shape": [2, 2]}, {"dtype": "<i4"}, {"shape": [2, 3, 2**62]}, {"dtype": "O"}]
)
def test_contents_that_do_not_fit_are_refused(meta: dict[str, Any]) -> None:
    with pytest.raises(ChunkDamaged):
        artifact(**meta).load()


def test_what_cannot_be_loaded_says_why() -> None:
    with pytest.raises(ChunkMissing, match="made without a store"):
        artifact(None).load()
    with pytest.raises(ChunkMissing, match="the probe failed with ZeroDivisionError"):
        Artifact(ArtifactRef("error", None, {"text": "ZeroDivisionError"})).load()


def test_html_shows_a_small_table_and_hides_nothing_dangerous() -> None:
    assert artifact()._repr_html_() == (
        '<table title="int64[2, 3]"><tr><td>0</td><td>1</td><td>2</td></tr>'
        "<tr><td>3</td><td>4</td><td>5</td></tr></table>"
    )
    big = Artifact(
        ArtifactRef("ndarray", AT, {"dtype": "<f8", "shape": [50, 50]}),
        lambda _: np.zeros((50, 50)).tobytes(),
    )
    assert big._repr_html_().count("<td>0</td>") == 144
    assert "…" in big._repr_html_()
    evil = Artifact(ArtifactRef("error", None, {"text": "<img src=x onerror=alert(1)>"}))
    assert "<img" not in evil._repr_html_()
    missing = artifact(shape=[3])
    missing.address = "1-missing"  # type: ignore[assignment]
    assert "no chunk 1-missing" in missing._repr_html_()


# -- where --------------------------------------------------------------------------------------


def test_the_condition_of_the_demonstration_selects(journals: Journals) -> None:
    table = pivot(store(journals), "hidden", "epoch", "acc")
    where = 'hidden.astype("float") < 250 and cf_matrix.isna()'
    chosen = select(table, where)
    assert chosen["runid"].unique().tolist() == ["r1"]
    assert len(chosen) == 2
    assert list(chosen.columns) == list(table.columns), "columns of the condition are not added"


def test_rows_that_have_the_value_are_not_selected(journals: Journals) -> None:
    table = with_matrix(journals)
    chosen = select(table, 'cf.isna() and runid == "r1"')
    assert chosen["epoch"].tolist() == [0]


@pytest.mark.parametrize(
    ("where", "epochs"),
    [
        ("epoch == 1", [1, 1]),
        ("not best", [0, 0]),
        ("best == True and hidden in [128, 4]", [1]),
        ('runid == "r2"', [0, 1]),
        ('opt == "adam" and acc >= 1', [1, 1]),
        ("acc > acc.mean()", [1, 1]),
        ('tstamp > "2026-11-22"', [0, 1]),
        ("tstamp.dt.day == 21", [0, 1]),
        ('opt.str.contains("da") and `lr` <= 0.1', [0, 1, 0, 1]),
        ("-1 < acc < 1", [0, 0]),
        ("lr < inf and epoch == 0", [0, 0]),
        ("nothing > 3", []),
        ("nothing != 3", [0, 1, 0, 1]),
        ("nothing.notna() or sqrt(acc) == 1", [1, 1]),
        ("1 < 2", [0, 1, 0, 1]),
        ("epoch == 1\n  and\n hidden == 256", [1]),
    ],
)
def test_conditions_are_really_evaluated(journals: Journals, where: str, epochs: list[int]) -> None:
    table = pivot(store(journals), "epoch", "acc", "best", "hidden", "opt", "lr")
    assert select(table, where)["epoch"].tolist() == epochs


def test_a_missing_value_meets_no_comparison(journals: Journals) -> None:
    journals.run(
        "r1",
        journals.loop(0, "t:m:0", "i"),
        journals.rows(0, [], 0, [0, 1], flag=[True, None], x=[1, 1]),
    )
    table = pivot(Catalog(journals.root))
    assert select(table, "flag")["i"].tolist() == [0]
    assert select(table, "flag == False").empty
    assert select(table, "flag.isna()")["i"].tolist() == [1]


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("hidde < 3", r"no column hidde; did you mean hidden\?\n  hidde < 3\n  \^ at character 1"),
        ("acc > 1 and hiden < 3", r"\n +\^ at character 13\ncolumns: hidden, "),
        ("`hiden` < 3", "did you mean hidden"),
        ("acc >", r"invalid syntax\n  acc >\n       \^ at character 6"),
        ("acc > )", "at character 7"),
        ("acc = 3", "cannot be evaluated: invalid syntax"),
        ("acc > 3; acc < 4", "invalid syntax"),
        ("", "invalid syntax"),
        ("acc > @limit", r"there are no @ names here\n  acc > @limit\n {8}\^"),
        ("acc", "gives values of type int64, not a condition"),
        ("acc + 1", "not a condition"),
        ("3", "not a condition"),
        ("opt < 3", "TypeError"),
        ("acc.nonsense() > 3", "AttributeError"),
        ("len(acc) > 3", r"ValueError|TypeError|NameError"),
        ('__import__("os").system("true")', "is not available|not a supported function"),
        ('acc.to_csv("x")', r"\.to_csv is not available here"),
        ("acc.__class__ == 3", "is not available here"),
        ("acc.apply(print)", "is not available here"),
        ("acc > 1 if best else acc", "NotImplementedError"),
        ("(" * 300 + "acc" + ")" * 300, "cannot be evaluated"),
        ("acc > 1\x00", "cannot be evaluated"),
    ],
)
def test_what_is_no_condition_is_refused_with_the_place_and_the_columns(
    journals: Journals, where: str, why: str
) -> None:
    table = pivot(store(journals), "epoch", "acc", "best", "hidden", "opt")
    with pytest.raises(WhereError, match=why) as caught:
        select(table, where)
    assert "columns: " in str(caught.value)
    assert "hidden" in str(caught.value)


def test_a_name_that_resembles_a_column_can_be_announced(journals: Journals) -> None:
    table = pivot(store(journals), "acc", "hidden")
    assert select(table, "accs > 3", also=["accs"]).empty
    assert len(select(table, "accs.isna()")) == 4
    with pytest.raises(WhereError, match="did you mean acc"):
        select(table, "accs > 3")


def test_selecting_does_not_change_the_table(journals: Journals) -> None:
    table = pivot(store(journals))
    before = table.copy()
    select(table, "fresh.isna() and acc == 1")
    pd.testing.assert_frame_equal(table, before)


def test_an_error_in_a_cell_meets_no_comparison(journals: Journals) -> None:
    journals.run("r1", journals.loop(0, "t:m:0", "i"), journals.rows(0, [], 0, [0, 1], x=[1, 1]))
    journals.replay(
        "r1", 1, journals.loop(0, "t:m:0", "i"),
        journals.value("y", [[0, 0, 0]], 5), journals.value("y", [[0, 1, 1]], ERROR),
    )  # fmt: skip
    table = pivot(Catalog(journals.root))
    assert select(table, "y > 3")["i"].tolist() == [0]
    assert select(table, "y < 3").empty
