"""A Metropolis sampler with an adaptive step, in burn-in and sampling loops."""

import numpy as np


def log_density(point):
    x, y = point
    return -0.5 * (x**2 / 4 + (y - 0.3 * x**2) ** 2)


class Sampler:
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.point = np.zeros(2)
        self.scale = 1.0
        self.accepted = self.tried = 0

    def move(self):
        proposal = self.point + self.scale * self.rng.standard_normal(2)
        self.tried += 1
        if np.log(self.rng.random()) < log_density(proposal) - log_density(self.point):
            self.point = proposal
            self.accepted += 1
        return self.point


sampler = Sampler(8)
for block in range(6):
    sampler.accepted = sampler.tried = 0
    for _ in range(200):
        sampler.move()
    rate = sampler.accepted / sampler.tried
    sampler.scale *= np.exp(rate - 0.35)
    print(f"burn-in {block}: accepted {rate:.3f}, scale {sampler.scale!r}")

draws = np.zeros((8, 200, 2))
for chain in range(8):
    for n in range(200):
        draws[chain, n] = sampler.move()
    print(f"chain {chain}: mean {draws[chain].mean(axis=0)!r}")

print("overall", draws.reshape(-1, 2).mean(axis=0), draws.std())
