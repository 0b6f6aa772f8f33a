"""Functions with loops, for those who read code."""

from __future__ import annotations

import importlib.util


def looping(n):
    total = 0
    for i in range(n):
        for j in range(i):
            if j == 3:
                continue
            total += i * j
    return total


def spinning(n):
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
        if steps > 500:
            break
    return steps


def matrix(a):
    out = 0.0
    for row in a:
        for value in row:
            out += value * value
    return out


def while_else(n):
    while n > 3:
        n -= 1
    else:
        n = n * 10
    while True:
        n -= 7
        if n < 0:
            return n


def inner(i):
    out = 0
    while i > 0:
        out += i
        i -= 2
    return out


def layers(x):
    for k in range(3):
        x = x * 2 + k
    return x


def newton(x):
    guess, step = x, 0
    while step < 4:
        guess = 0.5 * (guess + (x + 1) / (guess + 1))
        step += 1
    return guess


def scan_free(x):
    out = x
    for scale in (1.0, 2.0):
        for shift in range(2):
            out = out * scale + shift
    return out


def checked(values: list[int]) -> int:
    total = 0
    for value in values:
        total += value
    return total


def guarded(values: list[int]) -> int:
    total = 0
    for value in values:
        total += value
    return total


def summed(n: int) -> int:
    total = 0
    while n > 0:
        total += n
        n -= 1
    return total


if importlib.util.find_spec("pydantic") and importlib.util.find_spec("attrs"):
    import attrs
    import pydantic

    class Account(pydantic.BaseModel):
        name: str
        values: list[int]

        @pydantic.field_validator("values")
        @classmethod
        def order(cls, values):
            for value in values:
                if value < 0:
                    raise ValueError(f"{value} is negative")
            return sorted(values)

        @pydantic.model_validator(mode="after")
        def named(self):
            for letter in self.name:
                assert letter
            return self

    @attrs.define
    class Point:
        x: int
        rest: list = attrs.field()

        @rest.validator
        def positive(self, attribute, values):
            for value in values:
                if value < 0:
                    raise ValueError(value)
