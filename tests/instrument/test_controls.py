from __future__ import annotations

import sys

import pytest
from instrument_recorder import Recorder, compiled

from flor_trace.types import Controls

UNSET = object()


class Script:
    """A control that skips `skipped` iterations, then gives values, then leaves the loop alone."""

    def __init__(self, skipped, values):
        self.left = skipped
        self.values = values
        self.restored = False
        self.frames = []

    def due(self):
        self.frames.append(sys._getframe(2).f_code.co_name)
        return not self.restored

    def unbound(self, name):
        return self.left > 0 or name not in self.values

    def value(self, name):
        return self.values[name]

    def skip(self):
        if self.left:
            self.left -= 1
            return True
        self.restored = True
        return False


def controlled(source, script, key="program.py:f:0"):
    recorder = Recorder({key: script})
    code, _ = compiled(source, recorder, controls=Controls(frozenset({key})))
    names = {}
    exec(code, names)
    return names, recorder


TRAINING = """
def f(n, log):
    total, last = 0, None
    def peek():
        return cell
    cell = 0
    for epoch in range(n):
        log.append(epoch)
        total += epoch * 10
        cell = total
        if epoch == 1:
            rare = "bound"
        last = epoch
    return total, last, peek(), epoch, rare
"""


def test_skipped_iterations_do_not_run_and_restored_locals_continue():
    plain = {}
    exec(TRAINING, plain)
    expected = plain["f"](5, [])
    values = {"n": 5, "total": 30, "last": 2, "cell": 30, "rare": "bound", "epoch": 3}
    script = Script(3, values)
    names, recorder = controlled(TRAINING, script)
    log = []
    values |= {"log": log, "peek": None}
    # `peek` is a local like any other, so the restored value must be the live function.
    values.pop("peek")
    script.unbound = lambda name: name != "peek" and (script.left > 0 or name not in values)
    made = {}
    script.value = lambda name: values[name] if name in values else made["peek"]

    def due():
        frame = sys._getframe(2)
        made["peek"] = frame.f_locals["peek"]
        script.frames.append(frame.f_code.co_name)
        return not script.restored

    script.due = due
    assert names["f"](5, log) == expected
    assert log == [3, 4]
    assert script.frames == ["f"] * 5
    assert [e for e in recorder.events if e[0] == "iteration"] == [
        ("iteration", "program.py:f:0", k) for k in range(5)
    ]


def test_a_local_that_was_unbound_is_unbound_again():
    source = """
def f():
    x = 1
    for i in range(2):
        y = 2
    try:
        return x, y
    except UnboundLocalError as error:
        return str(error)
"""
    script = Script(1, {"i": 1, "x": 5})
    names, _ = controlled(source, script)
    assert names["f"]() == (5, 2)
    source = source.replace("        y = 2\n", "        if i == 0:\n            y = 2\n")
    names, _ = controlled(source, Script(1, {"i": 1, "x": 5}))
    assert "local variable 'y'" in names["f"]()


def test_a_cell_and_a_parameter_are_restored():
    source = """
def f(given):
    held = 0
    get = lambda: held
    for i in range(3):
        held += given
    return held, given, get()
"""
    script = Script(2, {"i": 2, "given": 7, "held": 100})
    names, _ = controlled(source, script)
    script.unbound = lambda name: name != "get" and name not in script.values
    kept = {}

    def due():
        kept.setdefault("get", sys._getframe(2).f_locals["get"])
        return not script.restored

    script.due = due
    script.value = lambda name: {**script.values, **kept}[name]
    assert names["f"](1) == (107, 7, 107)


def test_global_nonlocal_and_free_names_are_never_assigned():
    source = """
counter = 10
def outer():
    shared = 20
    def f():
        global counter
        nonlocal shared
        free = 0
        for i in range(3):
            counter += 1
            shared += 1
            free += len(str(outer))
        return counter, shared, free > 0
    return f() + (shared,)
"""
    asked = []
    script = Script(2, {"i": 2, "free": 0})
    script.unbound = lambda name: asked.append(name) or name not in script.values
    names, _ = controlled(source, script, "program.py:outer.<locals>.f:0")
    assert names["outer"]() == (11, 21, True, 21)
    assert set(asked) == {"free", "i"}


@pytest.mark.parametrize("where", ["module", "class"])
def test_names_of_modules_and_classes_are_left_to_the_control(where):
    body = "total = 0\nfor k in range(4):\n    total += k\n"
    if where == "module":
        source, key = body, "program.py:<module>:0"
    else:
        source = "class C:\n" + "".join(f"    {line}\n" for line in body.splitlines())
        key = "program.py:C:0"
    script = Script(2, {})
    script.value = script.unbound = None
    names, _ = controlled(source, script, key)
    assert (names["total"] if where == "module" else names["C"].total) == 5


def test_a_while_loop_ticks_before_its_control_is_asked():
    source = """
def f():
    n = 0
    while n < 4:
        n += 1
    return n
"""
    recorder = Recorder()
    script = Script(2, {"n": 3})
    ask = script.due
    script.unbound = lambda name: False
    script.due = lambda: recorder.events.append("asked") or not script.restored
    recorder.controls["program.py:f:0"] = script
    code, _ = compiled(source, recorder, controls=Controls(frozenset({"program.py:f:0"})))
    names = {}
    exec(code, names)
    assert names["f"]() == 4
    assert ask
    key = "program.py:f:0"
    assert recorder.events == [
        ("enter", key),
        *[x for k in range(3) for x in (("iteration", key, k), "asked")],
        ("exhausted", key, 3),
    ]


def test_a_controlled_loop_without_a_control_runs_as_it_is():
    key = "program.py:f:0"
    recorder = Recorder()
    code, _ = compiled(TRAINING, recorder, controls=Controls(frozenset({key})))
    names, plain = {}, {}
    exec(code, names)
    exec(TRAINING, plain)
    assert names["f"](4, []) == plain["f"](4, [])


def test_private_names_are_asked_for_as_the_frame_holds_them():
    source = """
class A:
    def f(self):
        __x = 1
        for i in range(2):
            __x += 1
        return __x
"""
    asked = []
    script = Script(1, {"i": 1, "_A__x": 50})
    script.unbound = lambda name: asked.append(name) or name not in script.values
    names, _ = controlled(source, script, "program.py:A.f:0")
    script.values["self"] = names["A"]()
    assert names["A"]().f() == 51
    assert set(asked) == {"self", "_A__x", "i"}


def test_generators_and_nested_controlled_loops_skip_too():
    source = """
def f(log):
    for i in range(3):
        for j in range(3):
            log.append((i, j))
            yield i, j
"""
    inner = Script(1, {"i": 1, "j": 1})
    outer = Script(1, {"i": 1})
    recorder = Recorder({"program.py:f:0": outer, "program.py:f:1": inner})
    code, _ = compiled(source, recorder, controls=Controls(frozenset(recorder.controls)))
    names = {}
    exec(code, names)
    log = []
    outer.values["log"] = inner.values["log"] = log
    assert list(names["f"](log)) == [(1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]
