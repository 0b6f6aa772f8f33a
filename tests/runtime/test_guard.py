from __future__ import annotations

import io
import os
import signal
import sys

import pytest

from flor_trace.errors import StoreError
from flor_trace.runtime import guard as guard_module
from flor_trace.runtime.guard import Guard


@pytest.fixture
def noted():
    return []


@pytest.fixture
def guard(noted, monkeypatch):
    monkeypatch.delenv("FLOR_TRACE_STRICT", raising=False)
    return Guard(lambda what, error: noted.append((what, error)))


def ours(text, error=StoreError):
    """Raise from a file of ours, as a failure of the recorder would."""
    home = os.path.join(guard_module._HOME, "runtime", "anything.py")
    namespace = {"error": error(text)}
    exec(compile("def fail():\n    raise error\n", home, "exec"), namespace)
    return namespace["fail"]


def _calling():
    home = os.path.join(guard_module._HOME, "x.py")
    namespace = {}
    exec(compile("def call(f, *a):\n    return f(*a)\n", home, "exec"), namespace)
    return namespace["call"]


#: Calls a function from a file of ours.
ours_calls = _calling()


def test_what_goes_well_is_not_noted(guard, noted, capsys):
    done = []

    assert guard.call("a thing", done.append, 3) is True
    assert (done, noted, guard.failures) == ([3], [], 0)
    assert capsys.readouterr() == ("", "")


def test_a_failure_of_ours_is_swallowed_noted_and_told_once(guard, noted, capsys):
    assert guard.call("saving", ours("disk full")) is False
    assert guard.call("saving", ours("again", ValueError)) is False

    assert [(what, str(error)) for what, error in noted] == [
        ("saving", "disk full"),
        ("saving", "again"),
    ]
    assert guard.failures == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "saving failed (StoreError: disk full)" in err


def test_a_failure_in_a_library_that_we_call_is_ours(guard, noted, capsys):
    import json

    assert guard.call("parsing", ours_calls, json.loads, "{") is False
    assert len(noted) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_of_ours_passes(guard, noted, error):
    with pytest.raises(error):
        guard.call("x", ours("", error))
    assert noted == []


class Stop(Exception):
    pass


def test_what_a_signal_handler_of_the_program_raises_passes(guard, noted):
    def handler(number, frame):
        raise Stop

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(Stop):
            guard.call("x", ours_calls, os.kill, os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert noted == []


def test_a_program_whose_path_begins_like_ours_is_a_program(guard, noted):
    """``…/flor_trace_trials/train.py`` beside an editable ``…/flor_trace``."""
    namespace = {"Stop": Stop}
    theirs = guard_module._HOME.rstrip(os.sep) + "_trials/train.py"
    exec(compile("def handler():\n    raise Stop\n", theirs, "exec"), namespace)

    with pytest.raises(Stop):
        guard.call("x", ours_calls, namespace["handler"])


def test_strict_mode_lets_our_failures_through(noted, monkeypatch):
    monkeypatch.setenv("FLOR_TRACE_STRICT", "1")

    with pytest.raises(StoreError):
        Guard(lambda *_: None).call("x", ours("now"))


def test_a_failure_to_note_a_failure_does_not_reach_the_program(monkeypatch, capsys):
    """A full disk fails the record, and then the note about it."""
    monkeypatch.delenv("FLOR_TRACE_STRICT", raising=False)

    def journal(what, error):
        raise StoreError("the journal cannot be written: no space left")

    guard = Guard(journal)

    assert guard.call("recording a loop", ours("no space left")) is False
    assert guard.call("recording a loop", ours("no space left")) is False
    assert guard.failures == 2


class Broken(io.StringIO):
    def write(self, text):
        raise BrokenPipeError


@pytest.mark.parametrize("stream", [None, Broken(), "closed"])
def test_a_stderr_that_cannot_be_written_is_no_harm(guard, noted, monkeypatch, stream):
    if stream == "closed":
        stream = io.StringIO()
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)

    assert guard.call("x", ours("now")) is False
    assert len(noted) == 1
