"""The loops that are measured; the same source is also loaded rewritten."""

from __future__ import annotations

ONE = [0]


def count(n):
    for _ in range(n):
        pass


def items(values):
    for value in values:
        kept = value
    return kept


def while_loop(n):
    i = 0
    while i < n:
        i += 1


def enter_for():
    for _ in ONE:
        pass


def enter_while():
    i = 1
    while i:
        i = 0
