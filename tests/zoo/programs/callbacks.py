"""Callbacks in a list, some of them lambdas over the trainer, some with state of their own."""

import torch
from torch import nn


class History:
    def __init__(self):
        self.rows = []

    def __call__(self, trainer, epoch, loss):
        self.rows.append((epoch, loss))


class Cooldown:
    def __init__(self, every):
        self.every, self.left = every, every

    def __call__(self, trainer, epoch, loss):
        self.left -= 1
        if not self.left:
            for group in trainer.optimizer.param_groups:
                group["lr"] *= 0.5
            self.left = self.every


class Trainer:
    def __init__(self):
        self.model = nn.Linear(4, 1)
        self.optimizer = torch.optim.Adagrad(self.model.parameters(), lr=0.3)
        self.stop = False
        self.hooks = []
        self.norms = []
        self.model.register_forward_hook(lambda m, i, out: self.norms.append(out.norm().item()))

    def on_epoch(self, hook):
        self.hooks.append(hook)
        return hook

    def fit(self, x, y, epochs):
        with torch.random.fork_rng():
            for epoch in range(epochs):
                loss = (self.model(x + 0.1 * torch.randn_like(x)) - y).abs().mean()
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                for hook in self.hooks:
                    hook(self, epoch, loss.item())
                if self.stop:
                    return epoch
        return epochs


torch.manual_seed(30)
trainer = Trainer()
history = trainer.on_epoch(History())
trainer.on_epoch(Cooldown(3))
trainer.on_epoch(lambda t, e, loss: print(f"epoch {e} loss {loss!r} norms {len(t.norms)}"))
trainer.on_epoch(lambda t, e, loss: setattr(t, "stop", loss < 0.05))
features = torch.randn(50, 4)
print("epochs", trainer.fit(features, features.mean(1, keepdim=True), 9))
print(history.rows[-1], round(sum(trainer.norms), 6))
