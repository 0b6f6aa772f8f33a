"""A convolutional network with batch normalisation on digits, edited for FlorDB."""

from __future__ import annotations

import argparse

import flordb as flor
import torch
from data import digits
from saving import WAYS, finish, save
from torch import nn


def layer(before: int, after: int) -> nn.Module:
    """One convolution and what goes with it."""
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
    )


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: list[tuple[torch.Tensor, torch.Tensor]],
) -> float:
    """Go through the batches once; return the mean loss."""
    model.train()
    losses = []
    for x, y in flor.loop("step", batches):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save", choices=WAYS, default="none")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    images, labels = digits(copies=1)
    model = nn.Sequential(
        layer(1, 32), layer(32, 64), nn.MaxPool2d(2), layer(64, 128), layer(128, 128),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    with flor.checkpointing(model=model, optimizer=optimizer):
        for epoch in flor.loop("epoch", range(options.epochs)):
            order = torch.randperm(len(images))
            chunks = order.split(64)
            batches = [(images[each].unsqueeze(1), labels[each]) for each in chunks]
            loss = train(model, optimizer, batches)
            flor.log("loss", loss)
            save(options.save, epoch, model, optimizer)
    finish()


if __name__ == "__main__":
    main()
