"""Softmax regression on bags of words, with nothing but numpy, in one flat script."""

import sys

import numpy as np

epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
lr = 0.5

sentences = [
    ("the red apple is sweet", "fruit"),
    ("a ripe pear and a green apple", "fruit"),
    ("sweet grapes and ripe plums", "fruit"),
    ("the fast train leaves the station", "travel"),
    ("a slow boat crosses the river", "travel"),
    ("the bus and the train are late", "travel"),
    ("rain and wind over the river", "weather"),
    ("a cold wind and a grey sky", "weather"),
    ("the sun warms the grey station", "weather"),
]

vocabulary = set()
for text, _ in sentences:
    for word in text.split():
        vocabulary.add(word)
labels = sorted({label for _, label in sentences})

# The order in which a set gives its words is the order of the columns.
columns = {}
for word in vocabulary:
    columns[word] = len(columns)

x = np.zeros((len(sentences), len(columns)))
y = np.zeros(len(sentences), dtype=int)
for row, (text, label) in enumerate(sentences):
    for word in text.split():
        x[row, columns[word]] += 1.0
    y[row] = labels.index(label)

weights = np.random.normal(scale=0.1, size=(len(columns), len(labels)))
velocity = np.zeros_like(weights)
history = []

for epoch in range(epochs):
    order = np.random.permutation(len(x))
    total = 0.0
    for i in order:
        scores = x[i] @ weights
        scores -= scores.max()
        p = np.exp(scores) / np.exp(scores).sum()
        total -= np.log(p[y[i]])
        p[y[i]] -= 1.0
        velocity = 0.8 * velocity - lr * np.outer(x[i], p)
        weights = weights + velocity * np.random.binomial(1, 0.9, size=weights.shape)
    loss = total / len(x)
    accuracy = float((np.argmax(x @ weights, axis=1) == y).mean())
    history.append(loss)
    lr *= 0.97
    if epoch % 5 == 4:
        print(f"epoch {epoch}: loss {loss:.4f}, accuracy {accuracy:.3f}")

print("lowest loss", round(min(history), 4), "first words", list(columns)[:3])
