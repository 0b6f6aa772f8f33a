from __future__ import annotations

import sys

import pytest
from instrument_engines import PATH, Log

from flor_trace import _pure
from flor_trace.instrument.compile import analyse_module
from flor_trace.instrument.flow import NOTHING_LEFT
from flor_trace.instrument.tracing import TraceEngine


def tracing(source, boundary=None):
    """Return the engine, the log of what it tells, what it complains of, and the code."""
    made, flows = analyse_module(source.encode(), PATH, "program.py")
    log, problems = Log(_pure), []
    engine = TraceEngine(boundary or log.boundary, log.leave, problems.append)
    engine.watch(flows, [log.site(loop) for loop in made.info.loops])
    return engine, log, problems, made.code


@pytest.fixture(autouse=True)
def restored():
    before = sys.gettrace()
    yield
    sys.settrace(before)


def test_a_handler_reads_the_variables_of_the_loop_at_each_boundary():
    seen = []

    def boundary(li):
        names = li.lookup(("i", "x", "missing"))
        seen.append((li.n, *names, sorted(li.locals()), li.code().co_name, li.expected))
        assert li.globals()["__name__"] == "program"
        assert engine.running() == [li]

    source = "def f():\n    for i in 'ab':\n        x = i * 2\nf()\n"
    engine, _, problems, code = tracing(source, boundary)
    engine.start()
    exec(code, {"__name__": "program"})
    engine.stop()
    unbound = seen[0][1]
    assert [row[:4] for row in seen] == [
        (0, unbound, unbound, unbound),
        (1, "a", "aa", unbound),
        (2, "b", "bb", unbound),
    ]
    assert [row[4:] for row in seen] == [([], "f", -1)] + [(["i", "x"], "f", -1)] * 2
    assert problems == []


def test_running_loops_come_outermost_first_and_suspended_generators_do_not_count():
    depths = []

    def boundary(li):
        depths.append([(loop.site.info.split(":")[1], loop.n) for loop in engine.running()])

    source = (
        "def g():\n    for i in 'ab':\n        yield i\n"
        "def f():\n    for k in g():\n        while True:\n            break\n"
        "f()\n"
    )
    engine, _, _, code = tracing(source, boundary)
    engine.start()
    exec(code, {})
    engine.stop()
    assert depths[:4] == [[("f", 0)], [("f", 0), ("g", 0)], [("f", 1), ("f", 0)], [("f", 1)]]


@pytest.mark.parametrize("new", ["None", "lambda *a: None"])
def test_a_program_that_traces_itself_ends_the_record_with_a_word(new):
    source = (
        "import sys\nout = []\nfor i in range(3):\n    out.append(i)\n"
        f"    if i == 1:\n        sys.settrace({new})\n"
        "    mine = sys.gettrace()\n"
        "k = 2\nwhile k:\n    k -= 1\n"
    )
    engine, log, problems, code = tracing(source)
    engine.start()
    names = {}
    exec(code, names)
    engine.stop()
    engine.stop()
    assert names["out"] == [0, 1, 2]
    assert (names["mine"] is None) == (new == "None")
    assert len(problems) == 1
    assert "trace function of its own" in problems[0]
    assert ("boundary", "program.py:<module>:0", 1) in log.events
    assert not any(event[1] == "program.py:<module>:1" for event in log.events)


def test_a_failure_of_ours_ends_the_record_and_not_the_program(monkeypatch):
    engine, _, problems, code = tracing("out = 0\nfor i in range(3):\n    out += i\n")
    track = next(iter(engine._flows.values()))[0]
    track.whole.clear()
    engine.start()
    names = {}
    exec(code, names)
    engine.stop()
    assert names["out"] == 3
    assert len(problems) == 1
    assert "KeyError" in problems[0]


def test_a_loop_of_which_the_compiler_leaves_nothing_is_named():
    made, _ = analyse_module(b"while 0:\n    x = 1\nfor i in y:\n    pass\n", "x.py", "x.py")
    assert [loop.left_alone for loop in made.info.loops] == [NOTHING_LEFT, None]
    assert made.info.left_alone == (("<module>", NOTHING_LEFT),)


def test_the_frames_of_a_dropped_generator_are_not_kept():
    source = (
        "import weakref\nclass C: pass\n"
        "def g():\n    c = C()\n    seen.append(weakref.ref(c))\n    for i in 'ab':\n"
        "        yield i\n"
        "seen = []\nit = g()\nnext(it)\nit = None\nout = seen[0]()\n"
    )
    engine, _, _, code = tracing(source)
    engine.start()
    names = {}
    exec(code, names)
    engine.stop()
    assert names["out"] is None
