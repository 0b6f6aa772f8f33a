# ruff: noqa: B018, PT012 - an operator is how a while loop is reported
from __future__ import annotations

import gc
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flor_trace import _pure

FOR, WHILE = 0, 1
ENDS = st.sampled_from(["exhausted", "left", "raised"])


def test_a_for_loop_reports_each_boundary_and_its_exhaustion(twin, events):
    items = list("ab")
    seen = []

    for item in twin.Site(None, FOR)[items]:
        seen.append(item)
        events.append(item)

    assert seen == items
    assert events == [0, "a", 1, "b", 2, "exhausted"]


def test_an_empty_loop_has_one_boundary(twin, events):
    for _ in twin.Site(None, FOR)[()]:
        raise AssertionError

    assert events == [0, "exhausted"]


def test_break_leaves_a_loop(twin, events):
    for item in twin.Site(None, FOR)[range(5)]:
        if item == 1:
            break

    assert events == [0, 1, "left"]


def test_return_leaves_all_loops_of_the_function(twin, events):
    outer, inner = twin.Site(None, FOR), twin.Site(None, FOR)

    def search():
        for i in outer["ab"]:
            for j in inner["cd"]:
                if i + j == "bd":
                    return i + j
        return None

    assert search() == "bd"
    assert events == [0, 0, 1, 2, "exhausted", 1, 0, 1, "left", "left"]


def test_an_exception_in_the_body_leaves_a_loop_as_raised(twin, events):
    with pytest.raises(ZeroDivisionError):
        for item in twin.Site(None, FOR)[[1, 0]]:
            1 / item

    assert events == [0, 1, "raised"]


def test_an_exception_of_the_iterator_leaves_a_loop_as_raised(native, events):
    def items():
        yield 1
        raise KeyError

    with pytest.raises(KeyError):
        for _ in native.Site(None, FOR)[items()]:
            pass

    assert events == [0, 1, "raised"]


def test_a_handled_exception_does_not_make_a_break_an_error(twin, events):
    for _ in twin.Site(None, FOR)[range(3)]:
        try:
            raise KeyError
        except KeyError:
            break

    assert events == [0, "left"]


def test_closing_a_generator_leaves_its_loop(twin, events):
    site = twin.Site(None, FOR)

    def numbers():
        for item in site[range(9)]:
            yield item + 1

    generator = numbers()
    next(generator)
    generator.close()

    assert events == [0, "left"]


def test_closing_a_generator_inside_try_leaves_its_loop(native, events):
    site = native.Site(None, FOR)

    def numbers():
        for item in site[range(9)]:
            try:
                yield item
            finally:
                events.append("finally")

    generator = numbers()
    next(generator)
    generator.close()

    assert events == [0, "finally", "left"]


def test_a_dropped_generator_leaves_its_loop(twin, events):
    site = twin.Site(None, FOR)

    def numbers():
        for item in site[range(9)]:
            yield item + 1

    generator = numbers()
    next(generator)
    del generator

    assert events == [0, "left"]


def test_a_while_loop_reports_like_a_for_loop(twin, events):
    site = twin.Site(None, WHILE)
    k = 0
    sentinel = iter(site)
    while k < 2:
        ~sentinel
        k += 1
    -sentinel
    del sentinel

    assert events == [0, 1, 2, "exhausted"]
    assert (site.entries, site.iterations) == (1, 2)


def test_break_leaves_a_while_loop(twin, events):
    sentinel = iter(twin.Site(None, WHILE))
    ~sentinel
    del sentinel

    assert events == [0, "left"]


def test_an_exception_leaves_a_while_loop_as_raised(twin, events):
    def tick():
        ~twin.running()[-1]

    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        (iter(twin.Site(None, WHILE)), tick(), tick(), fail())

    assert events == [0, 1, "raised"]


def test_an_exit_is_told_once(twin, events):
    sentinel = iter(twin.Site(None, WHILE))
    ~sentinel
    -sentinel
    -sentinel
    ~sentinel
    del sentinel

    assert events == [0, 1, "exhausted"]


def test_a_loop_that_never_began_is_not_left(twin, events):
    with pytest.raises(TypeError, match="'int' object is not iterable"):
        for _ in twin.Site(None, FOR)[3]:
            raise AssertionError
    gc.collect()

    assert events == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), ENDS), max_size=4))
