"""Changes are named as the program would write them."""

from __future__ import annotations

import numpy as np
import pytest

from flor_trace._speedups import digest
from flor_trace.state.capture import capture
from flor_trace.state.changes import Change, changes


def frozen(roots):
    """Capture the roots and keep copies of the buffers."""
    graph = capture(roots)
    graph.leaves = [memoryview(bytes(leaf)) for leaf in graph.leaves]
    return graph, [digest(leaf) for leaf in graph.leaves]


def compare(before, after, ignore=frozenset()):
    (one, one_digests), (other, other_digests) = frozen(before), frozen(after)
    return changes(one, other, one_digests, other_digests, ignore)


class Box:
    def __init__(self, **values):
        self.__dict__.update(values)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"local:epoch": 1}, {"local:epoch": 2}, [Change("epoch", "changed", "1 -> 2")]),
        (
            {"global:src/train.py:best": 0.5},
            {"global:src/train.py:best": 0.75},
            [Change("src/train.py::best", "changed", "0.5 -> 0.75")],
        ),
        (
            {"caller:1:main:self": Box(iter_num=1)},
            {"caller:1:main:self": Box(iter_num=2)},
            [Change("self.iter_num", "changed", "1 -> 2")],
        ),
        (
            {"h": {"loss": [1.0]}},
            {"h": {"loss": [1.0, 2.0]}},
            [Change("h['loss']", "changed", "1 -> 2 elements")],
        ),
        ({"h": {}}, {"h": {"a": [1]}}, [Change("h['a']", "added", "list of 1 elements")]),
        ({"h": {"a": 1}}, {"h": {}}, [Change("h['a']", "removed", "1")]),
        ({"a": 1}, {"b": 2}, [Change("a", "removed", "1"), Change("b", "added", "2")]),
        ({"x": [1, [2]]}, {"x": [1, [3]]}, [Change("x[1][0]", "changed", "2 -> 3")]),
        ({"x": 1}, {"x": 1.0}, [Change("x", "changed", "1 -> 1.0")]),
        ({"x": 0.0}, {"x": -0.0}, [Change("x", "changed", "0.0 -> -0.0")]),
        ({"x": None}, {"x": {}}, [Change("x", "changed", "None -> dict of 0 keys")]),
        (
            {"x": {"a": 1, "b": 2}},
            {"x": {"b": 2, "a": 1}},
            [Change("x", "changed", "the same keys in another order")],
        ),
        (
            {"x": np.zeros(4)},
            {"x": np.array([0, 0.5, 0, 0])},
            [Change("x", "changed", "<f8[4], 1 of 4 differ, by at most 0.5")],
        ),
        (
            {"x": np.zeros(4)},
            {"x": np.zeros(5)},
            [Change("x", "changed", "<f8[4] -> <f8[5]")],
        ),
        (
            {"x": [0.5] * 40},
            {"x": [0.5] * 39 + [0.75]},
            [Change("x", "changed", "of 40 elements, 1 of 40 differ, by at most 0.25")],
        ),
        ({"x": {1}}, {"x": {2}}, [Change("x", "changed", "other elements, or in another order")]),
        ({"x": 10**5000}, {"x": 1}, [Change("x", "changed", "an int of 16610 bits -> 1")]),
    ],
)
def test_a_change_is_named(before, after, expected):
    assert compare(before, after) == expected


def test_nothing_is_named_when_nothing_changed():
    value = {"a": [1, {2}, (3,)], "b": np.arange(3), "c": Box(x=[0.5] * 50)}
    assert compare({"x": value}, {"x": value}) == []


def test_clock_readings_are_not_named():
    before = {"local:elapsed": 1.0, "t": {"laps": [1.0], "n": 1}}
    after = {"local:elapsed": 2.0, "t": {"laps": [1.0, 2.0], "n": 2}}
    named = compare(before, after, frozenset({"elapsed", "laps"}))
    assert named == [Change("t['n']", "changed", "1 -> 2")]


def test_an_object_shared_by_two_roots_is_named_once():
    shared = [1]
    before, digests = frozen({"a": shared, "b": [shared]})
    shared.append(2)
    after, after_digests = frozen({"a": shared, "b": [shared]})
    assert [c.path for c in changes(before, after, digests, after_digests)] == ["a"]


def test_a_reference_that_moved_is_named():
    one, two = [1], [1]
    named = compare({"a": one, "b": [two], "c": one}, {"a": one, "b": [two], "c": two})
    assert [(c.path, c.detail) for c in named] == [("c", "refers to another object than before")]


def test_sizes_are_given_when_the_bytes_are_not_at_hand():
    before, digests = frozen({"x": np.zeros(4)})
    after, after_digests = frozen({"x": np.ones(4)})
    before.leaves = ["32-00"]
    assert changes(before, after, digests, after_digests) == [Change("x", "changed", "<f8[4]")]


@pytest.mark.torch
def test_parameters_and_their_optimizer_state_are_named():
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential()
    model.add_module("fc1", torch.nn.Linear(2, 2))
    optimizer = torch.optim.Adam(model.parameters())
    roots = {"local:model": model, "local:optimizer": optimizer}

    def step():
        optimizer.zero_grad()
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()

    step()
    before, digests = frozen(roots)
    step()
    after, after_digests = frozen(roots)
    paths = {change.path for change in changes(before, after, digests, after_digests)}
    assert "model.fc1.weight" in paths
    assert "optimizer.state[model.fc1.weight]['exp_avg']" in paths
