# ruff: noqa: B007
"""A program written as rewritten code is, a keeper that knows its states, and a follower."""

from __future__ import annotations

from replay_helpers import checkpoint, enter, header, info, leave, loop, module, recorded, rows

from flor_trace import _speedups
from flor_trace._speedups import Site, running
from flor_trace.replay.asking import Asker
from flor_trace.replay.follower import Follower
from flor_trace.replay.plan import make_plan
from flor_trace.replay.probes import Probe
from flor_trace.replay.resolve import Place
from flor_trace.replay.verdicts import Verdicts
from flor_trace.runtime.nest import Loop, Nest
from flor_trace.store.memory import MemoryStore

STORES = ("total",)
FOR = info("i", stores=STORES)
WHILE = info("i", kind="while", stores=("i", *STORES), targets=())
INNER = info("j", ordinal=1, line=12)


class Finished(BaseException):
    """What ends a replay: nothing of the program may catch it."""


class Program:
    """Sums up its items; the list ``world`` is state that everybody sees."""

    def __init__(self, kind, *, broken=False):
        self.kind = kind
        self.world = []
        self.executed = []
        self.broken = broken  #: does not do again what it did
        self.sites = {}

    def run(self, count, control):
        self.world.clear()
        run = self.for_loop if self.kind == "for" else self.while_loop
        return run(count, control)

    def body(self, i):
        self.executed.append(i)
        self.world.append(i * 2 + (self.broken and i >= 3))

    def for_loop(self, count, control):
        total = 0
        for i in self.sites["for"][range(count)]:
            if control.due():
                if control.unbound("i"):
                    del i
                else:
                    i = control.value("i")
                if control.unbound("total"):
                    del total
                else:
                    total = control.value("total")
                if control.skip():
                    continue
            self.body(i)
            for j in self.sites["inner"][range(2)]:
                total += i
        return total

    def while_loop(self, count, control):
        i = total = 0
        sentinel = iter(self.sites["while"])
        while i < count:
            ~sentinel  # noqa: B018 - how a pass is reported
            if control.due():
                if control.unbound("i"):
                    del i
                else:
                    i = control.value("i")
                if control.unbound("total"):
                    del total
                else:
                    total = control.value("total")
                if control.skip():
                    continue
            self.body(i)
            for j in self.sites["inner"][range(2)]:
                total += i
            i += 1
        -sentinel  # noqa: B018
        return total


def totals(i):
    """What ``total`` holds after iteration `i`."""
    return sum(range(i + 1)) * 2


class Keeper:
    """Puts states in place and compares with them, by knowing what they must be."""

    def __init__(self, program):
        self.program = program
        self.restored = []

    def world(self, boundary):
        return [i * 2 for i in range(boundary)]

    def names(self, boundary):
        names = {"i": boundary if self.program.kind == "while" else boundary - 1}
        if boundary == 0 and self.program.kind == "for":
            del names["i"]
        names["total"] = totals(boundary - 1)
        return names

    def restore(self, state):
        self.restored.append(state.boundary)
        self.program.world[:] = self.world(state.boundary)
        return self.names(state.boundary)

    def differences(self, state, *, but_locals=False):
        found = []
        if self.program.world != self.world(state.boundary):
            found.append(f"world is {self.program.world}")
        if not but_locals:
            live = running()[0].locals()
            for name, value in self.names(state.boundary).items():
                if live.get(name) != value:
                    found.append(f"{name} is {live.get(name)}, not {value}")
        return found

    def fingerprint(self):
        return {"global:world": bytes(self.program.world)}


def recording(kind, count, states, *, logged=True):
    what = FOR if kind == "for" else WHILE
    after = [k + (kind == "while") for k in range(count)]
    cols = {"i": after, "total": [totals(k) for k in range(count)]} if logged else {}
    return recorded(
        header(), module(what, INNER), loop(0, what), loop(1, INNER), enter(0),
        *(checkpoint(0, b) for b in sorted(states)),
        *(rows(1, [0, 1], outer=[[0, k, k]]) for k in range(count)),
        rows(0, after, cols), leave(0, count),
    )  # fmt: skip


class Replay:
    """Everything about one replay of `Program`."""

    def __init__(self, kind, count, states, wanted, *, when="end", text=None, broken=False,
                 logged=True, avoid=()):  # fmt: skip
        self.program = Program(kind, broken=broken)
        self.run = recording(kind, count, states, logged=logged)
        self.kind, self.count = kind, count
        what = FOR if kind == "for" else WHILE
        self.stage = self.run.outermost[0]
        text = text or "(total, len(world), i)"
        probe = Probe("p", "expression", text, start=when == "start")
        place = Place(probe, INNER if when == "inner" else what, self.stage)
        self.plan = make_plan(self.stage, wanted, inner=place.inner, start=probe.start, avoid=avoid)
        self.frames = []
        self.complete = None
        numbers = {(what.key, "i", 0): 0, (INNER.key, "j", 0): 1}
        self.verdicts = Verdicts(self.run, numbers, self.frames.append)
        self.keeper = Keeper(self.program)
        self.store = MemoryStore()
        asker = Asker(
            place, wanted, self.identify, self.store, self.keeper.fingerprint, self.verdicts.hold
        )
        self.follower = Follower(
            self.run, self.plan, self.keeper, asker, self.verdicts, self.finish
        )
        self.nest = Nest(self.follower, probing=False)
        for name, each, number in (("for", FOR, 0), ("while", WHILE, 1), ("inner", INNER, 0)):
            self.program.sites[name] = Site(Loop(each, each.own_stores, watched=True), number)

    def identify(self, instance):
        return 1 if instance.loop.info is INNER else 0

    def finish(self, *, complete):
        if self.complete is None:
            self.complete = complete
            self.verdicts.close()
        raise Finished

    def leave(self, li, how):
        try:
            self.nest.leave(li, how)
        except Finished:  # the interpreter could not raise it from here
            pass

    def go(self):
        """Run it; the frames of the values in the order in which they came."""
        globals()["world"] = self.program.world
        _speedups.set_handler(self.nest.boundary, self.leave)
        try:
            self.program.run(self.count, self.follower)
        except Finished:
            pass
        finally:
            _speedups.set_handler(None, None)
        return self

    @property
    def answers(self):
        found = {}
        for frame in self.frames:
            key = tuple(iteration for _, iteration, _ in frame["coords"])
            assert key not in found, "asked twice"
            found[key] = frame["value"]
        return found

    def value(self, frame):
        array = frame["value"]
        assert array.get("$") == "ndarray", array
        import numpy as np

        return np.frombuffer(self.store.get(array["at"]), array["dtype"]).tolist()

    @property
    def values(self):
        return {
            tuple(iteration for _, iteration, _ in frame["coords"]): self.value(frame)
            for frame in self.frames
        }

    @property
    def given(self):
        return {frame["verdict"] for frame in self.frames}


def truth(kind, wanted, when):
    """What ``(total, len(world), i)`` is there in the program as it is."""
    if when == "start":
        return {(k,): [totals(k - 1), k, k] for k in wanted}
    if when == "end":
        return {(k,): [totals(k), k + 1, k + (kind == "while")] for k in wanted}
    return {(k, j): [totals(k - 1) + (j + 1) * k, k + 1, k] for k in wanted for j in range(2)}
