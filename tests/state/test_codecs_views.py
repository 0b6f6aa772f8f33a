"""Views, weak containers, buffers and caches come back, and stay tied to what they show."""

from __future__ import annotations

import array
import collections
import functools
import gc
import types
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


class Thing:
    def __init__(self, label=""):
        self.label = label


class ByValue(Thing):
    def __eq__(self, other):
        return self.label == other.label

    def __hash__(self):
        return hash(self.label)


class Log(bytearray):
    """A byte array with a name."""


class Base:
    def name(self):
        return "base"


class Derived(Base):
    def name(self):
        return "derived"


WEAK = {
    "keys": lambda: [keys := [Thing("a"), Thing("b")], weak(weakref.WeakKeyDictionary, keys)],
    "values": lambda: [
        [thing := Thing("a")],
        weakref.WeakValueDictionary({"first": thing, (1, 2): thing}),
    ],
    "set": lambda: [things := [Thing("a"), Thing("b")], weakref.WeakSet(things)],
    "set by value": lambda: [
        things := [ByValue(f"{n}") for n in range(20)],
        weakref.WeakSet(things),
    ],
}


def weak(cls, keys):
    made = cls()
    for number, key in enumerate(keys):
        made[key] = [number]
    return made


def contents(container):
    if isinstance(container, weakref.WeakSet):
        return [item.label for item in container]
    return [
        (getattr(key, "label", key), getattr(value, "label", value))
        for key, value in container.items()
    ]


@pytest.mark.parametrize("name", WEAK)
def test_a_weak_container_holds_what_it_held(save, digest_of, name):
    recorded = WEAK[name]()
    saved, expected = save({"x": recorded}), contents(recorded[1])
    assert saved.captured.opaque == []
    assert saved.captured.kept == []
    container = recorded[1]
    container.clear()
    assert digest_of({"x": recorded}) != saved.digests
    for live in (recorded, WEAK[name](), None):
        made = saved.restore({"x": live})
        assert digest_of(made) == saved.digests
        if name != "set":  # whose order follows from addresses
            assert contents(made["x"][1]) == expected
        assert len(made["x"][1]) == len(expected)
        assert live is not recorded or made["x"][1] is container


def test_weak_containers_still_let_go_of_what_nobody_else_holds(save):
    made = save({"x": WEAK["keys"]()}).restore({})["x"]
    made[0].pop()
    gc.collect()
    assert [key.label for key in made[1]] == ["a"]


def test_values_in_a_weak_dict_are_written_in_place(save):
    things, table = WEAK["keys"]()
    saved, inner = save({"x": [things, table]}), table[things[0]]
    inner.append(9)
    saved.restore({"x": [things, table]})
    assert table[things[0]] is inner
    assert inner == [0]


BUFFERS = {
    "bytearray": lambda: bytearray(b"abcdef"),
    "subclass": lambda: tagged(Log(b"abc")),
    "doubles": lambda: array.array("d", [1.0, float("nan"), -0.0]),
    "shorts": lambda: array.array("h", [1, -2]),
    "empty": lambda: array.array("i"),
}


def tagged(log):
    log.tag = ["t"]
    return log


@pytest.mark.parametrize("name", BUFFERS)
def test_a_buffer_is_written_in_place(save, digest_of, name):
    value = BUFFERS[name]()
    saved, before = save({"x": value}), bytes(memoryview(value).cast("B"))
    value *= 2
    if value:
        value.pop()
    for live in (value, None):
        made = saved.restore({"x": live})
        assert digest_of(made) == saved.digests
        assert bytes(memoryview(made["x"]).cast("B")) == before
        assert (type(made["x"]), live is None or made["x"] is live) == (type(value), True)


def test_a_buffer_held_to_its_length_by_a_view_is_replaced(save, digest_of):
    saved = save({"x": bytearray(b"abc")})
    live = bytearray(b"longer")
    view = memoryview(live)
    made = saved.restore({"x": live})
    assert (made["x"], bytes(view)) == (b"abc", b"longer")


