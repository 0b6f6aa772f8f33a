# ruff: noqa: B007, UP028 - loops as a program has them
"""A loop that is never reported again gives its place on the stack to its iterator."""

from __future__ import annotations

import gc
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

native = pytest.importorskip("flor_trace._native")
pytestmark = pytest.mark.native


class Source:
    """An iterator that tells when it dies, and which frame's stack refers to it."""

    def __init__(self, count):
        self.left, self.dead = count, []

    def __iter__(self):
        return self

    def __next__(self):
        if not self.left:
            raise StopIteration
        self.left -= 1
        return self.left


class Counted(Source):
    gone = 0

    def __del__(self):
        Counted.gone += 1


@pytest.fixture(autouse=True)
def handler():
    """Lets each loop go at its third boundary, and hears of no end after that."""
    ends = []

    def boundary(li):
        if li.n == 2:
            li.quiet = True
            li.site.mode = 1

    native.set_handler(boundary, lambda li, how: ends.append(how))
    yield ends
    native.set_handler(None, None)


def site():
    return native.Site(None, 0)


def test_the_loop_goes_on_with_its_iterator(handler):
    numbers = list(range(100))
    loop, seen = site(), []

    def program():
        for number in loop[iter(numbers)]:
            seen.append((number, len(native.running())))

    program()

    assert [number for number, _ in seen] == numbers
    assert [running for _, running in seen] == [1, 1, *[0] * 98]
    assert (loop.entries, loop.iterations, handler) == (1, 3, [])


def test_nothing_is_left_behind_and_nothing_dies_early():
    Counted.gone = 0

    def program(leave):
        for number in site()[Counted(10)]:
            assert Counted.gone == 0
            if number == leave:
                break

    for leave in (9, 7, 4, 0, -1):
        Counted.gone = 0
        program(leave)
        assert Counted.gone == 1


def test_references_are_kept_in_balance():
    items = range(50)

    def program():
        for item in site()[items]:
            pass

    program()
    gc.collect()
    before = sys.getrefcount(items)
    for _ in range(200):
        program()
    assert sys.getrefcount(items) == before


@given(st.lists(st.integers(0, 7), min_size=1, max_size=4))
def test_loops_in_loops_give_what_they_give_without_us(lengths):
    def nest(wrap, depth=0):
        if depth == len(lengths):
            return [()]
        found = []
        for number in wrap(range(lengths[depth])):
            for tail in wrap(nest(wrap, depth + 1)):
                found.append((number, *tail))
        return found

    assert nest(lambda items: site()[items]) == nest(lambda items: items)


def test_two_loops_over_one_iterator_in_one_frame():
    def program(wrap):
        source, seen = iter(range(30)), []
        for first in wrap(source):
            for second in wrap(source):
                seen.append((first, second))
                if second % 5 == 4:
                    break
        return seen

    assert program(lambda items: site()[items]) == program(lambda items: items)


def test_a_generator_that_is_suspended_and_closed():
    Counted.gone = 0

    def numbers():
        for number in site()[Counted(30)]:
            yield number

    generator = numbers()
    assert [next(generator) for _ in range(20)] == list(range(29, 9, -1))
    assert Counted.gone == 0
    generator.close()
    assert Counted.gone == 1


def test_an_exception_leaves_the_loop_as_ever():
    def program():
        for number in site()[range(10)]:
            if number == 7:
                raise LookupError(number)

    with pytest.raises(LookupError, match="7"):
        program()


def test_an_iterator_that_raises_is_seen_with_its_own_traceback():
    def failing():
        yield from range(8)
        raise ZeroDivisionError("its own")

    def program():
        for number in site()[failing()]:
            pass

    with pytest.raises(ZeroDivisionError, match="its own") as caught:
        program()
    assert [entry.name for entry in caught.traceback][-2:] == ["program", "failing"]


def test_a_quiet_loop_that_may_be_heard_again_keeps_its_place():
    kept = []

    def boundary(li):
        li.quiet = True
        kept.append(li)

    native.set_handler(boundary, lambda li, how: None)
    loop = site()
    for _ in loop[range(10)]:
        pass

    assert kept[0].n == 10
    assert loop.iterations == 10


def test_calling_next_by_hand_changes_no_stack():
    loop = site()
    for number in loop[range(10)]:
        running = native.running()
        if running and number == 1:
            (li,) = running
            li.quiet, loop.mode = True, 1
            assert next(li) == 2
            assert li.n == 3
            del li, running
    assert number == 9
