"""Thompson sampling with a `random.Random` of its own; ends with an exit status."""

import random
import sys
from collections import Counter, defaultdict


class Arm:
    __slots__ = ("losses", "probability", "wins")

    def __init__(self, probability):
        self.probability = probability
        self.wins = self.losses = 1

    def draw(self, rng):
        return rng.betavariate(self.wins, self.losses)


rng = random.Random(99)
arms = [Arm(p) for p in (0.2, 0.5, 0.55, 0.7)]
chosen, regret = Counter(), defaultdict(float)

for day in range(20):
    for _ in range(60):
        best = max(range(len(arms)), key=lambda n: arms[n].draw(rng))
        arm = arms[best]
        if rng.random() < arm.probability:
            arm.wins += 1
        else:
            arm.losses += 1
        chosen[best] += 1
        regret[day] += 0.7 - arm.probability
    print(f"day {day}: {dict(sorted(chosen.items()))} regret {regret[day]:.4f}")

print("total regret", sum(regret.values()))
sys.exit(3)
