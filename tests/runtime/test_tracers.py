from __future__ import annotations

import sys
import types

import pytest

from flor_trace.runtime.tracers import torch_intercepts
from flor_trace.runtime.values import scalar


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.mark.torch
def test_nobody_watches_ordinary_work(torch):
    assert not torch_intercepts()
    assert scalar(torch.tensor(2.5)) == 2.5
    with torch.no_grad(), torch.device("cpu"):
        assert not torch_intercepts()


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_what_traces_transforms_or_counts_is_noticed(torch):
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    seen = {}

    def note(name):
        def function(x):
            seen[name] = torch_intercepts(), scalar(x.sum())
            return (x * 2).sum()

        return function

    x = torch.ones(3)
    torch.jit.trace(note("trace"), (x,), check_trace=False)
    torch.func.grad(note("grad"))(x)
    torch.vmap(note("vmap"))(torch.ones(2, 3))
    torch.fx.experimental.proxy_tensor.make_fx(note("make_fx"))(x)
    with FlopCounterMode(display=False):
        note("flops")(x)
    with FakeTensorMode():
        note("fake")(torch.ones(3))
    assert seen == dict.fromkeys(
        ["trace", "grad", "vmap", "make_fx", "flops", "fake"], (True, None)
    )
    assert not torch_intercepts()


def test_a_torch_that_is_being_imported_is_no_trouble(monkeypatch):
    for parts in ({}, {"_C": None}, {"_C": types.SimpleNamespace()}):
        monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(**parts))
        assert not torch_intercepts()
    monkeypatch.delitem(sys.modules, "torch")
    assert not torch_intercepts()
