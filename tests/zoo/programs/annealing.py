"""Simulated annealing for the travelling salesman, with the `random` module."""

import math
import random

random.seed(20)
cities = [(random.random(), random.random()) for _ in range(40)]


def length(tour):
    total = 0.0
    for a, b in zip(tour, tour[1:] + tour[:1]):
        total += math.dist(cities[a], cities[b])
    return total


def neighbour(tour):
    i, j = sorted(random.sample(range(len(tour)), 2))
    return tour[:i] + tour[i : j + 1][::-1] + tour[j + 1 :]


tour = list(range(len(cities)))
random.shuffle(tour)
best, best_length = tour, length(tour)
temperature = 1.0
round_number = 0
while temperature > 0.02:
    accepted = 0
    for _ in range(150):
        candidate = neighbour(tour)
        change = length(candidate) - length(tour)
        if change < 0 or random.random() < math.exp(-change / temperature):
            tour = candidate
            accepted += 1
            if length(tour) < best_length:
                best, best_length = tour, length(tour)
    temperature *= 0.7
    round_number += 1
    print(f"round {round_number}: T={temperature:.4f} accepted={accepted} best={best_length:.6f}")

print("tour", best)
