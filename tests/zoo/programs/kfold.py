"""Cross-validation: each fold makes its own model; what outlives a fold is a table of scores."""

import numpy as np
import torch
from torch import nn

rng = np.random.default_rng(77)
torch.manual_seed(77)
x = rng.normal(size=(90, 4)).astype(np.float32)
y = (x[:, 0] + x[:, 1] ** 2 > 0.5).astype(np.int64)
order = rng.permutation(len(x))
folds = np.array_split(order, 5)
scores = {}


def train(train_index, seed_offset):
    model = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    inputs, labels = torch.from_numpy(x[train_index]), torch.from_numpy(y[train_index])
    for _ in range(15):
        picked = torch.from_numpy(rng.choice(len(inputs), 32))
        loss = nn.functional.cross_entropy(model(inputs[picked]), labels[picked])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model, loss.item()


for fold, test_index in enumerate(folds):
    train_index = np.concatenate([f for k, f in enumerate(folds) if k != fold])
    model, loss = train(train_index, fold)
    with torch.no_grad():
        predicted = model(torch.from_numpy(x[test_index])).argmax(1).numpy()
    scores[fold] = {"accuracy": float((predicted == y[test_index]).mean()), "loss": loss}
    print(f"fold {fold}: {scores[fold]}")

accuracies = [score["accuracy"] for score in scores.values()]
print(f"mean {np.mean(accuracies)!r} std {np.std(accuracies)!r}")
