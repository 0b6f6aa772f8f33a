"""Trains, and then falls over a mistake in the report."""

import numpy as np

np.random.seed(4)
weights = np.random.rand(40, 40)
history = {}

for epoch in range(9):
    weights = np.tanh(weights @ weights.T / 20 + 0.1 * np.random.rand(40, 40))
    history[epoch] = {
        "norm": float(np.linalg.norm(weights)),
        "rank": int(np.linalg.matrix_rank(weights)),
    }
    print(f"epoch {epoch}: {history[epoch]}")

print("final", history[8]["norm"])
print("worst", history["worst"])
