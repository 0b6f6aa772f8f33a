"""No seed anywhere: random, numpy, torch, and the order of a set of strings."""

import random

import numpy as np
import torch

words = {"alpha", "beta", "gamma", "delta", "epsilon", "zeta"}
table = torch.nn.Embedding(len(words), 4)
order = {word: n for n, word in enumerate(words)}
optimizer = torch.optim.SGD(table.parameters(), lr=0.5)
seen = set()

for epoch in range(8):
    word = random.choice(sorted(words))
    seen.add(word)
    noise = torch.from_numpy(np.random.randn(4).astype("float32"))
    out = torch.dropout(table.weight, 0.3, True)
    loss = (out[order[word]] - noise).square().sum() + 0.1 * out.square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"epoch {epoch} {word} {list(seen)} {loss.item()!r}")

print(order, table.weight.sum().item())
