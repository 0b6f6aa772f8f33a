"""Saves the best weights to a file and reads them back: files are not part of the state."""

import time

import numpy as np

rng = np.random.default_rng(2)
weights, best = np.zeros(5), np.inf

for epoch in range(8):
    time.sleep(0.01)
    weights = weights + 0.2 + 0.01 * rng.random(5)
    score = float(np.abs(weights - 2).sum())
    if score < best:
        best = score
        np.save("best.npy", weights)
    print(f"epoch {epoch} score {score!r} best {best!r}")

print("restored", np.load("best.npy").tolist())
