from __future__ import annotations

import ast
import dis
import marshal
import sys
import warnings

import pytest
from hypothesis import given, settings
from instrument_recorder import Recorder, compiled
from instrument_stdlib import SAMPLE, codes
from instrument_strategy import programs
from instrument_traced import traced

from flor_trace.errors import RewriteError
from flor_trace.instrument import rewrite
from flor_trace.instrument.bind import bind
from flor_trace.instrument.compile import compile_module
from flor_trace.instrument.loops import find_loops
from flor_trace.instrument.markers import Marks


def stream(code, inserted=None):
    """Return what a code object does: opcodes, arguments and positions; jumps by target index."""
    steps = [s for s in dis.get_instructions(code) if s.opname not in ("EXTENDED_ARG", "CACHE")]
    kept = []
    k = 0
    while k < len(steps):
        if inserted is not None and inserted(steps[k]):
            assert [s.opname for s in steps[k + 1 : k + 4]] == ["SWAP", "BINARY_SUBSCR", "GET_ITER"]
            k += 3
        else:
            kept.append(steps[k])
            k += 1
    place = {}
    for n, step in enumerate(kept):
        place[step.offset] = n
    offsets = sorted(place)

    def argument(step):
        if step.opcode in dis.hasjrel or step.opcode in dis.hasjabs:
            at = next((o for o in offsets if o >= step.argval), None)
            return place.get(at)
        if isinstance(step.argval, type(code)):
            return step.argval.co_qualname, step.argval.co_firstlineno
        if isinstance(step.argval, frozenset):
            return sorted(map(repr, step.argval))  # its order is not the same in two compilations
        return repr(step.argval)

    return [(s.opname, argument(s), s.positions) for s in kept]


def pairs(path):
    """Yield (plain, rewritten) code objects of a file that hold a for and no while."""
    source = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = compile(source, str(path), "exec", dont_inherit=True)
        made = compile_module(source, str(path), path.name)
    holds_while = {
        (loop.scope.qualname, loop.scope.line)
        for loop in find_loops(ast.parse(source))
        if isinstance(loop.node, ast.While)
    }
    marks = Marks(made.info.digest)
    for one, other in zip(codes(plain), codes(made.code), strict=True):
        if (one.co_qualname, one.co_firstlineno) not in holds_while:
            yield one, other, marks


@pytest.mark.parametrize("path", SAMPLE, ids=lambda path: path.name)
def test_without_the_inserted_triples_a_for_loop_is_the_original(path):
    for plain, made, marks in pairs(path):
        is_site = lambda step, marks=marks: marks.read(step.argval) is not None  # noqa: E731
        assert stream(made, is_site) == stream(plain)
        assert made.co_varnames == plain.co_varnames
        assert made.co_names == plain.co_names
        assert made.co_cellvars == plain.co_cellvars
        assert [h for h in made.co_consts if marks.read(h) is None][: len(plain.co_consts)] == [
            h if not isinstance(h, type(plain)) else g
            for h, g in zip(plain.co_consts, made.co_consts, strict=False)
        ]


@pytest.mark.parametrize("path", SAMPLE[::3], ids=lambda path: path.name)
def test_every_loop_of_the_sample_has_a_site(path):
    made = compile_module(path.read_bytes(), str(path), path.name)
    marks = Marks(made.info.digest)
    sites = {
        marker.loop
        for code in codes(made.code)
        for constant in code.co_consts
        if (marker := marks.read(constant)) is not None and marker.part == "site"
    }
    expected = {k for k, loop in enumerate(made.info.loops) if loop.left_alone is None}
    # The compiler drops loops that nothing can reach.
    assert len(expected - sites) <= 1
    assert sites <= expected


@settings(max_examples=60, deadline=None)
@given(programs())
def test_generated_programs_do_the_same_and_show_the_same_lines(source):
    code, info = compiled(source, Recorder())
    assert info.left_alone == ()
    plain = compile(source, "<program>", "exec", dont_inherit=True)
    assert traced(code) == traced(plain)


def test_the_result_can_be_marshalled():
    source = b"for i in range(3):\n    while i:\n        i -= 1\n"
    made = compile_module(source, "x.py", "x.py")
    assert marshal.loads(marshal.dumps(made.code)) == made.code


