from __future__ import annotations

import dis
import subprocess
import sys
import warnings

import pytest
from instrument_recorder import Recorder

from flor_trace import pyfacts
from flor_trace.errors import UsageError
from flor_trace.instrument import engines
from flor_trace.instrument.bind import bind
from flor_trace.instrument.compile import compile_module
from flor_trace.instrument.engines import choose
from flor_trace.instrument.markers import Marks


def test_on_a_known_interpreter_the_bytecode_is_rewritten_without_a_word():
    assert choose("auto") == choose("bytecode")
    assert (choose("auto").engine, choose("auto").notice) == ("bytecode", "")


def test_on_an_unknown_interpreter_the_tree_is_changed_and_that_is_said(monkeypatch):
    monkeypatch.setattr(pyfacts, "REWRITER_KNOWS", False)
    assert choose("auto").engine == "ast"
    assert "bytecode of this Python version is not known" in choose("auto").notice
    made = compile_module(b"for i in x:\n    pass\nwhile y:\n    pass\n", "x.py", "x.py")
    assert [loop.left_alone for loop in made.info.loops] == [None, None]
    marks = [Marks(made.info.digest).read(constant) for constant in made.code.co_consts]
    assert {mark.loop for mark in marks if mark is not None} == {0, 1}


@pytest.mark.parametrize("name", ["bytecode", "trace"])
def test_an_engine_that_cannot_work_is_refused(monkeypatch, name):
    monkeypatch.setattr(engines, "columns_are_kept", lambda: False)
    with pytest.raises(UsageError, match=r"no_debug_ranges.*--engine ast"):
        choose(name)


def test_without_columns_loops_are_found_in_the_tree():
    program = (
        "from flor_trace.instrument.compile import compile_module as c\n"
        "made = c(b'for i in x:\\n    while i: pass\\n', 'x.py', 'x.py')\n"
        "print(made.info.left_alone, [loop.left_alone for loop in made.info.loops])\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "no_debug_ranges", "-c", program], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("() [None, None]\n", "")


def iterated(code):
    """Return what the first ``for`` of some code is over, if that is a constant or a display."""
    names = ("LOAD_CONST", "BUILD_LIST", "BUILD_SET", "BUILD_TUPLE")
    steps = [s for s in dis.get_instructions(code) if s.opname in (*names, "GET_ITER")]
    at = next(k for k, step in enumerate(steps) if step.opname == "GET_ITER")
    before = steps[at - 1]
    return before.opname, before.argval


@pytest.mark.parametrize("text", ["[1, 2]", "[a, b]", "{1, 2, -3}", "{a, 1}", "(1, 2)", "[*a]"])
def test_displays_are_folded_as_the_compiler_folds_them(text):
    source = f"for i in {text}:\n    pass\n"
    made = compile_module(source.encode(), "x.py", "x.py", engine="ast")
    assert iterated(made.code) == iterated(compile(source, "x.py", "exec"))


def test_the_tree_engine_adds_no_warning_and_folds_no_site():
    source = "for i in 'ab':\n    pass\nfor i in 0:\n    pass\n"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = compile_module(source.encode(), "x.py", "x.py", engine="ast")
    with pytest.raises(TypeError, match="'int' object is not iterable"):
        exec(bind(made.code, made.info, Recorder()), {})
