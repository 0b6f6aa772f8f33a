"""Frames with every kind of column go on bit for bit, in place, and keep what they share."""

from __future__ import annotations

import numpy as np
import pytest

pd = pytest.importorskip("pandas")

COLUMNS = {
    "numbers": lambda: [1.5, np.nan, 3.0],
    "objects": lambda: [[1], None, "x"],
    "strings": lambda: pd.array(["a", None, "b"], dtype="string"),
    "plain strings": lambda: ["a", None, "b"],
    "categories": lambda: pd.Categorical(["p", "q", "p"], ordered=True),
    "moments": lambda: pd.date_range("2026", periods=3, tz="UTC"),
    "durations": lambda: pd.to_timedelta([1, 2, None], unit="s"),
    "periods": lambda: pd.period_range("2026", periods=3, freq="M"),
    "nullable integers": lambda: pd.array([1, None, 3], dtype="Int64"),
    "nullable flags": lambda: pd.array([True, None, False], dtype="boolean"),
    "nullable floats": lambda: pd.array([0.5, None, 1.0], dtype="Float32"),
    "sparse": lambda: pd.arrays.SparseArray([0, 0, 1]),
    "intervals": lambda: pd.interval_range(0, 3),
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("keys", [[], ["b"], ["a", "b"]])
def test_a_column_of_every_kind_comes_back_in_the_live_frame(save, digest_of, name, keys):
    frame = pd.DataFrame({"a": [1, 2, 1], "b": ["x", "y", "z"], "c": COLUMNS[name]()})
    frame = frame.set_index(keys) if keys else frame
    before = frame.copy(deep=True)
    saved = save({"x": frame, "column": frame["c"]})
    assert saved.captured.opaque == []
    frame["d"] = 1
    for live in ({"x": frame}, {}):
        made = saved.restore(live)
        assert digest_of(made) == saved.digests
        pd.testing.assert_frame_equal(made["x"], before)
        assert not live or made["x"] is frame


@pytest.mark.parametrize("dtype", ["int64[pyarrow]", "string[pyarrow]"])
def test_a_column_of_arrow_comes_back(save, digest_of, dtype):
    pytest.importorskip("pyarrow")
    series = pd.Series([1, None], dtype=dtype)
    saved = save({"x": series})
    made = saved.restore({})
    assert digest_of(made) == saved.digests
    pd.testing.assert_series_equal(made["x"], series)


def test_a_table_of_results_that_grows_continues(continues):
    def make(seed):
        rng = np.random.default_rng(seed)
        frame = pd.DataFrame({"epoch": pd.Series(dtype="Int64"), "loss": pd.Series(dtype=float)})
        data = pd.DataFrame({"g": list("aabb"), "x": rng.random(4)}).set_index("g")
        return {"results": frame, "rng": rng, "data": data, "groups": [data.groupby("g")]}

    def advance(state, number):
        frame = state["results"]
        frame.loc[number] = [number, state["rng"].random()]
        state["data"]["x"] *= 1.5
        frame.attrs["rows"] = len(frame)
        return [
            frame["loss"].tolist(),
            state["data"].groupby("g")["x"].mean().tolist(),
            frame.attrs,
        ]

    continues(make, advance)
