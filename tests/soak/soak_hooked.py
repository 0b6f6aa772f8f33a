"""A module whose types an import hook checks."""


def total(values: list[int]) -> int:
    out = 0
    for value in values:
        out += value
    return out