def test_nested_loops_report_what_they_do(twin, events, plan):
    del events[:]
    outer, inner = twin.Site(None, FOR), twin.Site(None, FOR)
    expected = []
    for count, (length, at, how) in enumerate(plan):
        stops = at < length and how != "exhausted"
        expected += [count, *range(at + 1 if stops else length + 1)]
        expected.append(how if stops else "exhausted")

    for length, at, how in outer[plan]:
        try:
            for item in inner[range(length)]:
                if item == at and how == "left":
                    break
                if item == at and how == "raised":
                    raise KeyError
        except KeyError:
            continue

    assert events == [*expected, len(plan), "exhausted"]
    assert inner.entries == len(plan)


# -- what stays as in a plain loop -------------------------------------------------------------


def test_references_are_those_of_a_plain_loop(twin, events):
    class Items:
        left = 3

        def __iter__(self):
            return self

        def __next__(self):
            self.left -= 1
            if self.left < 0:
                raise StopIteration
            return self.left

    def plain(items):
        return [sys.getrefcount(items), *_counts(items, items), sys.getrefcount(items)]

    def reported(items, site):
        return [sys.getrefcount(items), *_counts(items, site[items]), sys.getrefcount(items)]

    def _counts(items, iterable):
        counts = []
        for _ in iterable:
            counts.append(sys.getrefcount(items) - (iterable is items))
            iterable = items
        return counts

    assert reported(Items(), twin.Site(None, FOR)) == plain(Items())


def test_an_iterator_may_change_its_class(twin, events):
    class Ones:
        def __iter__(self):
            return self

        def __next__(self):
            return 1

    class Nothing(Ones):
        def __next__(self):
            raise StopIteration

    items = Ones()
    for _ in twin.Site(None, FOR)[items]:
        items.__class__ = Nothing

    assert events == [0, 1, "exhausted"]


def test_a_trace_function_sees_nothing_of_the_callbacks(twin, events):
    seen = []

    def trace(frame, event, _argument):
        seen.append(frame.f_code.co_name)
        return trace

    def program():
        for item in twin.Site(None, FOR)[range(5)]:
            if item == 2:
                break

    before = sys.gettrace()
    sys.settrace(trace)
    program()
    sys.settrace(before)

    assert events == [0, 1, 2, "left"]
    assert "<lambda>" not in seen
    assert set(seen) == {"program"} or twin is _pure


def test_the_depth_of_recursion_is_that_of_a_plain_program(native, events):
    def deepest(wrap):
        reached = []

        def descend(depth):
            reached[:] = [depth]
            for _ in wrap("x"):
                descend(depth + 1)

        with pytest.raises(RecursionError):
            descend(0)
        return reached

    site = native.Site(None, FOR)

    assert deepest(site.__getitem__) == deepest(str)


def test_no_callback_is_made_near_the_recursion_limit(twin, events):
    site = twin.Site(None, FOR)

    def descend(depth):
        for _ in site["x"]:
            descend(depth + 1)

    with pytest.raises(RecursionError):
        descend(0)

    assert events.count(0) == events.count("raised") < sys.getrecursionlimit() - 99


def test_loops_leak_nothing(twin):
    twin.set_handler(lambda li: (li.lookup(("i", "x")), li.locals()), lambda li, how: li.tag)
    site, sentinel = twin.Site(None, FOR), twin.Site(None, WHILE)

    def work():
        for i in site[range(3)]:
            for x in site[[i]]:
                twin.running(), twin.frames({__file__}), x
            if i == 1:
                break
        s = iter(sentinel)
        ~s, -s

    def blocks_after(rounds):
        for _ in range(rounds):
            work()
        gc.collect()
        return sys.getallocatedblocks()

    gc.collect()  # what other tests left with finalizers takes more than one
    before = blocks_after(200)
    assert blocks_after(600) - before < 50


def test_a_site_gives_the_signs_of_its_loop_in_the_calling_frame(twin, events):
    site = twin.Site(None, WHILE)

    def count(k):
        for nothing in site:
            assert nothing == ()
            while k:
                ~site
                count(k - 1)
                k -= 1
            else:
                -site
            break

    count(1)

    assert events == [0, 0, "exhausted", 1, "exhausted"]
    assert (site.entries, site.iterations) == (2, 1)


def test_a_site_that_is_raw_takes_signs_in_silence(twin, events):
    site = twin.Site(None, WHILE, 1)

    for _ in site:
        ~site
        break

    assert (~site, -site, events) == (None, None, [])
