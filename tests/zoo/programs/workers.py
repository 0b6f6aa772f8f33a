"""A loader with two worker processes, alive only inside of an epoch."""

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Noisy(Dataset):
    def __init__(self, count):
        self.values = torch.linspace(-1, 1, count)

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        x = self.values[index]
        return torch.stack([x, x**2]) + 0.01 * torch.randn(2), x.sin()


def main():
    torch.manual_seed(15)
    loader = DataLoader(Noisy(48), batch_size=12, shuffle=True, num_workers=2)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(4):
        total = 0.0
        for x, y in loader:
            loss = nn.functional.mse_loss(model(x)[:, 0], y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch} loss {total!r}")


if __name__ == "__main__":
    main()
