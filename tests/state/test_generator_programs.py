"""Random generators, saved where they wait and gone on with in code rewritten otherwise."""

from __future__ import annotations

import re
import sys
import types
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_trace import _speedups
from flor_trace.instrument.bind import bind
from flor_trace.instrument.compile import compile_module
from flor_trace.types import Controls

pytestmark = [
    pytest.mark.native,
    # A program that yields in a finally clause ignores that it is closed.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.skipif(not _speedups.NATIVE, reason="Python cannot read a frame's value stack"),
]

NAME = "generated_generators"
HELPERS = '''
import contextlib

class Notes:
    """A context that counts, and that swallows what it is told to."""

    def __init__(self, note):
        self.note, self.ended = note, 0

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        self.ended += 1
        self.note.append(self.ended)
        return kind is KeyError

def sub(n):
    got = 0
    for i in range(n % 3 + 1):
        got += (yield ("sub", i, got)) or 1
    return got

def deeper(n):
    return (yield from sub(n))

'''
SIMPLE = [
    "n += 1",
    "note.append(n)",
    "n += add(2)",
    "x = [y + n for y in range(2)]",
    "n += sum(z for z in (1, n % 5))",
    "e, x = n % 7, [n]",
    "if n % 4 == 1: raise KeyError(n)",
    "if n > 90: return n",
    "del x; x = n",
]
YIELDS = [
    "yield n",
    "n += (yield (n, len(note))) or 1",
    "note.append([n, (yield n), len(str(n))])",
    "n += len(f'{n} {(yield n)} {1}')",
    "n += yield from sub(n)",
    "n += (yield from deeper(n)) + 1",
    "yield from zip(range(n % 3), iter('abc'))",
    "x = (w * n for w in range(3)); next(x); yield next(x)",
    "x = {n: (yield n), (yield -n): n}",
    "note.append(max(n, (yield 1) or 0, key=lambda k: -k))",
]
FOR = [
    "for i in range(3):",
    "for i, x in enumerate([n, n + 1]):",
    "for n in (n + 1, n + 2, n + 4):",
    "for x in sub(n):",
    "for i, x in zip(range(4), (v for v in 'abc')):",
    "for x in list(note[-2:]):",
]
WHILE = [
    "while n % 5:",
    "while n < 60 and len(note) < 30:",
    "while True:",
    "while ((yield n) or n) % 3:",
]


def indented(lines):
    return [f"    {line}" for line in lines]


@st.composite
def blocks(draw, depth, in_loop):
    lines = []
    for _ in range(draw(st.integers(1, 3))):
        lines += draw(statements(depth, in_loop))
    return lines


@st.composite
def statements(draw, depth, in_loop):
    compound = ["for", "while", "try", "finally", "with", "if"] * 2 if depth else []
    kind = draw(st.sampled_from(["simple", "yield", "yield", *["leave"] * in_loop, *compound]))
    if kind == "leave":
        return [f"if n % 5 == {draw(st.integers(0, 4))}: {draw(st.sampled_from(LEAVE))}"]
    if kind in ("simple", "yield"):
        return [draw(st.sampled_from(SIMPLE if kind == "simple" else YIELDS))]
    body = indented(draw(blocks(depth - 1, in_loop or kind in ("for", "while"))))
    other = indented(draw(blocks(depth - 1, in_loop and kind not in ("for", "while"))))
    if kind in ("for", "while"):
        head = draw(st.sampled_from(FOR if kind == "for" else WHILE))
        last = ["else:", *other] if draw(st.booleans()) else []
        return [head, "    tick()", *body, *last]
    return {
        "try": ["try:", *body, "except KeyError as e:", *other],
        "finally": ["try:", *body, "finally:", "    n += 1", *(other if depth < 2 else [])],
        "with": ["with Notes(note) as x:", *body],
        "if": [f"if n % {draw(st.integers(2, 3))}:", *body, "else:", *other],
    }[kind]


LEAVE = ["break", "continue", "return n"]


