"""Digests say the same in every process, and only about what they are of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flor_trace.state.capture import capture
from flor_trace.state.digests import combine, digest_state, leaf_bytes
from flor_trace.state.encode import decode, encode

PROGRAM = """
import collections, datetime, decimal, sys
import numpy as np
from flor_trace._speedups import digest
from flor_trace.state.capture import capture
from flor_trace.state.digests import digest_state, leaf_bytes

class Box:
    def __init__(self, value):
        self.value, self.me = value, self

padding = [object() for _ in range(int(sys.argv[1]))]
shared = Box([1, "a"])
roots = {
    "a": {"x": [1, 2.5, -0.0, 1 << 90, "é", b"b", None, 1j, ...], "shared": shared},
    "b": [shared, np.arange(6.0).reshape(2, 3).T, np.float32(1), len, Box, 0.5],
    "c": collections.OrderedDict(z=decimal.Decimal("1.5"), y=datetime.date(2026, 1, 1)),
    "d": [float(n) for n in range(100)],
    "e": [f"{n}" for n in range(100)],
}
graph = capture(roots)
print(digest_state(graph, [digest(leaf) for leaf in leaf_bytes(graph)]).hex())
"""
GOLDEN = "3cbf266725bd8573b8a64532477808a7"


def run(seed, padding):
    environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", PROGRAM, str(padding)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_digests_are_the_same_in_processes_with_other_hash_seeds():
    assert {run("1", 0), run("2", 1000), run("random", 7)} == {GOLDEN}


def test_the_digest_of_everything_covers_names_order_and_contents():
    graph = capture({"a": [1], "b": [2]})
    base = digest_state(graph, [])
    assert base == digest_state(capture({"a": [1], "b": [2]}), [])
    for other in ({"b": [2], "a": [1]}, {"a": [1], "c": [2]}, {"a": [1]}, {"a": [1], "b": [3]}):
        assert digest_state(capture(other), []) != base
    assert combine({}) == digest_state(capture({}), [])


def test_decoded_graphs_have_the_digests_of_captured_ones(digest_of):
    graph = capture({"a": {"x": [1, (2, [3])]}, "b": 5})
    again = decode(encode(graph, []))
    assert digest_state(again, []) == digest_state(graph, [])


def test_leaf_bytes_needs_a_captured_graph():
    graph = capture({"a": [0.5] * 50})
    assert [leaf.nbytes for leaf in leaf_bytes(graph)] == [400]
    with pytest.raises(TypeError, match="decoded"):
        leaf_bytes(decode(encode(graph, ["400-00"])))


def test_a_longer_root_does_not_change_the_path_of_a_shared_object(digest_of):
    shared = [1]
    one = digest_of({"a": {"s": shared}, "b": [shared]})
    two = digest_of({"a": {"new": [[], []], "s": shared}, "b": [shared]})
    assert one["a"] != two["a"]
    assert one["b"] == two["b"]


def test_moving_a_shared_object_changes_the_root_that_refers_to_it(digest_of):
    shared = [1]
    one = digest_of({"a": {"s": shared, "t": [1]}, "b": [shared]})
    two = digest_of({"a": {"s": [1], "t": shared}, "b": [shared]})
    assert one["a"] == two["a"]
    assert one["b"] != two["b"]


def test_sharing_of_values_without_identity_does_not_count(digest_of):
    pair = (0.9, 0.999)
    other = tuple(map(float, ("0.9", "0.999")))
    assert digest_of({"a": [pair, pair], "b": pair}) == digest_of({"a": [pair, other], "b": other})


class Timer:
    def __init__(self, start, laps, losses):
        self.start, self.laps, self.losses = start, laps, losses


IGNORED = frozenset({"start", "laps", "elapsed"})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"local:elapsed": 1.0}, {"local:elapsed": 2.5}),
        ({"t": Timer(1.0, [1.0], [5])}, {"t": Timer(2.0, [1.0, 2.0], [5])}),
        ({"t": {"elapsed": 1.5, "n": 1}}, {"t": {"elapsed": 2.5, "n": 1}}),
        ({"t": {"laps": [(1.0, 2.0)]}}, {"t": {"laps": [(1.0, 2.0), (3.0, 4.0)]}}),
        ({"t": {"laps": [1.0] * 20}}, {"t": {"laps": [1.0] * 200}}),
        ({"t": {"elapsed": np.float64(1)}}, {"t": {"elapsed": np.float64(2)}}),
        ({"t": {"laps": [[1.0]], "x": [2]}}, {"t": {"laps": [[1.0], [2.0]], "x": [2]}}),
        ({"t": {"laps": {"a": 1.0}}}, {"t": {"laps": {"a": 2.0}}}),
    ],
)
def test_clock_readings_count_by_their_type_only(digest_of, one, other):
    assert digest_of(one) != digest_of(other)
    assert digest_of(one, IGNORED) == digest_of(other, IGNORED)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"t": Timer(1.0, [], [5])}, {"t": Timer(1.0, [], [6])}),
        ({"t": Timer(1.0, [], [5])}, {"t": Timer(None, [], [5])}),
        ({"local:elapsed": 1.0}, {"local:elapsed": "1.0"}),
        ({"t": {"laps": {"a": 1.0}}}, {"t": {"laps": {"b": 1.0}}}),
        ({"t": {"elapsed": np.zeros(2)}}, {"t": {"elapsed": np.ones(2)}}),
    ],
)
def test_other_values_count_beside_clock_readings(digest_of, one, other):
    assert digest_of(one, IGNORED) != digest_of(other, IGNORED)
