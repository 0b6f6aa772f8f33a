"""Frames, series and indexes of pandas come back, frames in place."""

from __future__ import annotations

import pytest

pd = pytest.importorskip("pandas")

VALUES = [
    lambda: pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [0.5, float("nan")]}),
    lambda: pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([("x", 1)])),
    lambda: pd.Series([1.5, 2.5], name="loss", index=["x", "y"]),
    lambda: pd.Series(["a", "b", "a"], dtype="category"),
    lambda: pd.date_range("2026-01-01", periods=3, tz="UTC"),
    lambda: pd.Timestamp("2026-01-01", tz="UTC"),
    lambda: pd.Timedelta("1h"),
    lambda: pd.interval_range(0, 2),
]


@pytest.mark.parametrize("make", VALUES)
def test_a_pandas_object_comes_back(save, digest_of, make):
    value = make()
    saved = save({"x": value})
    assert saved.captured.opaque == []
    made = saved.restore({})
    assert digest_of(made) == saved.digests
    if hasattr(value, "equals"):
        assert made["x"].equals(value)
    assert repr(made["x"]) == repr(value)


@pytest.mark.parametrize("value", [pd.NA, pd.NaT])
def test_the_missing_values_stay_single(save, value):
    assert save({"x": [value]}).restore({})["x"][0] is value


def test_a_live_frame_is_changed_in_place(save, digest_of):
    frame = pd.DataFrame({"loss": [1.0]})
    saved = save({"x": frame})
    frame.loc[1] = 2.0
    frame["acc"] = 0.5
    made = saved.restore({"x": frame})
    assert made["x"] is frame
    assert frame.to_dict("list") == {"loss": [1.0]}
    assert digest_of(made) == saved.digests
    frame.loc[1] = 3.0
    assert frame["loss"].tolist() == [1.0, 3.0]
