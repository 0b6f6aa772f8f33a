"""Say how what loops told under one engine differs from what they told under another."""

from __future__ import annotations

from collections import Counter

_BEGINNING = ("enter", "boundary")


def watched(events, *outcomes):
    """Return the events of loops that no engine leaves alone."""
    alone = frozenset().union(*(outcome.left_alone for outcome in outcomes))
    return [event for event in events if event[1] not in alone]


def in_order(events):
    """Return the events with ends that follow upon each other in a fixed order.

    When a loop lets a suspended generator go, the loops of the generator end as well: of two such
    ends, one comes first in one engine and the other in another.
    """
    ordered, ends = [], []
    for event in events:
        if event[0] in _BEGINNING:
            ordered += [*sorted(ends), event]
            ends = []
        else:
            ends.append(event)
    return ordered + sorted(ends)


def without_unseen(events, seen):
    """Return the events without the ends that a tracer cannot see.

    From Python 3.13 on, a generator that is suspended outside of any ``try`` ends without a trace
    event when it is closed.
    """
    missing = Counter(events) - Counter(seen)
    kept = []
    for event in events:
        if event[0] == "left" and missing[event]:
            missing[event] -= 1
        else:
            kept.append(event)
    return kept


def as_left(events):
    """Return the events with exits by exception taken for other exits."""
    return [("left" if how == "raised" else how, *rest) for how, *rest in events]


def loosely(events):
    """Return the events as the Python twin can tell them.

    Its frames are in tracebacks, which keep its loops for longer, and it cannot always tell the
    exits by exception from others.
    """
    begun = [event for event in events if event[0] in _BEGINNING]
    return begun, Counter(as_left(events))
