"""Loops driven by hand, under a clock that only goes when it is told to."""

from __future__ import annotations

from flor_trace import _speedups
from flor_trace._speedups import UNBOUND, Site
from flor_trace.runtime.nest import Loop, Nest, outer_values, target_value
from flor_trace.types import LoopInfo

FOR, WHILE = 0, 1


def info(dimension="i", *, kind="for", line=1, stores=(), qualname="<module>", targets=None):
    names = (dimension,) if kind == "for" else ()
    targets = names if targets is None else targets
    return LoopInfo(
        module="train.py",
        qualname=qualname,
        ordinal=line,
        kind=kind,
        span=(line, line + 1, 0, 4),
        header=f"{kind} {dimension}",
        targets=targets,
        dimension=dimension,
        stores=(*targets, *stores),
        own_stores=(*targets, *stores),
    )


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Observer:
    """Writes down what it hears of."""

    def __init__(self):
        self.events = []
        self.instances = []
        self.on_event = lambda what: None

    def note(self, *event):
        self.events.append(event)
        self.on_event(event[0])

    def entered(self, instance, li):
        self.instances.append(instance)
        outer = tuple((o.dimension, o.iteration) for o in instance.outer)
        self.note("entered", instance.dimension, instance.nth, outer)

    def watching(self, instance):
        self.note("watching", instance.dimension)

    def iteration_over(self, instance, li, iteration):
        values = li.lookup(instance.loop.names)
        outer = tuple(o.iteration for o in instance.outer)
        held = tuple("-" if v is UNBOUND else v for v in values)
        self.note("over", instance.dimension, (*outer, iteration), held)

    def boundary(self, instance, li, k):
        self.note("boundary", instance.dimension, k)

    def left(self, instance, li, how):
        self.note("left", instance.dimension, li.n, how)

    def gave_up(self, instance, why):
        self.note("gave up", instance.dimension, why)

    def all(self, kind):
        return [event[1:] for event in self.events if event[0] == kind]


class Values(Observer):
    """Also keeps what the targets hold at the end of each iteration."""

    def __init__(self):
        super().__init__()
        self.targets = []

    def iteration_over(self, instance, li, iteration):
        super().iteration_over(instance, li, iteration)
        self.targets.append((*outer_values(instance), target_value(instance, li)))


class Tracing:
    def __init__(self, clock):
        self.clock = clock
        self.nest = None
        self.observer = None

    def __call__(self, *, probing=False, observer=None):
        self.observer = Observer() if observer is None else observer
        self.nest = Nest(self.observer, probing=probing)
        _speedups.set_handler(self.nest.boundary, self.nest.leave)
        return self.observer


def site(dimension="i", *, watched=True, **facts):
    what = info(dimension, **facts)
    return Site(Loop(what, what.own_stores, watched=watched), FOR if what.kind == "for" else WHILE)
