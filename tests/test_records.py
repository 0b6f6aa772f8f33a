from __future__ import annotations

import copy
import dataclasses

import pytest

from flor_trace import records

FLAVOURS = [
    {},
    {"slots": True},
    {"frozen": True},
    {"frozen": True, "slots": True},
    {"slots": True, "eq": False},
]


def _class(module, **how):
    class Point:
        """A place."""

        x: int
        y: int = 2
        seen: list[int] = module.field(default_factory=list)

        @property
        def total(self) -> int:
            return self.x + self.y

    return module.dataclass(**how)(Point)


def _both(how):
    return _class(records, **how), _class(dataclasses, **how)


@pytest.mark.parametrize("how", FLAVOURS)
@pytest.mark.parametrize(
    ("args", "kwargs"), [((1,), {}), ((1, 3), {}), ((1,), {"seen": [5]}), ((), {"y": 0, "x": 9})]
)
def test_objects_hold_show_and_copy_what_those_of_dataclasses_do(how, args, kwargs):
    shown = []
    for kind in _both(how):
        made = kind(*args, **kwargs)
        twin = copy.deepcopy(made)
        shown.append([repr(made), made.total, repr(twin), twin == made, made == object()])
        assert made.seen is not kind(1).seen
    assert shown[0] == shown[1]


@pytest.mark.parametrize("how", FLAVOURS)
@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1, 2, [], 4), {}), ((1,), {"z": 2})])
def test_wrong_arguments_are_refused_with_the_same_words(how, args, kwargs):
    said = []
    for kind in _both(how):
        for _ in range(2):  # the first object, and any later one
            with pytest.raises(TypeError) as caught:
                kind(*args, **kwargs)
            said.append(str(caught.value))
    assert len(set(said)) == 1


@pytest.mark.parametrize("how", FLAVOURS)
def test_objects_are_equal_and_hashable_where_those_of_dataclasses_are(how):
    facts = []
    for kind in _both(how):
        one, two, other = kind(1, 2, ()), kind(1, 2, ()), kind(1, 3, ())
        facts.append([one == two, one == other, kind.__hash__ is None])
        if kind.__hash__ is not None:
            facts[-1].append([len({one, two}), len({one, other})])
        facts[-1].append(kind.__match_args__)
    assert facts[0] == facts[1]


def test_frozen_objects_refuse_changes():
    point = _class(records, frozen=True, slots=True)(1)
    with pytest.raises(AttributeError, match="cannot assign to field 'x'"):
        point.x = 2
    with pytest.raises(AttributeError, match="cannot delete field 'x'"):
        del point.x
    assert point.x == 1


def test_objects_with_slots_take_no_other_attribute():
    point = _class(records, slots=True)(1)
    with pytest.raises(AttributeError):
        point.z = 1


def test_replace_changes_a_copy_and_refuses_unknown_fields():
    point = _class(records, frozen=True, slots=True)(1)
    assert records.replace(point, y=7).y == 7
    assert point.y == 2
    with pytest.raises(TypeError):
        records.replace(point, z=7)


def test_asdict_goes_into_records_tuples_lists_and_dicts():
    kind = _class(records)
    inner = kind(1, 2, [])
    plain = {"x": 1, "y": 2, "seen": []}
    assert records.asdict(kind(inner, (inner, 3), [{"k": inner}])) == {
        "x": plain,
        "y": (plain, 3),
        "seen": [{"k": plain}],
    }
