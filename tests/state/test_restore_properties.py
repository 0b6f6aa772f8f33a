"""Restoring a state over any other state gives the saved one."""

from __future__ import annotations

import collections
import math
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(),
    st.binary(max_size=20),
    st.just(...),
)
keys = st.one_of(st.integers(), st.text(max_size=5), st.booleans(), st.none(), st.floats())


class Box:
    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a: Any = None) -> None:
        self.a = a


Pair = collections.namedtuple("Pair", "left right")


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, max_size=4)
    return st.one_of(
        several,
        several.map(tuple),
        several.map(collections.deque),
        st.tuples(inner, inner).map(lambda two: Pair(*two)),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(keys, inner, max_size=4).map(collections.OrderedDict),
        st.dictionaries(st.tuples(keys, keys), inner, max_size=3),
        st.sets(st.one_of(st.integers(), st.text(max_size=3)), max_size=6),
        st.dictionaries(st.sampled_from("abc"), inner).map(lambda values: Box(**values)),
        inner.map(Slotted),
        several.map(lambda items: collections.defaultdict(list, enumerate(items))),
    )


values = st.recursive(atoms, containers, max_leaves=20)


@st.composite
def tangled(draw: st.DrawFn) -> Any:
    """Values that refer to each other, and to what holds them."""
    value = draw(values)
    shared = draw(values)
    top: list[Any] = [value, shared, {"again": shared}, Box(twice=shared)]
    if draw(st.booleans()):
        top.append(top)
    if draw(st.booleans()):
        top[3].up = top
    return top


def equal(one: Any, other: Any, seen: dict[int, int] | None = None) -> bool:
    """Equality of structure, of types, of sharing, and of floats bit by bit."""
    seen = {} if seen is None else seen
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return (repr(one) == repr(other) and math.copysign(1, one) == math.copysign(1, other)) or (
            one != one and other != other
        )
    if isinstance(one, complex):
        return equal(one.real, other.real) and equal(one.imag, other.imag)
    if isinstance(one, int | str | bytes | None) or one is ...:
        return one == other
    if id(one) in seen:
        return seen[id(one)] == id(other)
    seen[id(one)] = id(other)
    return equal_parts(parts(one), parts(other), seen)


def parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [part for item in value.items() for part in item]
    if isinstance(value, Slotted):
        return [value.a]
    if isinstance(value, Box):
        return [part for item in vars(value).items() for part in item]
    return list(value)


def equal_parts(one: list[Any], other: list[Any], seen: dict[int, int]) -> bool:
    return len(one) == len(other) and all(
        equal(a, b, seen) for a, b in zip(one, other, strict=True)
    )


relaxed = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@relaxed
@given(value=tangled())
def test_a_value_made_from_nothing_equals_the_saved_one(save, digest_of, value):
    saved = save({"x": value})
    made = saved.restore({})["x"]
    assert equal(value, made)
    assert digest_of({"x": made}) == saved.digests


@relaxed
@given(value=tangled(), live=tangled())
def test_a_value_written_over_another_equals_the_saved_one(save, digest_of, value, live):
    saved = save({"x": value})
    before = id(live)
    made = saved.restore({"x": live})["x"]
    assert id(made) == before
    assert equal(value, made)
    assert digest_of({"x": made}) == saved.digests


@relaxed
@given(value=tangled(), more=values)
def test_two_roots_that_share_objects_still_share_them(save, digest_of, value, more):
    saved = save({"x": value, "y": [value[1], more, value]})
    made = saved.restore({"x": [1], "y": None})
    assert made["y"][2] is made["x"]
    assert equal([value, value[1]], [made["x"], made["y"][0]])
    assert digest_of(made) == saved.digests


@relaxed
@given(value=values, other=values)
def test_digests_are_equal_exactly_when_the_values_are(save, digest_of, value, other):
    same = digest_of({"x": value}) == digest_of({"x": other})
    assert same == equal(value, other) or shares(value) or shares(other)


def shares(value: Any) -> bool:
    """Whether an object occurs twice (hypothesis reuses them), which a digest does tell apart."""
    ids: list[int] = []
    pending = [value]
    for part in pending:
        if not isinstance(part, int | float | complex | str | bytes | None) and part is not ...:
            if id(part) in ids:
                return True
            ids.append(id(part))
            pending.extend(parts(part))
    return False


@relaxed
@given(value=values, first=values, second=values)
def test_a_change_in_one_root_leaves_the_digest_of_the_others_alone(
    save, digest_of, value, first, second
):
    one = digest_of({"a": first, "b": value})
    two = digest_of({"a": second, "b": value})
    assert one["b"] == two["b"] or reach(value) & (reach(first) | reach(second))


def reach(value: Any) -> set[int]:
    found: set[int] = set()
    pending = [value]
    for part in pending:
        if not isinstance(part, int | float | complex | str | bytes | None) and part is not ...:
            found.add(id(part))
            pending.extend(parts(part))
    return found
