"""A lazily made layer, and layers that are unfrozen one epoch after the other."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.LazyLinear(16)
        self.second = nn.LazyLinear(16)
        self.head = nn.Linear(16, 1)
        self.cache = {}

    def forward(self, x):
        x = torch.relu(self.first(x))
        self.cache["mean"] = x.detach().mean(0)
        return self.head(torch.relu(self.second(x)))


def freeze(module, frozen=True):
    for parameter in module.parameters():
        parameter.requires_grad_(not frozen)


torch.manual_seed(14)
x, y = torch.randn(60, 9), torch.randn(60, 1)
net, optimizer = Net(), None
waiting = ["second", "first"]

for epoch in range(7):
    out = net(x)
    if optimizer is None:
        freeze(net.first)
        freeze(net.second)
        optimizer = torch.optim.Adam(net.head.parameters(), lr=0.02)
        out = net(x)
    elif epoch % 2 == 0 and waiting:
        layer = getattr(net, waiting.pop())
        freeze(layer, frozen=False)
        optimizer.add_param_group({"params": list(layer.parameters()), "lr": 0.005})
        out = net(x)
    loss = (out - y).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    trained = sum(p.requires_grad for p in net.parameters())
    print(f"epoch {epoch} loss {loss.item()!r} groups {len(optimizer.param_groups)} of {trained}")

print(net.cache["mean"].sum().item())
