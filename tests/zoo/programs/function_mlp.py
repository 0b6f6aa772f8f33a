"""The plainest script there is: functions, a loader that shuffles, no seed."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make_data():
    x = torch.randn(256, 8)
    y = (x[:, 0] * x[:, 1] > 0).long()
    return TensorDataset(x, y)


def make_model():
    return nn.Sequential(
        nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 2)
    )


def train_one_epoch(model, loader, optimizer, criterion):
    model.train()
    total, count = 0.0, 0
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(x)
        count += len(x)
    return total / count


@torch.no_grad()
def evaluate(model, dataset):
    model.eval()
    x, y = dataset.tensors
    return (model(x).argmax(1) == y).float().mean().item()


dataset = make_data()
loader = DataLoader(dataset, batch_size=32, shuffle=True)
model = make_model()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
criterion = nn.CrossEntropyLoss()

for epoch in range(8):
    loss = train_one_epoch(model, loader, optimizer, criterion)
    accuracy = evaluate(model, dataset)
    print(f"epoch {epoch} loss {loss!r} accuracy {accuracy:.4f}")

print("done", sum(p.abs().sum().item() for p in model.parameters()))
