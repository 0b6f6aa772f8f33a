"""A large frozen transformer with a small head that is trained on handwritten digits."""

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
parser.add_argument("--layers", type=int, default=12)
parser.add_argument("--width", type=int, default=512)
options = parser.parse_args()

torch.set_num_threads(options.threads)
torch.manual_seed(0)
images, labels = digits(copies=1)
order = torch.randperm(len(images))[:128]
images, labels = images[order], labels[order]


class Classifier(nn.Module):
    """Rows of an image go through the backbone; the head sees their mean."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        block = nn.TransformerEncoderLayer(width, 8, 4 * width, dropout=0.0, batch_first=True)
        self.backbone = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.Linear(width, 256), nn.Tanh(), nn.Linear(256, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a score for each digit."""
        with torch.no_grad():
            seen = self.backbone(self.embed(x)).mean(1)
        scores: torch.Tensor = self.head(seen)
        return scores


model = Classifier(options.width, options.layers)
for part in (model.embed, model.backbone):
    part.requires_grad_(False)
optimizer = torch.optim.AdamW(model.head.parameters(), lr=1e-3)
for epoch in range(options.epochs):
    for chosen in torch.randperm(len(images)).split(32):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images[chosen]), labels[chosen])
        loss.backward()
        optimizer.step()
    last = loss.item()
    print(f"epoch {epoch} loss {last:.6f}")
    save(options.save, epoch, model, optimizer)
finish()
