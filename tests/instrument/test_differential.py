"""Every engine shows the same loops, and a program does the same under all of them and plain.

Of what the tracer tells, three things are not compared: which comes first of the ends of a loop
and of the loops of a suspended generator that dies with it; from Python 3.13 on, the ends of the
loops of a generator that is closed while it is suspended outside of any ``try``, of which there is
no event; and, in programs with a ``finally`` clause, whether a loop was left by an exception or by
something else, because the end of such a clause takes the place of what it comes after.

The examples are the same each time: about one in two thousand others shows the tracer entering an
endless loop once more, where a ``return`` in a ``with`` in it cleans up.  It goes by places in the
source, and clean-up has the place of what it comes after.
"""

from __future__ import annotations

import random
import sys

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from instrument_compare import as_left, in_order, loosely, watched, without_unseen
from instrument_engines import plain, rewritten, traced
from instrument_grammar import program
from instrument_programs import PROGRAMS

from flor_trace import _pure

try:
    from flor_trace import _native
except ImportError:
    _native = None

BEST = _native or _pure

#: All together in one run of the suite on 3.11; the other versions take a sample.
EXAMPLES = 1600 if sys.version_info < (3, 12) else 300

#: Programs in which the clean-up of a statement has the place of a test.
FINALLY = bytes.fromhex(
    "a32901766499fc51becbcc1b22a4732107debaa0aae33fe773bc0fdcca133957b36a322bb40caf34"
    "5c0e5dd4f33a60943308c0bb8f20ae02b97c57b27514236024d63b3b27d2ac33448a1f1bbada77ae"
)
ASYNC_WITH = bytes.fromhex(
    "dfd6134e2719994a39f015993f505dc45471a880eaed4e3a7edfe047c21407e0435494aa5185934f"
    "67a8468c1a753e4c4cf6274cefd996d738759f1199c998f0123941551588f5144c82bb2985650f51"
)


def same_events(expected, told, *, tracing=False, final=False):
    mine, theirs = watched(expected.events, expected, told), watched(told.events, expected, told)
    if BEST is _pure:
        return loosely(mine) == loosely(theirs)
    if tracing and final:
        mine, theirs = as_left(mine), as_left(theirs)
    if tracing:
        mine, theirs = in_order(mine), in_order(theirs)
        if sys.version_info >= (3, 13):
            mine = without_unseen(mine, theirs)
    assert mine == theirs
    return True


def check(source, *, twins):
    bare = plain(source)
    best = rewritten(source, "bytecode", BEST)
    assert best.left_alone == frozenset()
    by_tree, by_events = rewritten(source, "ast", BEST), traced(source, BEST)
    assert by_tree.left_alone == frozenset()
    for outcome in (best, by_tree, by_events):
        assert outcome.output == bare.output
        assert outcome.error == bare.error or BEST is _pure
    assert same_events(best, by_tree)
    assert same_events(best, by_events, tracing=True, final="finally:" in source)
    if twins and BEST is not _pure:
        for engine in ("bytecode", "ast"):
            twin = rewritten(source, engine, _pure)
            assert twin.output == bare.output
            assert loosely(twin.events) == loosely(best.events)


# Some generators yield on when they are closed, and the interpreter grumbles, as it should.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
@settings(max_examples=EXAMPLES, phases=(Phase.explicit, Phase.generate), derandomize=True)
@given(st.binary(min_size=80, max_size=80))
@example(FINALLY)
@example(ASYNC_WITH)
@example(random.Random(281).randbytes(80))
@example(random.Random(567).randbytes(80))
@example(random.Random(710).randbytes(80))
@example(random.Random(862).randbytes(80))
@example(random.Random(1063).randbytes(80))
def test_a_generated_program_is_the_same_under_every_engine(data):
    check(program(data), twins=data[-1] % 3 == 0)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_of_the_corpus_is_the_same_under_every_engine(name):
    source, _ = PROGRAMS[name]
    if name.endswith("left alone"):
        assert rewritten(source, "bytecode", BEST).left_alone == {"program.py:<module>:1"}
        return
    check(source, twins=True)
