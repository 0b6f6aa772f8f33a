"""An endless stream of batches from a generator function, cut off after so many."""

import itertools

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def forever(loader):
    epoch = 0
    while True:
        for batch in loader:
            yield epoch, batch
        epoch += 1


torch.manual_seed(3)
x = torch.randn(64, 6)
y = (x.sum(1) > 0).long()
loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

total = 0.0
for step, (epoch, (xb, yb)) in enumerate(itertools.islice(forever(loader), 18)):
    loss = nn.functional.cross_entropy(model(xb), yb)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    total += loss.item()
    print(f"step {step} of epoch {epoch}: loss {loss.item()!r} mean {total / (step + 1):.6f}")

print("weights", [round(p.norm().item(), 6) for p in model.parameters()])
