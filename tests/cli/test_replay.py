from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from flor_trace.cli import replay
from flor_trace.cli.ls import reached
from flor_trace.cli.show import _ranges
from flor_trace.errors import UsageError
from flor_trace.types import Coordinate


def outcome(*, difference=None, error=None, **counts):
    return SimpleNamespace(difference=difference, error=error, counts=counts)


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([outcome(exact=3)], 0),
        ([], 0),
        ([outcome(exact=1), outcome(unchecked=2, agree=1)], 0),
        ([outcome(exact=1, error=1)], 1),
        ([outcome(error="it broke")], 1),
        ([outcome(exact=1), outcome(difference="loss", diverged=1)], 4),
        ([outcome(error="it broke"), outcome(difference="loss", diverged=1)], 4),
        ([outcome(exact=2, difference="loss")], 0),
    ],
)
def test_the_status_tells_the_worst_that_happened(outcomes, status):
    assert replay._status(SimpleNamespace(outcomes=outcomes)) == status


class Keyboard(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("answer", "agreed"),
    [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False), ("", False), ("yeah\n", False)],
)
def test_a_person_is_asked_before_anything_runs(monkeypatch, capsys, answer, agreed):
    monkeypatch.setattr(sys, "stdin", Keyboard(answer))

    assert replay._agreed() is agreed
    assert "replay?" in capsys.readouterr().err


def test_without_a_terminal_leave_must_be_given_beforehand(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))

    with pytest.raises(UsageError, match="--yes"):
        replay._agreed()


def test_a_probe_must_be_given():
    with pytest.raises(UsageError, match="--probe"):
        replay.main([])


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([], ""),
        ([3], "3"),
        ([0, 1, 2, 5], "0-2, 5"),
        ([1, 3, 5], "1, 3, 5"),
        ([0, 1], "0-1"),
        ([0, 1, 2, 5, 6, 9], "0-2, 5-6, 9"),
    ],
)
def test_neighbouring_boundaries_are_shown_as_ranges(numbers, text):
    assert _ranges(numbers) == text


@pytest.mark.parametrize(
    ("last", "text"),
    [
        (None, ""),
        (Coordinate("epoch", 7, 8), "epoch 8"),
        (Coordinate("epoch", 7, None), "epoch 7"),
        (Coordinate("lr", 0, 0), "lr 0"),
        (Coordinate("name", 0, ""), "name "),
    ],
)
def test_how_far_a_run_came_is_its_last_iteration(last, text):
    assert reached(SimpleNamespace(last=last)) == text
