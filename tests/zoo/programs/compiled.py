"""`model = torch.compile(model)` inside of the loop, with the eager backend."""

import torch
from torch import nn

torch.manual_seed(22)
model = nn.Sequential(nn.Linear(5, 10), nn.ReLU(), nn.Linear(10, 2))
optimizer = torch.optim.Adamax(model.parameters(), lr=0.01)
x = torch.randn(64, 5)
y = (x[:, 0] > x[:, 1]).long()

for epoch in range(5):
    if epoch == 1:
        model = torch.compile(model, backend="eager")
    picked = torch.randint(0, 64, (32,))
    loss = nn.functional.cross_entropy(model(x[picked]), y[picked])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"epoch {epoch} {type(model).__name__} loss {loss.item()!r}")

print(sum(p.sum().item() for p in model.parameters()))
