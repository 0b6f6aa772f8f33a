"""Random programs that keep state in many ways, and what a probe must find in them."""

from __future__ import annotations

import random
import textwrap
from dataclasses import dataclass

#: What is done once before the loop, what in each iteration, and what a probe looks at.
FEATURES: dict[str, tuple[str, str, str]] = {
    "array": ("w = np.zeros(50)", "w += np.random.standard_normal(50)", "w.tolist()"),
    "view": (
        "base = np.arange(40.0)\nview = base[5:20:3]",
        "view *= 1.01\nbase[epoch % 40] += random.random()",
        "(base.tolist(), view.tolist())",
    ),
    "list": ("xs = []", "xs.append(random.random())", "xs"),
    "alias": ("one = [[], {}]\nother = one[0]", "other.append(len(one[0]))", "(one, other)"),
    "rebound": ("text = ''", "text = text + chr(97 + random.randrange(26))", "text"),
    "dict": (
        "table = {}",
        "table[random.randrange(6)] = epoch\nif len(table) > 4:\n    table.pop(next(iter(table)))",
        "list(table.items())",
    ),
    # Made anew: the table of a set that had elements removed grows as nobody could foresee.
    "set": (
        "seen = set()",
        "seen = set(sorted(seen ^ {random.randrange(9), epoch % 4}))",
        "list(seen)",
    ),
    "deque": (
        "window = collections.deque(maxlen=4)",
        "window.append(random.random())\nwindow.rotate(1)",
        "list(window)",
    ),
    "own generators": (
        "dice = random.Random(5)\nrng = np.random.default_rng(7)",
        "rolled = (dice.random(), rng.random())",
        "rolled",
    ),
    "gauss": ("drawn = []", "drawn.append(random.gauss(0, 1))", "drawn"),
    "object": (
        "net = Net()",
        "net.step(random.random())",
        "(net.total, net.history, net.me is net)",
    ),
    "class attribute": ("", "Net.made += epoch + 1", "Net.made"),
    "new class attribute": (
        "",
        "Plain.last = [epoch, getattr(Plain, 'last', None)][:epoch % 4 + 1]",
        "getattr(Plain, 'last', None)",
    ),
    "default": ("", "kept = remember(epoch)", "(kept, remember(None))"),
    "default of a method": ("", "kin = Plain().gather(epoch)", "(kin, list(Plain.__dict__))"),
    "function attribute": (
        "",
        "remember.calls = getattr(remember, 'calls', 0) + epoch",
        "getattr(remember, 'calls', None)",
    ),
    "generator": ("stream = numbers(3)", "got = next(stream)", "got"),
    "iterator": ("letters = itertools.cycle('abcde')", "letter = next(letters)", "letter"),
    "consumed": ("left = iter(range(100, 200, 3))", "taken = [next(left), next(left)]", "taken"),
    "closure": ("bump, peek = counter()", "bump(epoch)", "peek()"),
    "inner loop": (
        "acc = 0.0",
        "for k in range(epoch % 4 + 1):\n    acc += random.random() * k",
        "acc",
    ),
    "comes and goes": (
        "extra = None",
        "extra = None if epoch % 3 else {'at': epoch, 'value': [random.random()]}",
        "extra",
    ),
    "matrix": (
        "m = np.eye(6)",
        "m = np.round(m @ np.diag(np.random.random(6)) + 0.1, 6)",
        "m.tolist()",
    ),
    "early and late": (
        "best = None\nbests = []",
        "score = random.random()\n"
        "if best is None or score > best:\n    best = score\n    bests = [*bests, epoch]",
        "(best, bests)",
    ),
    "large": ("big = list(range(400))", "big[random.randrange(400)] = -epoch", "big"),
    "ring": ("ring = [1]\nring.append(ring)", "ring[0] += epoch", "(ring[0], ring[1] is ring)"),
    "shared": (
        "params = [np.ones(8), np.ones(8)]\ngroups = {'a': params, 'b': params[1:]}",
        "groups['b'][0][...] *= 1 + random.random()",
        "(params[1].tolist(), groups['b'][0] is params[1])",
    ),
    "masked": (
        "field = np.zeros(30, dtype=np.int16)",
        "field[np.random.randint(0, 30, 4)] += epoch",
        "field.tolist()",
    ),
}

