"""`batches = forever(loader)` in a local, drawn from with next() inside of a `for`."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def forever(loader):
    while True:
        yield from loader


def main():
    torch.manual_seed(4)
    data = torch.randn(48, 4)
    loader = DataLoader(TensorDataset(data), batch_size=8, shuffle=True)
    batches = forever(loader)
    coder = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 4))
    optimizer = torch.optim.RMSprop(coder.parameters(), lr=0.005)
    for iteration in range(14):
        (x,) = next(batches)
        noisy = x + 0.1 * torch.randn_like(x)
        loss = (coder(noisy) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"iteration {iteration} loss {loss.item()!r}")


main()
