from __future__ import annotations

import ast
import sys

import pytest
from instrument_recorder import Recorder, compiled

from flor_trace.types import Controls, Spot

PROGRAM = '''\
seen = []

def train(n):
    """Docs."""
    total = 0
    for i in range(n):
        if i % 2:
            total += i
            continue
        while total > 3:
            total -= 2
        try:
            total += 1
        finally:
            last = i
    return total

result = train(6)
'''
#: The recorder of these tests knows the sites of `while` loops as one engine uses them.
SOURCES = {"bytecode": PROGRAM, "ast": PROGRAM.replace("while", "if")}


class Telling(Recorder):
    """Notes the line and the locals of every spot that the program comes to."""

    def __init__(self):
        super().__init__()
        self.told = []

    def spot(self, spot):
        def tell():
            frame = sys._getframe(2)
            self.told.append((spot.span[0], spot.before, dict(frame.f_locals)))

        return tell


def spans(source):
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)]
    return [(n.lineno, n.end_lineno, n.col_offset, n.end_col_offset) for n in found]


def run(spots, engine="bytecode"):
    hooks = Telling()
    controls = Controls(spots=frozenset(Spot("program.py", *spot) for spot in spots))
    code, info = compiled(SOURCES[engine], hooks, controls=controls, engine=engine)
    space = {}
    exec(code, space)
    return hooks, info, space


def test_a_spot_is_told_each_time_with_the_frame_as_it_is_there():
    line = next(s for s in spans(PROGRAM) if s[0] == 8)
    hooks, _, space = run([(line, True), (line, False)])
    assert [(before, names["i"], names["total"]) for _, before, names in hooks.told] == [
        (True, 1, 1), (False, 1, 2), (True, 3, 3), (False, 3, 6), (True, 5, 3), (False, 5, 8)
    ]  # fmt: skip
    assert space["result"] == 8


@pytest.mark.parametrize("engine", SOURCES)
def test_every_statement_can_be_asked_at_and_the_program_does_the_same(engine):
    plain = {}
    exec(SOURCES[engine], plain)
    for span in spans(SOURCES[engine]):
        for before in (True, False):
            hooks, info, space = run([(span, before)], engine)
            assert space["result"] == plain["result"]
            assert not info.left_alone
            # what stands after one of these is not come to
            assert hooks.told or (not before and span[0] in (9, 16))


def test_spots_of_other_modules_are_none_of_a_module():
    hooks = Recorder()
    elsewhere = Controls(spots=frozenset({Spot("other.py", (1, 1, 0, 9), True)}))
    code, _ = compiled(PROGRAM, hooks, controls=elsewhere)
    exec(code, {})


def test_a_module_without_the_statement_is_left_alone_and_says_why():
    hooks = Recorder()
    wrong = Controls(spots=frozenset({Spot("program.py", (99, 99, 0, 4), True)}))
    _, info = compiled(PROGRAM, hooks, controls=wrong)
    assert info.left_alone == (
        ("<module>", "RewriteError: no statement stands at the place that is asked for: line 99"),
    )
