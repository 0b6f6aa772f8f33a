from __future__ import annotations

import importlib
import subprocess
import sys
import types

import pytest
from instrument_recorder import Recorder, compiled

from flor_trace.instrument.bind import pristine
from flor_trace.instrument.readers import READERS

PROGRAM = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path
from instrument_recorder import Recorder
from flor_trace.instrument.hook import install
from flor_trace.instrument.select import Project
if {before}:
    import torch._dynamo
recorder = Recorder()
install(Project(Path({root!r})), recorder, cache_dir=None)
import model
print(model.steps(3), model.whole(3), model.broken(3))
told = {{event[1].split(":")[1] for event in recorder.events}}
print(sorted(told))
"""
MODEL = """
import torch

@torch.compile(backend="eager")
def steps(n):
    x = torch.zeros(2)
    for i in range(n):
        x = x + i
    while n:
        n -= 1
        x = x * 2
    return x.tolist()

@torch.compile(backend="eager", fullgraph=True)
def inner(x, n):
    def add(y):
        for i in range(n):
            y = y + i
        return y
    return add(x)

def whole(n):
    total = 0
    for i in range(n):
        total += inner(torch.ones(1), n).item()
    return total

@torch.compile(backend="eager")
def broken(n):
    out = []
    for i in range(n):
        out.append(torch.ones(1) + i)
        torch._dynamo.graph_break()
    return len(out)
"""


@pytest.mark.torch
@pytest.mark.parametrize("before", [False, True])
def test_torch_compile_works_on_functions_with_loops(tmp_path, before):
    pytest.importorskip("torch")
    (tmp_path / "model.py").write_text(MODEL)
    path = [str(tmp_path), *sys.path]
    program = PROGRAM.format(path=path, before=before, root=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "[24.0, 24.0] 12.0 3"
    assert "'whole'" in lines[1]


@pytest.fixture
def bound():
    code, _ = compiled("def f():\n    for i in range(2):\n        pass\n", Recorder())
    names = {}
    exec(code, names)
    return names["f"]


def stand_in(monkeypatch, name, **functions):
    """Put a module of that name, and one of its package that imported from it, in place."""
    module = types.ModuleType(name)
    sibling = types.ModuleType(name.rpartition(".")[0] + ".sibling")
    for key, function in functions.items():
        setattr(module, key, function)
        setattr(sibling, key, function)
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, sibling.__name__, sibling)
    READERS[name](module)
    return module, sibling


def test_dynamo_is_given_the_original_wherever_it_has_imported_the_reader(monkeypatch, bound):
    name = "torch._dynamo.bytecode_transformation"
    both = stand_in(monkeypatch, name, cleaned_instructions=lambda code, safe=False: (code, safe))
    for module in both:
        code = bound.__code__
        assert module.cleaned_instructions(code, safe=True) == (pristine(code), True)
        assert module.cleaned_instructions("no code") == ("no code", False)


def test_dynamo_makes_code_from_the_original_with_its_constants(monkeypatch, bound):
    name = "torch._dynamo.bytecode_transformation"
    both = stand_in(
        monkeypatch,
        name,
        cleaned_instructions=lambda code: code,
        transform_code_object=lambda code, change, safe=False: (code, change),
    )
    for module in both:
        assert module.transform_code_object(bound.__code__, 1) == (pristine(bound.__code__), 1)


def test_dynamo_passes_over_our_own_functions(monkeypatch):
    added = []
    stand_in(monkeypatch, "torch._dynamo.trace_rules", add=added.append)
    assert added == ["flor_trace"]


def test_the_constants_of_code_with_a_while_loop_are_where_they_were():
    source = "def f(x):\n    a = 1\n    while x < 20:\n        x += 7\n    return x, 'end'\n"
    code, _ = compiled(source, Recorder())
    names = {}
    exec(code, names)
    plain = pristine(names["f"].__code__)
    assert plain is not names["f"].__code__
    assert names["f"].__code__.co_consts[: len(plain.co_consts)] == plain.co_consts


def test_numba_finds_the_original(monkeypatch, bound):
    both = stand_in(
        monkeypatch, "numba.core.bytecode", get_code_object=lambda function: function.__code__
    )
    for module in both:
        assert module.get_code_object(bound) is pristine(bound.__code__)


def test_numba_compiles_functions_with_loops(tmp_path, monkeypatch):
    numba = pytest.importorskip("numba")
    code, _ = compiled(
        "def f(n):\n    s = 0\n    for i in range(n):\n        s += i\n    return s\n", Recorder()
    )
    names = {}
    exec(code, names)
    READERS["numba.core.bytecode"](importlib.import_module("numba.core.bytecode"))
    assert numba.njit(names["f"])(4) == 6