@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(min_size=1, max_size=40),
    cuts=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=3),
    number=st.integers(0, 255),
)
def test_views_of_a_buffer_show_the_restored_one(save, data, cuts, number):
    pytest.importorskip("numpy")
    whole = bytearray(data)
    views = [memoryview(whole)[a:b] for a, b in cuts if a < min(b, len(data))]
    saved = save({"x": [whole, memoryview(whole).toreadonly(), *views]})
    assert saved.captured.opaque == []
    for live in (None, [whole, memoryview(whole).toreadonly(), *views]):
        made, *shown = saved.restore({"x": live})["x"]
        assert shown[0].readonly
        for place in range(len(data)):
            made[place] = number
            mine = bytearray(data)
            mine[place] = number
            expected = [bytes(mine), *(bytes(mine[a:b]) for a, b in cuts if a < min(b, len(data)))]
            assert [bytes(view) for view in shown] == expected
            made[place] = data[place]


def test_a_view_that_cannot_be_described_is_named(save):
    gone = memoryview(b"abc")
    gone.release()
    saved = save({"x": [gone, memoryview(bytearray(b"abcdef"))[::2]]})
    assert [path.partition(" ")[0] for path in saved.captured.opaque] == ["x[0]", "x[1]"]


def test_a_typed_view_keeps_its_type_and_shape(save):
    numbers = array.array("i", range(6))
    view = memoryview(numbers).cast("B").cast("i", (2, 3))
    made = save({"x": [numbers, view]}).restore({})["x"]
    made[0][5] = 7
    assert (made[1].format, made[1].shape, made[1][1, 2]) == ("i", (2, 3), 7)


SHOWN = {
    "keys": lambda d: d.keys(),
    "values": lambda d: d.values(),
    "items": lambda d: d.items(),
    "proxy": types.MappingProxyType,
}


@pytest.mark.parametrize("base", [dict, collections.OrderedDict, collections.Counter])
@pytest.mark.parametrize("name", SHOWN)
def test_a_view_shows_the_restored_mapping(save, digest_of, name, base):
    table = base({"a": 1})
    recorded = [table, SHOWN[name](table)]
    saved, expected = save({"x": recorded}), str(SHOWN[name](base({"a": 1, "b": 2})))
    assert (saved.captured.opaque, saved.captured.kept) == ([], [])
    for live in (None, recorded):
        made = saved.restore({"x": live})
        assert digest_of(made) == saved.digests
        assert live is None or made["x"][1] is recorded[1]
        made["x"][0]["b"] = 2
        assert str(made["x"][1]) == expected


def test_the_names_of_a_class_are_not_taken_for_data(save):
    saved = save({"x": vars(Thing)})
    assert saved.captured.kept == ["x"]


def test_super_comes_back(save):
    made = save({"x": super(Derived, Derived())}).restore({})["x"]
    assert made.name() == "base"


@functools.cache
def singleton(name, *, size=1):
    return {"name": name, "calls": [0] * size}


@functools.lru_cache(maxsize=8)
def bounded(number):
    return [number]


def test_what_a_cache_remembers_is_state_and_stays_the_same_object(save, digest_of):
    singleton.cache_clear()
    one, two = singleton("one"), singleton("two", size=2)
    saved = save({"f": singleton, "one": one})
    one["calls"][0] = 5
    singleton("three")
    made = saved.restore({"f": singleton, "one": one})
    assert made["f"] is singleton
    assert singleton("one") is one
    assert singleton("two", size=2) is two
    assert one["calls"] == [0]
    assert digest_of(made) == saved.digests
    singleton.cache_clear()
    made = saved.restore({"f": singleton})
    assert singleton("one") is made["one"]
    assert singleton("two", size=2) == {"name": "two", "calls": [0, 0]}
    assert singleton.cache_info().currsize == 2
    assert digest_of(made) == saved.digests


def test_a_cache_made_while_the_program_ran_is_made_again(save):
    made = save({"f": functools.lru_cache(maxsize=3, typed=True)(bounded.__wrapped__)})
    again = made.restore({})["f"]
    assert again.cache_parameters() == {"maxsize": 3, "typed": True}
    assert again(4) == [4]


def test_the_live_cache_with_a_bound_is_kept_as_it_is(save):
    bounded.cache_clear()
    saved = save({"f": bounded})
    bounded(1)
    assert saved.restore({"f": bounded})["f"] is bounded
    assert bounded.cache_info().currsize == 1


def test_a_sentinel_stays_one_object(save):
    sentinel = object()
    made = save({"x": [sentinel, sentinel, object()]}).restore({})["x"]
    assert made[0] is made[1]
    assert made[0] is not made[2]
