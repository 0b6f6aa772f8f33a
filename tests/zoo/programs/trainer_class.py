"""A Trainer with everything in `self`, and an epoch loop in a method."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Dropout(0.1))
        self.head = nn.Linear(width, 1)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.register_buffer("scratch", torch.zeros(3), persistent=False)

    def forward(self, x):
        self.calls += 1
        self.scratch.mul_(0.9).add_(x.detach()[0, :3])
        return self.head(self.body(x)).squeeze(1)


class Meter:
    def __init__(self):
        self.reset()

    def reset(self):
        self.total = 0.0
        self.count = 0

    def update(self, value, n=1):
        self.total += value * n
        self.count += n

    @property
    def mean(self):
        return self.total / max(self.count, 1)


class Trainer:
    def __init__(self, epochs):
        torch.manual_seed(1)
        x = torch.rand(192, 6)
        self.data = TensorDataset(x, x.sum(1).sin())
        self.loader = DataLoader(self.data, batch_size=24, shuffle=True)
        self.model = Net(24)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 3, gamma=0.5)
        self.meter = Meter()
        self.history = {"loss": [], "lr": []}
        self.epochs = epochs
        self.step = 0

    def train_step(self, batch):
        x, y = batch
        self.optimizer.zero_grad(set_to_none=True)
        loss = F.mse_loss(self.model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        return loss.item()

    def train_epoch(self):
        self.meter.reset()
        self.model.train()
        for batch in self.loader:
            self.meter.update(self.train_step(batch), len(batch[0]))
        self.scheduler.step()

    def fit(self):
        for epoch in range(self.epochs):
            self.train_epoch()
            self.history["loss"].append(self.meter.mean)
            self.history["lr"].append(self.scheduler.get_last_lr()[0])
            print(
                f"epoch {epoch}: {self.meter.mean!r} lr {self.history['lr'][-1]} step {self.step}"
            )
        return min(self.history["loss"])


if __name__ == "__main__":
    trainer = Trainer(epochs=8)
    print("best", trainer.fit())
    print(trainer.model.scratch.tolist(), trainer.model.calls.item())