HEAD = """
import collections, itertools, random, time, zlib
import numpy as np

random.seed({seed})
np.random.seed({seed})


class Net:
    made = 0

    def __init__(self):
        self.total, self.history, self.me = 0.0, [], self

    def step(self, x):
        self.total += x
        self.history = [*self.history[-3:], self.total]


class Plain:
    def gather(self, x, *, seen=[]):
        seen.append(x)
        return seen[-2:]


def remember(x, seen=[]):
    if x is not None:
        seen.append(x)
    return len(seen), seen[-3:]


def numbers(start):
    while True:
        start = start * 3 % 1009 + random.randrange(5)
        yield start


def counter():
    held = [0, 0]

    def bump(n):
        held[0] += n
        held[1] = held[1] * 31 % 997 + 1

    return bump, lambda: list(held)

"""

LOOPS = {
    "for": "for epoch in range({n}):\n{body}",
    "list": "for epoch in list(range({n})):\n{body}",
    "while": "epoch = 0\nwhile epoch < {n}:\n{body}\n    epoch += 1",
    "forever": "epoch = -1\nwhile True:\n    epoch += 1\n{body}\n"
    "    if epoch == {last}:\n        break",
    "break": "for epoch in itertools.count():\n{body}\n    if epoch == {last}:\n        break",
    "drawn": "for epoch, drawn_number in enumerate(itertools.islice(numbers(2), {n})):\n{body}",
}


@dataclass(frozen=True)
class Program:
    """A program, the same with the probe written in, and the probe."""

    text: str
    truth: str
    probe: str
    iterations: int
    told: str  #: what is in it


def program(seed: int) -> Program:
    """The program of a seed."""
    draw = random.Random(seed)
    names = draw.sample(sorted(FEATURES), draw.randint(3, 7))
    kind, count = draw.choice(sorted(LOOPS)), draw.randint(5, 12)
    setup = "\n".join(FEATURES[name][0] for name in names)
    steps = [_guarded(draw, FEATURES[name][1]) for name in names]
    looked = f"repr([{', '.join(FEATURES[name][2] for name in names)}])"
    # All of it counts, and the end can be read.
    probe = f"str(zlib.crc32({looked}.encode())) + {looked}[-200:]"
    body = "\n".join(["time.sleep(0.002)", *steps])
    texts = []
    for extra in ("", f"\nprint('PROBE', {probe})"):
        looped = LOOPS[kind].format(
            n=count, last=count - 1, body=textwrap.indent(body + extra, "    ")
        )
        if kind in ("while", "forever", "break") and extra:
            looped = _at_the_end(looped, extra)
        texts.append(f"{setup}\n{looped}\n")
    inside = draw.random() < 0.5
    whole = [HEAD.format(seed=seed) + (_in_function(text) if inside else text) for text in texts]
    told = f"seed {seed}: {kind} {count}, {', '.join(names)}{', in a function' if inside else ''}"
    return Program(whole[0], whole[1], probe, count, told)


def _guarded(draw: random.Random, step: str) -> str:
    """The step, perhaps only in some iterations."""
    if draw.random() < 0.75 or step.split(" = ")[0].isidentifier():
        return step
    return f"if epoch % 3 == {draw.randrange(3)}:\n{textwrap.indent(step, '    ')}"


def _at_the_end(looped: str, extra: str) -> str:
    """Ask after the last statement of the body, but before a ``break``."""
    line = textwrap.indent(extra.strip(), "    ")
    without = looped.replace("\n" + line, "", 1)
    if "        break" in without:
        return without.replace("    if epoch ==", f"{line}\n    if epoch ==", 1)
    return f"{without}\n{line}"


def _in_function(text: str) -> str:
    return f"def main():\n{textwrap.indent(text, '    ')}\nmain()\n"
