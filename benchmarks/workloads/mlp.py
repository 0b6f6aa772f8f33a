"""A multi-layer perceptron on handwritten digits, with Adam."""

from __future__ import annotations

import argparse

import torch
from data import digits
from saving import WAYS, finish, save
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--save", choices=WAYS, default="none")
options = parser.parse_args()

torch.set_num_threads(options.threads)
torch.manual_seed(0)
images, labels = digits(copies=8)
model = nn.Sequential(
    nn.Flatten(),
    nn.Linear(64, 512),
    nn.ReLU(),
    nn.Dropout(0.2),
    nn.Linear(512, 512),
    nn.ReLU(),
    nn.Linear(512, 10),
)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.5)
batches = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(images, labels), batch_size=64, shuffle=True
)

for epoch in range(options.epochs):
    total = 0.0
    for x, y in batches:
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    schedule.step()
    mean = total / len(batches)
    print(f"epoch {epoch} loss {mean:.6f}")
    save(options.save, epoch, model, optimizer)
finish()
