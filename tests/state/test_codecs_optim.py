"""Every optimizer and every scheduler of torch continues bit for bit from a restored state."""

from __future__ import annotations

import functools
import inspect

import pytest

torch = pytest.importorskip("torch")
nn, optim = torch.nn, torch.optim
schedules = optim.lr_scheduler

pytestmark = pytest.mark.torch

OPTIMIZERS = {
    name: cls
    for name, cls in vars(optim).items()
    if inspect.isclass(cls) and issubclass(cls, optim.Optimizer) and cls is not optim.Optimizer
}
VARIANTS = {
    "SGD momentum nesterov": functools.partial(optim.SGD, momentum=0.9, nesterov=True),
    "SGD fused": functools.partial(optim.SGD, momentum=0.9, fused=True),
    "Adam amsgrad fused": functools.partial(optim.Adam, amsgrad=True, fused=True),
    "AdamW foreach": functools.partial(optim.AdamW, foreach=True),
    "Adam with a tensor as rate": lambda params, lr: optim.Adam(params, lr=torch.tensor(lr)),
    "RMSprop centered": functools.partial(optim.RMSprop, centered=True, momentum=0.5),
    "LBFGS searching": functools.partial(optim.LBFGS, line_search_fn="strong_wolfe"),
    "maximizing": functools.partial(optim.Adagrad, maximize=True),
}
ALL = {**OPTIMIZERS, **VARIANTS}


def make_state(make_optimizer, number):
    torch.manual_seed(number)
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.Dropout(0.2), nn.Linear(6, 2, bias=False))
    return {"model": model, "optimizer": make_optimizer(model.parameters(), lr=0.01)}


def train(state, steps=2):
    model, optimizer = state["model"], state["optimizer"]
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).square().mean()
        loss.backward()
        if isinstance(optimizer, optim.SparseAdam):
            for parameter in model.parameters():
                parameter.grad = parameter.grad.to_sparse()
        return loss

    for _ in range(steps):
        losses.append(optimizer.step(closure).detach())
    return losses


def parameters(state):
    return list(state["model"].parameters()) if state else []


@pytest.mark.parametrize("name", ALL)
def test_an_optimizer_continues_bit_for_bit(continues, name):
    continues(
        lambda number: make_state(ALL[name], number),
        lambda state, _: (train(state), parameters(state)),
        keeps=parameters,
    )


def chained(optimizer):
    parts = [schedules.ConstantLR(optimizer, 0.5, 2), schedules.ExponentialLR(optimizer, 0.9)]
    return schedules.ChainedScheduler(parts, optimizer)


def sequential(optimizer):
    warm = schedules.LinearLR(optimizer, 0.1, total_iters=2)
    return schedules.SequentialLR(
        optimizer, [warm, schedules.CosineAnnealingLR(optimizer, 4)], milestones=[2]
    )


def closing_over(optimizer):
    rates = {"factor": 0.9}

    def rate(epoch):
        rates["factor"] *= 0.99
        return rates["factor"] ** epoch

    return schedules.LambdaLR(optimizer, rate)


class Halving:
    """A schedule with a memory of its own."""

    def __init__(self):
        self.calls = 0

    def __call__(self, epoch):
        self.calls += 1
        return 0.5**self.calls


SCHEDULERS = {
    "LambdaLR": closing_over,
    "LambdaLR of an object": lambda o: schedules.LambdaLR(o, Halving()),
    "MultiplicativeLR": lambda o: schedules.MultiplicativeLR(o, lambda epoch: 0.95),
    "StepLR": lambda o: schedules.StepLR(o, 2),
    "MultiStepLR": lambda o: schedules.MultiStepLR(o, [1, 3, 3]),
    "ConstantLR": lambda o: schedules.ConstantLR(o, 0.5, 3),
    "LinearLR": lambda o: schedules.LinearLR(o, 0.5),
    "ExponentialLR": lambda o: schedules.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: schedules.PolynomialLR(o, 6, 2.0),
    "CosineAnnealingLR": lambda o: schedules.CosineAnnealingLR(o, 5),
    "CosineAnnealingWarmRestarts": lambda o: schedules.CosineAnnealingWarmRestarts(o, 2, 2),
    "CyclicLR": lambda o: schedules.CyclicLR(o, 0.001, 0.1, 3, mode="triangular2"),
    "CyclicLR of a function": lambda o: schedules.CyclicLR(
        o, 0.001, 0.1, 3, scale_fn=lambda n: 0.9**n, scale_mode="iterations"
    ),
    "OneCycleLR": lambda o: schedules.OneCycleLR(o, 0.1, total_steps=12),
    "OneCycleLR linear": lambda o: schedules.OneCycleLR(
        o, 0.1, total_steps=12, anneal_strategy="linear", three_phase=True
    ),
    "ReduceLROnPlateau": lambda o: schedules.ReduceLROnPlateau(o, patience=0),
    "SequentialLR": sequential,
    "ChainedScheduler": chained,
    "SWALR": lambda o: optim.swa_utils.SWALR(o, 0.05, anneal_epochs=3),
}
ABSTRACT = {"LRScheduler", "_LRScheduler", "_WarmupLR"}


def test_no_scheduler_of_torch_is_missing():
    known = {
        name
        for name, cls in vars(schedules).items()
        if inspect.isclass(cls) and issubclass(cls, schedules.LRScheduler)
    }
    assert known - ABSTRACT <= {name.partition(" ")[0] for name in SCHEDULERS}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_continues_bit_for_bit(continues, name):
    def make(number):
        state = make_state(functools.partial(optim.SGD, momentum=0.9), number)
        state["scheduler"] = SCHEDULERS[name](state["optimizer"])
        return state

    def advance(state, _):
        losses, scheduler = train(state), state["scheduler"]
        if isinstance(scheduler, schedules.ReduceLROnPlateau):
            scheduler.step(1.0)
        else:
            scheduler.step()
        return losses, [dict(group, params=None) for group in state["optimizer"].param_groups]

    continues(make, advance, rounds=5, keeps=parameters)