def test_a_string_that_looks_like_a_marker_stays_a_string():
    source = "x = '\\0flor_trace:00:site:0:'\nfor i in [x]:\n    out = i\n"
    code, _ = compiled(source, Recorder())
    assert traced(code)[0] == "\0flor_trace:00:site:0:"


def test_code_that_cannot_be_proved_is_left_plain_and_named(monkeypatch):
    source = (
        "def good():\n    for i in range(2):\n        pass\n    return i\n"
        "def bad():\n    while True:\n        for i in range(3):\n            return i\n"
        "out = good(), bad()\n"
    )

    def doubt(code):
        if code.co_name == "bad":
            raise RewriteError("bad is doubted")

    monkeypatch.setattr(rewrite, "verify", doubt)
    recorder = Recorder()
    code, info = compiled(source, recorder)
    assert info.left_alone == (("bad", "RewriteError: bad is doubted"),)
    assert [loop.left_alone is None for loop in info.loops] == [True, False, False]
    assert traced(code) == traced(compile(source, "<program>", "exec"))
    assert {event[1] for event in recorder.events} == {"program.py:good:0"}


def test_an_else_that_jumps_out_is_named():
    source = "for i in x:\n    while y:\n        pass\n    else:\n        break\n"
    info = compile_module(source.encode(), "x.py", "x.py").info
    assert [loop.left_alone is None for loop in info.loops] == [True, False]
    assert "outer loop" in info.loops[1].left_alone


@pytest.mark.parametrize(
    "source",
    [
        "x = = 1\n",
        "return 1\n",
        "while x:\n    pass\nelse:\n    break\n",
        "for i in x:\n    pass\nelse:\n    continue\n",
        "def f():\n    nonlocal q\n",
        "def f():\n    x = 1\n    global x\n",
        "if 1:\nx = 2\n",
        "f(**x, *y)\n",
        b"# coding: nonsense\n",
        b"x = '\xff'\n",
    ],
)
def test_a_syntax_error_is_the_one_that_compile_raises(source):
    text = source.encode() if isinstance(source, str) else source
    with pytest.raises(SyntaxError) as plain:
        compile(text, "bad.py", "exec", dont_inherit=True)
    with pytest.raises(SyntaxError) as ours:
        compile_module(text, "bad.py", "bad.py")
    assert ours.value.args == plain.value.args
    assert ours.value.__context__ is None


def test_a_source_with_another_encoding_is_read():
    source = "# -*- coding: latin-1 -*-\nfor i in 'é':\n    out = i\n".encode("latin-1")
    code, info = compiled(source, Recorder())
    assert traced(code)[0] == "é"
    assert info.loops[0].header == "for i in 'é':"


@pytest.mark.parametrize("optimize", [0, 1, 2])
def test_the_optimization_level_is_honoured(optimize):
    source = (
        b'def f():\n    "doc"\n    for i in range(1):\n        assert i\n    return f.__doc__\n'
    )
    names = {}
    made = compile_module(source, "x.py", "x.py", optimize=optimize)
    hooks = Recorder()
    exec(bind(made.code, made.info, hooks), names)
    if optimize == 0:
        with pytest.raises(AssertionError):
            names["f"]()
    else:
        assert names["f"]() == (None if optimize == 2 else "doc")


def test_tracebacks_are_those_of_the_plain_program():
    source = (
        "def f(x):\n    for i in range(3):\n        while x:\n            g(i,\n"
        "              x / 0)\n"
        "def g(a, b):\n    return a\nf(1)\n"
    )
    texts = []
    for code in (compiled(source, Recorder())[0], compile(source, "<program>", "exec")):
        try:
            exec(code, {})
        except ZeroDivisionError as error:
            trace = error.__traceback__.tb_next
            shown = []
            while trace is not None:
                positions = list(trace.tb_frame.f_code.co_positions())
                shown.append((trace.tb_lineno, positions[trace.tb_lasti // 2]))
                trace = trace.tb_next
            texts.append(shown)
    assert texts[0] == texts[1]
    assert len(texts[0]) == 2
    assert sys.exc_info() == (None, None, None)
