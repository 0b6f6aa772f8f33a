"""Training steps made by functions that return functions."""

import torch
from torch import nn


def make_averager(beta):
    average, steps = 0.0, 0

    def update(value):
        nonlocal average, steps
        steps += 1
        average = beta * average + (1 - beta) * value
        return average / (1 - beta**steps)

    return update


def make_stepper(model, optimizer, log):
    calls = {"train": 0}

    def step(x, y):
        def closure():
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(model(x), y)
            loss.backward()
            return loss

        calls["train"] += 1
        value = optimizer.step(closure).item()
        log(calls["train"], value)
        return value

    return step


def main():
    torch.manual_seed(5)
    x = torch.randn(128, 4)
    y = (x.prod(1, keepdim=True) > 0).float()
    model = nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Linear(16, 1))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4, history_size=5)
    lines = []
    step = make_stepper(model, optimizer, lambda n, value: lines.append(f"{n}={value:.6f}"))
    smooth = make_averager(0.9)
    best = float("inf")
    for round_ in range(10):
        picked = torch.randperm(128)[:64]
        loss = smooth(step(x[picked], y[picked]))
        if loss < best:
            best = loss
        print(f"round {round_} smoothed {loss!r} best {best!r} last {lines[-1]}")
    print(" ".join(lines))


main()
