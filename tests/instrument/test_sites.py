"""Rewritten code bound to the product's own sites, the C or the Python ones."""

from __future__ import annotations

import pytest
from instrument_programs import PROGRAMS
from instrument_recorder import Recorder, compiled
from instrument_traced import traced

from flor_trace._speedups import NATIVE, Site, set_handler


class Sites(Recorder):
    """Hooks with real sites, told by the handler."""

    def __init__(self):
        super().__init__()
        self.number = {}

    def site(self, loop):
        return Site(self.number.setdefault(loop.key, loop.key), 0 if loop.kind == "for" else 1)

    def boundary(self, loop):
        self.events.append((".", loop.site.info))

    def leave(self, loop, how):
        self.events.append(("=" if how == "exhausted" else "-", loop.site.info))


def expected_of(events):
    """Sites tell boundaries: one more than iterations, where the loop runs out; no entries."""
    told = []
    for event in events.split():
        sign, loop = event[0], event[1:]
        told += [] if sign == "+" else [f".{loop}", event] if sign == "=" else [event]
    return " ".join(told)


@pytest.mark.parametrize("name", PROGRAMS)
def test_sites_hear_of_every_boundary_and_end(name):
    source, expected = PROGRAMS[name]
    hooks = Sites()
    code, info = compiled(source, hooks)
    set_handler(hooks.boundary, hooks.leave)
    try:
        exec(code, {})
    finally:
        set_handler(None, None)
    number = {loop.key: k for k, loop in enumerate(info.loops)}
    told = " ".join(f"{sign}{number[key]}" for sign, key in hooks.events)
    if name == "a closed generator":
        told = told.replace("-0 -1", "-1 -0")  # as in test_programs
    assert told == expected_of(expected)


@pytest.mark.native
@pytest.mark.parametrize("name", PROGRAMS)
def test_with_native_sites_a_tracer_sees_the_plain_program(name):
    if not NATIVE:
        pytest.skip("the Python twins have frames and raise StopIteration")
    source, _ = PROGRAMS[name]
    hooks = Sites()
    code, _ = compiled(source, hooks)
    plain = compile(source, "<program>", "exec", dont_inherit=True)
    set_handler(hooks.boundary, hooks.leave)
    try:
        seen = traced(code, python_sites=False)
    finally:
        set_handler(None, None)
    assert seen == traced(plain, python_sites=False)
