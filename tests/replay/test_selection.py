from __future__ import annotations

import pytest

from flor_trace.errors import ProbeError
from flor_trace.replay.probes import parse
from flor_trace.replay.selection import read_selection


@pytest.mark.parametrize(
    ("text", "values", "taken"),
    [
        ("", range(4), [0, 1, 2, 3]),
        ("%2", range(5), [0, 2, 4]),
        ("% 3", [5, 6, 7, 8, 9], [6, 9]),
        ("=3", range(6), [3]),
        ("=3..4", range(6), [3, 4]),
        ("=..1", range(4), [0, 1]),
        ("=-1..1", [-2, -1, 0, 1, 2], [-1, 0, 1]),
        ("=1, 4..", range(6), [1, 4, 5]),
        ("=0.5,0.25", [1.0, 0.5, 0.25], [0.5, 0.25]),
        ("=2..3", [1.5, 2.0, 2.5, 3.5], [2.0, 2.5]),
        ("=sgd,adam", ["sgd", "lion", "adam"], ["sgd", "adam"]),
        ("=1..2", ["1", "x"], []),
    ],
)
def test_iterations_are_taken_by_the_values_of_the_target(text, values, taken):
    selection = read_selection(text)
    assert [v for k, v in enumerate(values) if selection.takes(k + 100, v)] == taken


def test_iterations_without_a_value_go_by_their_numbers():
    for text, taken in (("%2", [0, 2, 4]), ("=1..2", [1, 2]), ("=3", [3])):
        selection = read_selection(text)
        assert [k for k in range(5) if selection.takes(k, None)] == taken
    assert [k for k in range(4) if read_selection("%2").takes(k, "a")] == [0, 2]


@pytest.mark.parametrize("text", ["3", "=", "=1,", "%", "%0", "%x", "!2"])
def test_what_cannot_be_read_is_refused(text):
    with pytest.raises(ProbeError, match="behind a dimension"):
        read_selection(text)


@pytest.mark.parametrize(
    ("at", "place"),
    [
        ("step%100", ("step", "%100", False, "")),
        ("epoch=3..7:start", ("epoch", "=3..7", True, "")),
        ("epoch = 3", ("epoch", "= 3", False, "")),
        ("loop@12%2", ("loop@12", "%2", False, "")),
        ("epoch", ("epoch", "", False, "")),
        ("after: x = 1", ("x = 1", "", False, "after")),
        ("before: f(a)[1:2]", ("f(a)[1:2]", "", False, "before")),
        ("src/train.py:31", ("src/train.py:31", "", False, "after")),
    ],
)
def test_places_are_read_from_the_command_line(at, place):
    probe = parse("a=1", at=at)
    assert (probe.at, probe.pick, probe.start, probe.beside) == place


@pytest.mark.parametrize("at", ["", ":start", "epoch:middle", "=3", "epoch$3", "epoch%0"])
def test_places_that_cannot_be_read_are_refused(at):
    with pytest.raises(ProbeError):
        parse("a=1", at=at)