@st.composite
def sources(draw):
    """A module with a function that gives a generator, which ends."""
    return HELPERS + "\n".join(
        [
            "def program(n, *, note):",
            "    left = 40",
            "    def tick():",
            "        nonlocal left",
            "        left -= 1",
            "        if left < 0: raise OverflowError",
            "    def add(k):",
            "        tick()",
            "        return k + n",
            "    def body(e, x=7):",
            "        nonlocal n",
            *indented(indented(draw(blocks(3, False)))),
            "        yield 'end', n, x",
            "    return body(5)",
        ]
    )


class Never:
    """A control that leaves its loop alone."""

    def due(self):
        return False


class Hooks:
    def __init__(self):
        self.sites = []

    def site(self, loop):
        self.sites.append(_speedups.Site(loop.key, 0 if loop.kind == "for" else 1))
        return self.sites[-1]

    def control(self, loop):
        return Never()


def plain(source):
    return compile(source, f"<{NAME}>", "exec", dont_inherit=True)


def rewritten(engine, *, controlled=False):
    def make(source):
        text = source.encode()
        made = compile_module(text, f"<{NAME}>", "g.py", engine=engine)
        if controlled:
            keys = frozenset(loop.key for loop in made.info.loops if loop.left_alone is None)
            made = compile_module(text, f"<{NAME}>", "g.py", engine=engine, controls=Controls(keys))
        return bind(made.code, made.info, Hooks())

    return make


ENGINES = {
    "plain": plain,
    "bytecode": rewritten("bytecode"),
    "ast": rewritten("ast"),
    "controlled": rewritten("bytecode", controlled=True),
    "controlled ast": rewritten("ast", controlled=True),
}


def loaded(source, engine):
    """The module, in the place of any earlier one."""
    module = types.ModuleType(NAME)
    sys.modules[NAME] = module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = ENGINES[engine](source)
    exec(code, vars(module))
    return module


def shown(value):
    return re.sub(r" at 0x\w+", "", repr(value))


def sent(step):
    return None if step % 3 else step


def advance(state, steps, first=0):
    """What the generator gives in so many steps; its end, and what it raises, count too."""
    given = []
    for step in range(first, first + steps):
        try:
            value = sent(step) if step else None
            given.append(shown(state["g"].send(value)))
        except StopIteration as end:
            given.append(("end", shown(end.value)))
        except (ArithmeticError, AttributeError, LookupError, TypeError, NameError) as error:
            given.append((type(error).__name__, str(error)))
    return given, list(map(shown, state["note"]))


@pytest.fixture(autouse=True)
def handler():
    """Loops report; each is let go after a while, as by a recorder."""

    def boundary(li):
        if li.n == 3:
            li.quiet = True
            li.site.mode = 1

    _speedups.set_handler(boundary, lambda li, how: None)
    yield
    _speedups.set_handler(None, None)
    sys.modules.pop(NAME, None)


def begin(module, n):
    note = [0]
    return {"g": module.program(n, note=note), "note": note}


@settings(max_examples=200, report_multiple_bugs=False)
@given(
    source=sources(),
    before=st.sampled_from(list(ENGINES)),
    after=st.sampled_from(list(ENGINES)),
    stop=st.integers(0, 14),
    elsewhere=st.integers(-1, 9),
)
def test_a_generator_goes_on_where_it_was_saved_however_its_loops_are_rewritten(
    save, digest_of, source, before, after, stop, elsewhere
):
    recorded = begin(loaded(source, before), 1)
    advance(recorded, stop)
    saved = save(recorded)
    if saved.captured.opaque:
        assert "exception is handled" in saved.captured.opaque[0]
        return
    rest = advance(recorded, 12, stop)

    other = loaded(source, after)
    live = {} if elsewhere < 0 else begin(other, 3)
    if live:
        advance(live, elsewhere)
    made = saved.restore(live)

    assert digest_of(made) == saved.digests
    assert advance(made, 12, stop) == rest


READ_BEFORE_STORED = """
def program(n, *, note):
    for i in range(9):
        if i:
            yield late
        early = i
        late = early
"""


def test_variables_that_a_rewriting_reorders_give_the_same_digest(digest_of):
    digests, orders = set(), set()
    for engine in ENGINES:
        state = begin(loaded(READ_BEFORE_STORED, engine), 1)
        next(state["g"])
        digests.add(digest_of(state)["g"])
        orders.add(state["g"].gi_code.co_varnames)
    assert len(digests) == 1
    assert len(orders) == 2
