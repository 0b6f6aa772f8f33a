from __future__ import annotations

import dis

import pytest
from instrument_recorder import Recorder, compiled
from instrument_stdlib import SAMPLE, codes

from flor_trace.errors import RewriteError
from flor_trace.instrument.items import is_instr
from flor_trace.instrument.safecode import Parts
from flor_trace.instrument.verify import verify
from flor_trace.state.instructions import exception_table


def program(numbers):
    total = 0
    for number in numbers:
        try:
            total += number
        finally:
            total += 1
    return total


@pytest.mark.parametrize("path", SAMPLE, ids=lambda path: path.name)
def test_whatever_python_compiles_is_sound(path):
    for code in codes(compile(path.read_bytes(), str(path), "exec", dont_inherit=True)):
        verify(code)


@pytest.mark.parametrize("path", SAMPLE, ids=lambda path: path.name)
def test_whatever_is_rewritten_is_sound(path):
    bound, info = compiled(path.read_bytes(), Recorder(), path=str(path))
    assert info.left_alone == ()
    for code in codes(bound):
        verify(code)


def test_the_exception_table_is_read_as_dis_reads_it():
    for code in codes(compile(SAMPLE[0].read_bytes(), "x", "exec")):
        theirs = [
            (e.start, e.end, e.target, e.depth, e.lasti) for e in dis._parse_exception_table(code)
        ]
        ours = [(h.start, h.end, h.target, h.depth, h.lasti) for h in exception_table(code)]
        assert ours == theirs


def without(name, nth=0):
    """Return the program's code with one instruction left out."""
    parts = Parts(program.__code__)
    found = [k for k, x in enumerate(parts.items) if is_instr(x) and x.name == name]
    items = list(parts.items)
    del items[found[nth]]
    return parts.put_together(items)


@pytest.mark.parametrize("name", ["GET_ITER", "FOR_ITER", "LOAD_FAST", "STORE_FAST"])
def test_a_missing_instruction_is_found(name):
    if name == "GET_ITER":
        verify(without(name))  # depth-neutral: the proof is about the stack, not about types
        return
    with pytest.raises(RewriteError):
        verify(without(name))


def test_a_stack_that_is_too_small_is_found():
    with pytest.raises(RewriteError, match="needs a stack"):
        verify(program.__code__.replace(co_stacksize=1))


def test_a_handler_deeper_than_what_it_covers_is_found():
    table = bytearray(program.__code__.co_exceptiontable)
    table[3] += 8  # the depth of the first entry
    with pytest.raises(RewriteError, match="handler at depth"):
        verify(program.__code__.replace(co_exceptiontable=bytes(table)))


def test_code_that_runs_off_its_end_is_found():
    code = program.__code__
    with pytest.raises(RewriteError):
        verify(code.replace(co_code=code.co_code[:8]))
