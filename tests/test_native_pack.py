"""The packer of plain containers: twins give the same bytes, and memos never lie."""

from __future__ import annotations

import gc
import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flor_trace import _pure_pack, _speedups

pytestmark = pytest.mark.native

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(1 << 63) - 2, -(1 << 63) + 2),
    st.integers((1 << 63) - 2, (1 << 63) + 2),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["/run/a", "/run", "/ru", "time", "\ud800", "é"]),
    st.binary(max_size=5),
    st.complex_numbers(),
    st.sampled_from([..., frozenset({1})]),
)
KEYS = st.one_of(
    st.text(max_size=3),
    st.integers(),
    st.booleans(),
    st.none(),
    st.tuples(st.integers(), st.text()),
)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=12),
        st.lists(st.floats(), min_size=7, max_size=9),
        st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=7, max_size=9),
        st.dictionaries(KEYS, inner, max_size=6),
        st.tuples(inner, inner),
        st.builds(lambda one: [one, one, (one, [one])], inner),
    ),
    max_leaves=40,
)


def both(obj, ids=None, prefixes=("/run",), ignored=frozenset({"time"})):
    found = []
    for twin in (_speedups, _pure_pack):
        packer = twin.Packer(dict.fromkeys(map(id, ids or ())), prefixes, ignored)
        packing = packer.pack(obj)
        found.append((packing, packer))
    return found


@given(st.lists(PLAIN, min_size=0, max_size=30), st.booleans())
def test_twins_pack_alike(values, as_dict):
    filler = [0.5, "x"] * 40
    obj = dict(enumerate([*values, filler])) if as_dict else [*values, filler]
    (native, packer), (pure, twin) = both(obj)
    assert (native is None) == (pure is None)
    if native is not None:
        assert native[0] == pure[0]
        assert repr(native[1:5]) == repr(pure[1:5])
        assert all(one is other for one, other in zip(native[3], pure[3], strict=True))
        for value in (*values, filler):
            assert packer.find(value) == twin.find(value)


@given(st.lists(PLAIN, max_size=60))
def test_twins_give_up_alike(values):
    (native, _), (pure, _) = both(tuple(values))
    assert (native is None) == (pure is None)
    assert native is None or native[0] == pure[0]


@given(st.lists(st.one_of(st.floats(), st.integers(), st.booleans()), max_size=20))
def test_twins_pack_numbers_alike(numbers):
    for sequence in (numbers, tuple(numbers)):
        assert _speedups.pack_numbers(sequence) == _pure_pack.pack_numbers(sequence)


def test_what_is_known_elsewhere_is_left_to_the_caller():
    inner = [1, 2]
    obj = [[n] for n in range(200)] + [inner, (3, [inner])]
    (native, packer), (pure, _) = both(obj, ids=[inner])
    assert native[3][0] is inner
    assert native[3][1] is obj[-1]  # a tuple is set aside whole
    assert native[4] == ((200,), (201,)) == pure[4]
    assert packer.find(inner) is None
    assert packer.find(obj[7]) == (0, 7)
    assert packer.find(obj[-1][1]) is None


def test_the_second_packing_refers_to_parts_of_the_first():
    first = [[n] for n in range(200)]
    packer = _speedups.Packer({}, (), frozenset())
    assert packer.pack(first)[2] == 200
    found = packer.pack([list(range(300)), first[3], [None] * 300])
    assert len(found[3]) == 1
    assert found[3][0] is first[3]
    assert packer.find(first[3]) == (0, 3)


def sample(rng):
    return [
        {"id": n, "words": [str(n), "w"], "pair": (n, [n]), "more": {"x": n * 0.5}}
        for n in range(rng.randrange(20, 30))
    ]


MUTATIONS = [
    lambda d, n: d.append(d[n]),
    lambda d, n: d.pop(),
    lambda d, n: d.__setitem__(n, dict(d[n])),
    lambda d, n: d[n].__setitem__("id", -1),
    lambda d, n: d[n].update(new=1),
    lambda d, n: d[n].pop("id"),
    lambda d, n: d[n].setdefault("fresh", 1),
    lambda d, n: d[n].popitem(),
    lambda d, n: d[n].clear(),
    lambda d, n: d[n].__ior__({"id": -2}),
    lambda d, n: d[n]["words"].append("z"),
    lambda d, n: d[n]["words"].__setitem__(0, "other"),
    lambda d, n: d[n]["words"].clear(),
    lambda d, n: d[n]["pair"][1].__setitem__(0, 0.25),
    lambda d, n: d[n]["more"].__delitem__("x"),
    lambda d, n: d.reverse(),
    lambda d, n: d.sort(key=lambda each: -each["id"]),
    lambda d, n: d.__setitem__(slice(None), [dict(each) for each in d]),
    lambda d, n: d[n].__setitem__("pair", (n, [n + 1])),
]


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_a_memo_notices_every_change(mutate):
    rng = random.Random(3)
    for _ in range(20):
        data = sample(rng)
        packer = _speedups.Packer({}, (), frozenset())
        data_before, *_, memo = packer.pack(data, True)
        again = _speedups.Packer({}, (), frozenset())
        assert again.holds(data, memo)
        assert again.find(data[3]) == packer.find(data[3])
        mutate(data, rng.randrange(len(data)))
        fresh = _speedups.Packer({}, (), frozenset())
        assert not fresh.holds(data, memo)
        assert fresh.pack(data)[0] != data_before or mutate in (MUTATIONS[2], MUTATIONS[17])


def test_a_memo_does_not_hold_once_a_part_is_known_elsewhere():
    data = sample(random.Random(0))
    memo = _speedups.Packer({}, (), frozenset()).pack(data, True)[5]
    assert not _speedups.Packer({id(data[4]): 0}, (), frozenset()).holds(data, memo)
    assert not _speedups.Packer({}, (), frozenset()).holds(list(data), memo)
    assert not _speedups.Packer({}, (), frozenset()).holds({}, memo)


def test_dicts_that_instances_write_to_are_not_remembered():
    class Thing:
        def __init__(self, n):
            self.n = n

    things = [Thing(n) for n in range(100)]
    data = [vars(thing) for thing in things]
    packer = _speedups.Packer({}, (), frozenset())
    before, *_, memo = packer.pack(data, True)
    things[5].n = -1
    fresh = _speedups.Packer({}, (), frozenset())
    assert memo is None or not fresh.holds(data, memo)
    assert fresh.pack(data)[0] != before


def test_what_is_remembered_is_let_go():
    data = [[f"{n} word", n * 1.5] for n in range(300)]
    text = data[7][0]
    before = sys.getrefcount(text)
    packer = _speedups.Packer({}, (), frozenset())
    packing = packer.pack(data, True)
    assert sys.getrefcount(text) == before + 1
    del packing, packer
    gc.collect()
    assert sys.getrefcount(text) == before


def test_errors_leave_nothing_behind():
    packer = _speedups.Packer({}, (), frozenset())
    with pytest.raises(TypeError):
        packer.holds([], None)
    with pytest.raises(TypeError):
        _speedups.Packer([], (), frozenset())
    assert packer.pack(5) is None
    assert packer.pack([]) is None
    deep: list = []
    for _ in range(10_000):
        deep = [deep, 1, 2, 3]
    found = packer.pack([[0.5] * 3000, deep])
    assert len(found[3]) == 1  # the list 64 levels down is a container of its own
