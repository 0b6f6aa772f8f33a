import random

from lib import counters


class Model:
    created = 0
    registry = {}

    def __init__(self, size):
        type(self).created += 1
        self.weights = [random.random() for _ in range(size)]
        self.registry[Model.created] = self

    def mutate(self, rate):
        counters.count("mutate")
        child = Model(len(self.weights))
        child.weights = [w + random.gauss(0, rate) for w in self.weights]
        return child

    def score(self):
        counters.count("score")
        return -sum((w - n / 10) ** 2 for n, w in enumerate(self.weights))
