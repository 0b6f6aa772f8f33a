"""`while` over steps, with the loader's iterator kept in `self` and begun anew when it runs out."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Feed:
    def __init__(self, loader):
        self.loader = loader
        self.iterator = iter(loader)
        self.epoch = 0

    def next(self):
        try:
            return next(self.iterator)
        except StopIteration:
            self.epoch += 1
            self.iterator = iter(self.loader)
            return next(self.iterator)


class Runner:
    def __init__(self):
        x = torch.randn(100, 5)
        y = x @ torch.randn(5, 1) + 0.1 * torch.randn(100, 1)
        self.feed = Feed(
            DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True, drop_last=True)
        )
        self.model = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.01)
        self.losses = []

    def run(self, max_steps):
        step = 0
        while step < max_steps:
            x, y = self.feed.next()
            loss = nn.functional.mse_loss(self.model(x), y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.losses.append(loss.item())
            if step % 3 == 2:
                recent = sum(self.losses[-3:]) / 3
                print(f"step {step} epoch {self.feed.epoch} loss {recent!r}")
            step += 1


runner = Runner()
runner.run(25)
print("final", runner.losses[-1])
