from __future__ import annotations

import sys

import pytest
from instrument_programs import PROGRAMS
from instrument_recorder import Recorder, compiled

SIGNS = {"enter": "+", "iteration": ".", "exhausted": "=", "left": "-"}


def told(recorder, info):
    number = {loop.key: k for k, loop in enumerate(info.loops)}
    return " ".join(f"{SIGNS[event[0]]}{number[event[1]]}" for event in recorder.events)


def traced(code):
    """Run a program; return its ``out`` and every call, line, return and exception event."""
    events = []

    def local(frame, event, arg):
        if frame.f_code.co_filename != "<program>":
            return None
        # Only iterators written in Python raise it visibly, and the sites of this test are.
        if not (event == "exception" and arg[0] is StopIteration):
            events.append((event, frame.f_code.co_qualname, frame.f_lineno))
        return local

    names = {"__name__": "program"}
    sys.settrace(local)
    try:
        exec(code, names)
    finally:
        sys.settrace(None)
    return names.get("out"), events


@pytest.mark.parametrize("name", PROGRAMS)
def test_loops_tell_every_entry_iteration_and_end(name):
    source, expected = PROGRAMS[name]
    recorder = Recorder()
    code, info = compiled(source, recorder)
    assert info.left_alone == ()
    names = {}
    exec(code, names)
    events = told(recorder, info)
    if name == "a closed generator":
        # Python 3.13 drops the stack of a closed generator from the bottom, others from the top.
        events = events.replace("-0 -1", "-1 -0")
    assert events == expected


@pytest.mark.parametrize("name", PROGRAMS)
def test_results_and_line_events_are_those_of_the_plain_program(name):
    source, _ = PROGRAMS[name]
    code, _ = compiled(source, Recorder())
    assert traced(code) == traced(compile(source, "<program>", "exec", dont_inherit=True))
