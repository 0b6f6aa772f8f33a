"""A network from scratch: arrays, momentum, minibatches from numpy's global generator."""

import numpy as np

np.random.seed(1234)
x = np.random.randn(300, 10)
labels = (x[:, :3].sum(axis=1) > 0).astype(int) + (x[:, 3] > 1)
targets = np.eye(3)[labels]
parameters = {
    "w1": np.random.randn(10, 24) * 0.3,
    "b1": np.zeros(24),
    "w2": np.random.randn(24, 3) * 0.3,
    "b2": np.zeros(3),
}
velocity = {name: np.zeros_like(value) for name, value in parameters.items()}


def forward(batch):
    hidden = np.maximum(batch @ parameters["w1"] + parameters["b1"], 0)
    logits = hidden @ parameters["w2"] + parameters["b2"]
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    return hidden, exp / exp.sum(axis=1, keepdims=True)


def backward(batch, target, hidden, probabilities):
    delta = (probabilities - target) / len(batch)
    below = (delta @ parameters["w2"].T) * (hidden > 0)
    return {
        "w1": batch.T @ below,
        "b1": below.sum(axis=0),
        "w2": hidden.T @ delta,
        "b2": delta.sum(axis=0),
    }


learning_rate = 0.3
for epoch in range(12):
    permutation = np.random.permutation(len(x))
    for start in range(0, len(x), 30):
        batch = permutation[start : start + 30]
        hidden, probabilities = forward(x[batch])
        for name, gradient in backward(x[batch], targets[batch], hidden, probabilities).items():
            velocity[name] = 0.9 * velocity[name] - learning_rate * gradient
            parameters[name] += velocity[name]
    _, probabilities = forward(x)
    loss = -np.log((probabilities * targets).sum(axis=1) + 1e-12).mean()
    accuracy = (probabilities.argmax(axis=1) == labels).mean()
    learning_rate *= 0.95
    print(f"epoch {epoch} loss {loss!r} accuracy {accuracy:.4f}")

np.set_printoptions(precision=6)
print(parameters["b2"])
