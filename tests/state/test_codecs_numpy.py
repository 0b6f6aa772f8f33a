"""NumPy arrays, views, scalars and generators come back bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

ARRAYS = [
    np.arange(10, dtype="i4"),
    np.arange(6.0).reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
    np.arange(10)[::-2],
    np.arange(10)[3:7],
    np.array(3.5),
    np.array([], dtype="f4"),
    np.zeros((0, 3)),
    np.array([True, False]),
    np.array([1 + 2j]),
    np.array([np.nan, -0.0, np.inf], dtype="f2"),
    np.array(["ab", "c"]),
    np.array([b"ab", b"c"]),
    np.array(["2026-01-01", "NaT"], dtype="M8[D]"),
    np.array([5], dtype="m8[us]"),
    np.array([1, 2], dtype=">i8"),
    np.zeros(3, dtype=[("a", "i4"), ("b", "f8", (2,))]),
    np.zeros(2, dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    np.zeros(2, dtype=[("a", [("x", "i2"), ("y", "i2")])]),
    np.array([1, "a", None, [2]], dtype=object),
    np.array([[1, "a"], [None, 2.5]], dtype=object, order="F"),
    np.array(None, dtype=object),
    np.broadcast_to(np.arange(3), (2, 3)),
    np.arange(4).view(np.recarray),
    np.ma.masked_array([1.0, 2.0], mask=[True, False]),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}"[:40])
def test_an_array_comes_back_with_its_layout(round_trip, array):
    made = round_trip(array)
    assert type(made) is type(array)
    assert (made.dtype, made.shape, made.strides) == (array.dtype, array.shape, array.strides)
    if array.dtype != object:
        assert made.tobytes() == array.tobytes()


def test_a_live_array_is_written_in_place(save):
    saved = save({"x": np.arange(5.0)})
    live = np.zeros(5)
    view = live[1:3]
    assert saved.restore({"x": live})["x"] is live
    assert view.tolist() == [1.0, 2.0]


def test_an_array_of_another_shape_is_replaced(save, digest_of):
    saved = save({"x": {"a": np.arange(5.0)}})
    live = {"a": np.zeros(4)}
    made = saved.restore({"x": live})
    assert live["a"].tolist() == [0, 1, 2, 3, 4]
    assert digest_of(made) == saved.digests


def test_views_share_memory_again(save, digest_of):
    base = np.arange(12.0)
    saved = save({"x": [base[2:6], base, base.reshape(3, 4).T]})
    assert len(saved.captured.leaves) == 1
    for live in (None, [np.zeros(4), np.zeros(12), np.zeros((4, 3))]):
        made = saved.restore({"x": live})
        view, whole, turned = made["x"]
        whole[3] = 99
        assert view[1] == 99
        assert turned[3, 0] == 99
        whole[3] = 3
        assert digest_of(made) == saved.digests


def test_live_views_are_written_in_place(save):
    def make(start):
        base = np.arange(start, start + 12.0)
        return [base[2:6], base]

    saved, live = save({"x": make(0)}), make(50)
    view, base = live
    saved.restore({"x": live})
    assert live[0] is view
    assert live[1] is base
    assert base.tolist() == list(range(12))


def test_equal_copies_and_views_have_different_digests(digest_of):
    one = np.arange(3)
    assert digest_of({"x": [one, one[:]]}) != digest_of({"x": [one, one.copy()]})


def test_read_only_arrays_stay_read_only(save):
    array = np.arange(3)
    array.flags.writeable = False
    made = save({"x": array}).restore({"x": np.zeros(3, int)})["x"]
    assert not made.flags.writeable
    assert made.tolist() == [0, 1, 2]


def test_object_arrays_share_what_they_hold(round_trip):
    inner = [1]
    made = round_trip([np.array([inner, None], dtype=object), inner])
    assert made[0][0] is made[1]


def test_a_writable_file_map_is_opaque(save, tmp_path):
    mapped = np.memmap(tmp_path / "f", dtype="f4", mode="w+", shape=4)
    assert "changed by writing to the file" in save({"x": mapped}).captured.opaque[0]


SCALARS = [
    np.float32(1.5),
    np.float64("nan"),
    np.int8(-3),
    np.uint64(2**64 - 1),
    np.bool_(True),
    np.str_("ab"),
    np.bytes_(b"ab"),
    np.datetime64("2026-01-01T00:00:01"),
    np.timedelta64(3, "s"),
    np.complex64(1 + 2j),
    np.zeros(1, dtype=[("a", "i4")])[0],
    np.dtype("f8"),
    np.dtype([("a", "i4"), ("b", "f8")]),
    np.float32,
    np.sum,
    np.add,
]


@pytest.mark.parametrize("value", SCALARS, ids=lambda value: repr(value).partition(" at 0x")[0])
def test_a_scalar_or_type_comes_back(round_trip, value):
    made = round_trip(value)
    assert type(made) is type(value)
    assert repr(made) == repr(value)


GENERATORS = [
    lambda seed: np.random.default_rng(seed),
    lambda seed: np.random.Generator(np.random.MT19937(seed)),
    lambda seed: np.random.Generator(np.random.Philox(seed)),
    lambda seed: np.random.Generator(np.random.SFC64(seed)),
    lambda seed: np.random.RandomState(seed),
]


def draw(generator):
    return [generator.normal(), generator.normal(), float(generator.uniform()), generator.bytes(3)]


@pytest.mark.parametrize("make", GENERATORS)
def test_a_generator_continues(save, make):
    one, two = make(1), make(2)
    one.standard_normal()
    saved = save({"r": one})
    expected = draw(one)
    assert saved.restore({"r": two})["r"] is two
    assert draw(two) == expected
    assert draw(saved.restore({})["r"]) == expected


def test_children_of_a_generator_continue_too(save):
    one, two = np.random.default_rng(1), np.random.default_rng()
    one.spawn(2)
    saved = save({"r": one})
    expected = one.spawn(1)[0].random()
    saved.restore({"r": two})
    assert two.spawn(1)[0].random() == expected


def test_two_generators_over_one_source_still_share_it(round_trip):
    source = np.random.PCG64(3)
    pair = [np.random.Generator(source), np.random.Generator(source)]
    made = round_trip(pair, [np.random.default_rng(1), np.random.default_rng(2)])
    assert made[0].bit_generator is made[1].bit_generator
    assert made[0].random() == np.random.Generator(np.random.PCG64(3)).random()
