"""Programs that use what reads code, torch.compile first of all, do as they do without us."""

from __future__ import annotations

import json
import re

import pytest
from harness import Project

pytestmark = pytest.mark.torch
pytest.importorskip("torch")

#: When, and from which process, torch says something.
STAMP = re.compile(r"^[A-Z]\d{4} [\d:.]+ \d+ ", re.MULTILINE)

MODEL = """
import functools
import inspect

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, depth=3):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(depth))

    def forward(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x


def unrolled(x, n: int):
    for i in range(n):
        x = x * 2 + i
    while n > 0:
        n -= 1
        x = x - n
    return x


def nested(x):
    def add(y, k):
        for j in range(k):
            y = y + j
        return y

    for k, scale in enumerate((1.0, 0.5)):
        x = add(x * scale, k + 1)
    return x


def broken(x):
    for i in range(3):
        x = x + i
        torch._dynamo.graph_break()
    for i in range(2):
        x = x * 2
    return x


def data_dependent(x):
    total = 0
    while x.sum() < 20:
        x = x + 1
        total += 1
    for i in range(int(x.sum()) % 5):
        x = x - i
    return x, total


def generator(x):
    def parts():
        for i in range(3):
            yield x * i

    out = torch.zeros_like(x)
    for part in parts():
        out = out + part
    return out


def guarded(x):
    for i in range(4):
        try:
            if i == 2:
                raise ValueError(i)
            x = x + i
        except ValueError:
            continue
        else:
            x = x * 2
    return x


@torch.compiler.disable
def disabled(x):
    for i in range(3):
        x = x + i
    return x


def calls_disabled(x):
    for _ in range(2):
        x = disabled(x) * 2
    return x


def scripted(x: torch.Tensor, n: int) -> torch.Tensor:
    for i in range(n):
        x = x * 2 + i
    while bool(x.sum() > 1000.0):
        x = x / 2
    return x


@functools.singledispatch
def size(value):
    return 1


@size.register
def _(value: list):
    total = 0
    for item in value:
        total += size(item)
    return total


def source_of_loops():
    return inspect.getsource(unrolled), inspect.getsource(Net.forward)
"""

PROGRAM = """
import json
import sys

import torch
import torch._dynamo
from torch._dynamo.testing import CompileCounterWithBackend

import model

torch.manual_seed(3)


def tell(name, *values):
    print(json.dumps([name, *values]))


def plain(value):
    if isinstance(value, torch.Tensor):
        return [round(each, 5) for each in value.detach().flatten().tolist()]
    return [plain(each) for each in value] if isinstance(value, tuple) else value


def explained(function, *args):
    torch._dynamo.reset()
    found = torch._dynamo.explain(function)(*args)
    reasons = [str(reason.reason).split("\\n")[0] for reason in found.break_reasons]
    graphs = [len(graph.graph.nodes) for graph in found.graphs]
    return found.graph_count, found.graph_break_count, graphs, reasons


def compiled(function, calls, **options):
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    made = torch.compile(function, backend=counter, **options)
    return [plain(made(*args)) for args in calls], counter.frame_count, counter.op_count


x = torch.ones(4)
for function, args in [
    (model.unrolled, (x, 3)),
    (model.nested, (x,)),
    (model.broken, (x,)),
    (model.data_dependent, (x,)),
    (model.generator, (x,)),
    (model.guarded, (x,)),
    (model.calls_disabled, (x,)),
    (model.Net(), (x,)),
]:
    name = getattr(function, "__name__", "Net")
    tell("explain " + name, *explained(function, *args))
    tell("compile " + name, *compiled(function, [args, args]))

tell("recompile", *compiled(model.unrolled, [(x, 2), (x, 3), (x, 4), (torch.ones(2), 3)]))
tell("dynamic", *compiled(model.unrolled, [(torch.ones(k), 2) for k in (3, 4, 5)], dynamic=True))
tell("fullgraph", *compiled(model.nested, [(x,)], fullgraph=True))
try:
    compiled(model.broken, [(x,)], fullgraph=True)
except Exception as error:
    tell("fullgraph broken", type(error).__name__, str(error).split("\\n")[0])


@torch.compile(backend="eager")
def in_main(y):
    for i in range(3):
        y = y + i
    return y


tell("main", plain(in_main(x)))

net = model.Net()
fast = torch.compile(net, backend="aot_eager")
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
losses = []
for epoch in range(3):
    for step in range(2):
        optimizer.zero_grad()
        loss = fast(torch.full((2, 4), float(step + 1))).square().mean()
        loss.backward()
        optimizer.step()
    losses.append(round(loss.item(), 6))
tell("training", losses)

script = torch.jit.script(model.scripted)
tell("script", plain(script(x, 4)), script.code)
tell("script module", plain(torch.jit.script(net)(x)))
traced = torch.jit.trace(model.unrolled, (x, torch.tensor(2)), check_trace=False)
tell("trace", plain(traced(x, torch.tensor(2))))
tell("fx", torch.fx.symbolic_trace(net).code)
exported = torch.export.export(net, (torch.ones(2, 4),))
tell("export", [node.name for node in exported.graph.nodes])
gradient = torch.func.grad(lambda y: model.nested(y).sum())
tell("func", plain(gradient(x)), plain(torch.vmap(model.guarded)(torch.ones(3, 4))))
tell("dispatch", model.size([1, [2, 3], []]))
tell("source", *model.source_of_loops())
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return what the plain and the recorded run print, and the loops that were reported."""
    project = Project(tmp_path_factory.mktemp("torch"))
    (project.path / "model.py").write_text(MODEL)
    (project.path / "train.py").write_text(PROGRAM)
    plain = project.plain("train.py")
    recorded = project.flor("train.py")
    journal = next((project.path / ".flor_trace" / "runs").glob("*/journal")).read_bytes()
    return plain, recorded, journal


def lines(done):
    return {name: values for name, *values in map(json.loads, done.stdout.splitlines())}


def test_a_recorded_run_prints_the_same(runs):
    plain, recorded, _ = runs
    assert lines(recorded) == lines(plain)
    assert recorded.stdout == plain.stdout
    assert STAMP.sub("", recorded.stderr) == STAMP.sub("", plain.stderr)


def test_the_program_does_what_it_is_meant_to(runs):
    told = lines(runs[0])
    assert told["explain unrolled"][:2] == [1, 0]
    assert told["explain nested"][:2] == [1, 0]
    assert told["explain broken"][:2] == [0, -1]  # a break in a loop: the frame is left to Python
    assert told["explain data_dependent"][1] > 0
    assert told["explain generator"][:2] == [1, 0]
    assert told["fullgraph"][1] == 1
    assert told["fullgraph broken"][0] == "Unsupported"
    assert told["recompile"][1] > 1
    assert len(told["training"][0]) == 3
    assert told["dispatch"] == [3]


def test_loops_that_are_not_compiled_are_recorded(runs):
    journal = runs[2]
    assert b'"key":"train.py:<module>:1"' in journal
    assert b'"dim":"epoch"' in journal
    assert b'"t":"checkpoint"' in journal
    assert b'"t":"lost"' not in journal
    assert b'"failures":0' in journal
