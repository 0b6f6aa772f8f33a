"""Learn scikit-learn's digits in minibatches with an estimator that can be continued."""

import argparse
import json

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler


class Experiment:
    def __init__(self, args):
        digits = load_digits()
        rows = np.random.permutation(len(digits.data))
        split = int(0.8 * len(rows))
        self.scaler = StandardScaler().fit(digits.data[rows[:split]])
        self.x = self.scaler.transform(digits.data[rows[:split]])
        self.y = digits.target[rows[:split]]
        self.test_x = self.scaler.transform(digits.data[rows[split:]])
        self.test_y = digits.target[rows[split:]]
        self.model = SGDClassifier(loss="log_loss", alpha=args.alpha)
        self.rng = np.random.default_rng()
        self.batch = args.batch
        self.history = {"loss": [], "score": []}

    def epoch(self):
        order = self.rng.permutation(len(self.x))
        for start in range(0, len(order), self.batch):
            chosen = order[start : start + self.batch]
            self.model.partial_fit(self.x[chosen], self.y[chosen], classes=np.arange(10))
        loss = log_loss(self.test_y, self.model.predict_proba(self.test_x))
        score = self.model.score(self.test_x, self.test_y)
        self.history["loss"].append(loss)
        self.history["score"].append(score)
        return loss, score


parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=6)
parser.add_argument("--alpha", type=float, default=1e-4)
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--history", default="history.json")

if __name__ == "__main__":
    args = parser.parse_args()
    experiment = Experiment(args)
    for epoch in range(args.epochs):
        loss, score = experiment.epoch()
        print(f"epoch {epoch}: loss {loss:.4f}, score {score:.4f}")
        with open(args.history, "w") as file:
            json.dump(experiment.history, file)
