"""A config dataclass, an enum that picks the method, argparse and main()."""

import argparse
import enum
from dataclasses import asdict, dataclass, field, replace

import numpy as np


class Method(enum.Enum):
    SGD = "sgd"
    ADAM = "adam"
    SIGN = "sign"


@dataclass(frozen=True)
class Config:
    method: Method = Method.SGD
    lr: float = 0.1
    epochs: int = 10
    betas: tuple = (0.9, 0.99)


@dataclass
class State:
    weights: np.ndarray
    m: np.ndarray
    v: np.ndarray
    steps: int = 0
    trail: list = field(default_factory=list)


def update(config, state, gradient):
    state.steps += 1
    b1, b2 = config.betas
    state.m = b1 * state.m + (1 - b1) * gradient
    state.v = b2 * state.v + (1 - b2) * gradient**2
    match config.method:
        case Method.SGD:
            change = gradient
        case Method.ADAM:
            change = (
                state.m / (1 - b1**state.steps) / (np.sqrt(state.v / (1 - b2**state.steps)) + 1e-8)
            )
        case Method.SIGN:
            change = np.sign(state.m)
    state.weights = state.weights - config.lr * change


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--method", type=Method, default=Method.ADAM)
    parser.add_argument("--lr", type=float, default=0.05)
    args = parser.parse_args()
    config = Config(args.method, args.lr)
    rng = np.random.default_rng(17)
    x = rng.normal(size=(80, 5))
    y = x @ np.arange(5.0)
    state = State(np.zeros(5), np.zeros(5), np.zeros(5))
    for epoch in range(config.epochs):
        if epoch == 6:
            config = replace(config, method=Method.SIGN, lr=config.lr / 5)
        for rows in np.array_split(rng.permutation(80), 4):
            error = x[rows] @ state.weights - y[rows]
            update(config, state, x[rows].T @ error / len(rows))
        state.trail.append(float((error**2).mean()))
        print(f"epoch {epoch} {config.method.name} {state.trail[-1]!r}")
    print(asdict(config)["betas"], state.steps, state.weights.round(6).tolist())


if __name__ == "__main__":
    main()
