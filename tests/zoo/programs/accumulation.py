"""Gradients are summed over micro batches, and the boundary falls between two of them."""

import torch
from torch import nn

torch.manual_seed(50)
model = nn.Sequential(nn.Linear(7, 14), nn.SiLU(), nn.Dropout(0.1), nn.Linear(14, 1))
optimizer = torch.optim.NAdam(model.parameters(), lr=0.01)
accumulate, running, updates = 4, 0.0, 0
x = torch.randn(220, 7)
y = x.abs().sum(1, keepdim=True)

for micro, (xb, yb) in enumerate(zip(x.split(10), y.split(10))):
    loss = nn.functional.l1_loss(model(xb), yb) / accumulate
    loss.backward()
    running += loss.item()
    if (micro + 1) % accumulate == 0:
        optimizer.step()
        optimizer.zero_grad()
        updates += 1
        print(f"update {updates} loss {running!r}")
        running = 0.0
    else:
        norm = sum(p.grad.norm().item() for p in model.parameters())
        print(f"  micro {micro} gradient {norm:.8f}")

print("left over", running, updates)
