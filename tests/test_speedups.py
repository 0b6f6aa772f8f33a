# ruff: noqa: B018, PT012 - an operator is how a while loop is reported
from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref

import pytest

from flor_trace import _pure, _speedups

FOR, WHILE, REPORT, RAW = 0, 1, 0, 1


# -- the handler -------------------------------------------------------------------------------


def test_an_exception_of_boundary_reaches_the_loop(twin):
    def boundary(li):
        if li.n == 1:
            raise LookupError("from boundary")

    left = []
    twin.set_handler(boundary, lambda li, how: left.append((li.n, how)))

    with pytest.raises(LookupError, match="from boundary"):
        for _ in twin.Site(None, FOR)[range(3)]:
            pass
    assert left == [(1, "raised")]

    sentinel = iter(twin.Site(None, WHILE))
    ~sentinel
    with pytest.raises(LookupError):
        ~sentinel
    assert sentinel.n == 1


@pytest.mark.filterwarnings("default")
def test_an_exception_of_leave_goes_to_the_unraisable_hook(twin, monkeypatch):
    def leave(li, how):
        raise LookupError(how)

    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: seen.append(str(args.exc_value)))
    twin.set_handler(lambda li: None, leave)

    for _ in twin.Site(None, FOR)[[1]]:
        pass
    for _ in twin.Site(None, FOR)[[1]]:
        break

    assert seen == ["exhausted", "left"]


@pytest.mark.parametrize("part", ["boundary", "leave"])
def test_an_interrupt_in_a_callback_reaches_the_program(twin, part):
    def interrupt(*_):
        raise KeyboardInterrupt

    def nothing(*_):
        pass

    handler = (interrupt, nothing) if part == "boundary" else (nothing, interrupt)
    twin.set_handler(*handler)

    with pytest.raises(KeyboardInterrupt):
        for _ in twin.Site(None, FOR)[range(3)]:
            break
        time.sleep(2)


def test_a_handler_must_be_two_callables_or_none(twin):
    for wrong in [(None, print), (print, None), (1, 2)]:
        with pytest.raises(TypeError, match="two callables, or None twice"):
            twin.set_handler(*wrong)


def test_loops_go_on_when_the_handler_is_taken_away(twin):
    calls = []

    def boundary(li):
        calls.append(li.n)
        twin.set_handler(None, None)

    twin.set_handler(boundary, lambda li, how: calls.append(how))
    site = twin.Site(None, FOR)

    assert list(site[range(5)]) == [0, 1, 2, 3, 4]
    assert calls == [0]
    assert (site.entries, site.iterations) == (1, 5)


def test_a_loop_is_not_told_to_a_handler_it_did_not_begin_under(twin, events):
    later = []
    for item in twin.Site(None, FOR)[range(3)]:
        if item == 0:
            twin.set_handler(later.append, lambda li, how: later.append(how))

    assert events == [0]
    assert later == []


def test_a_quiet_loop_only_counts(twin, events):
    site = twin.Site(None, FOR)
    for item in site[range(10)]:
        if item == 1:
            (loop,) = twin.running()
            loop.quiet = True

    assert events == [0, 1]
    assert loop.quiet is True
    assert (loop.n, site.iterations) == (10, 10)


def test_a_quiet_loop_can_be_heard_again(twin, events):
    for item in twin.Site(None, FOR)[range(4)]:
        twin.running()[0].quiet = item == 1

    assert events == [0, 1, 3, 4, "exhausted"]


def test_a_loop_that_was_kept_by_the_handler_is_over(twin):
    kept = []
    twin.set_handler(lambda li: None, lambda li, how: kept.append(li))
    site = twin.Site(None, FOR)

    def program():
        for item in site[range(3)]:
            if item:
                break

    program()
    program()

    assert [loop.n for loop in kept] == [2, 2]
    assert kept[0].locals() is None
    assert kept[0].lookup(("item",)) == (twin.UNBOUND,)
    assert twin.running() == []
    kept.clear()
    assert site.entries == 2


def test_a_loop_in_a_cycle_of_its_tag_ends_with_the_collector(twin, events):
    class Tag:
        pass

    def program():
        for _ in twin.Site(None, FOR)[range(3)]:
            (loop,) = twin.running()
            loop.tag = tag = Tag()
            tag.loop = loop
            return weakref.ref(tag)
        return None

    tag = program()
    gc.collect()

    assert tag() is None
    assert events == [0, "left"]


def test_the_loops_of_other_threads_are_reported_there(twin):
    seen = []
    twin.set_handler(lambda li: seen.append((threading.get_ident(), li.n)), lambda li, how: None)
    running = []

    def program():
        for _ in twin.Site(None, FOR)[[1]]:
            running.append(len(twin.running()))

    for _ in twin.Site(None, FOR)[[1]]:
        thread = threading.Thread(target=program)
        thread.start()
        thread.join()

    here, there = threading.get_ident(), thread.ident
    assert seen == [(here, 0), (there, 0), (there, 1), (here, 1)]
    assert running == [1]


def test_a_generator_resumed_on_another_thread_is_reported_there(twin):
    seen = []
    twin.set_handler(lambda li: seen.append((threading.get_ident(), li.n)), lambda li, how: None)
    site = twin.Site(None, FOR)

    def numbers():
        for item in site[range(5)]:
            yield item + 1

    generator = numbers()
    next(generator)
    thread = threading.Thread(target=lambda: next(generator))
    thread.start()
    thread.join()
    next(generator)
    generator.close()

    here = threading.get_ident()
    assert seen == [(here, 0), (thread.ident, 1), (here, 2)]


# -- sites -------------------------------------------------------------------------------------


def test_a_raw_site_gives_back_the_iterable(twin, events):
    items = [1]
    site = twin.Site("info", FOR)
    site.mode = RAW

    assert site[items] is items
    assert (site.info, site.kind, site.mode, site.entries) == ("info", FOR, RAW, 0)


def test_a_site_without_a_handler_gives_back_the_iterable(twin):
    items = [1]

    assert twin.Site(None, FOR)[items] is items


@pytest.mark.parametrize("mode", [REPORT, RAW])
def test_the_sentinel_of_an_unreported_while_does_nothing(twin, mode):
    site = twin.Site(None, WHILE, mode)
    sentinel = iter(site)

    assert (~sentinel, ~sentinel, -sentinel) == (None, None, None)
    assert sentinel.n == 2
    assert (site.entries, twin.running()) == (0, [])


def test_a_site_of_one_kind_cannot_be_used_as_the_other(twin):
    with pytest.raises(TypeError, match=r"iter\(site\) begins its loop"):
        twin.Site(None, WHILE)[()]
    with pytest.raises(TypeError, match=r"by site\[iterable\]"):
        iter(twin.Site(None, FOR))


def test_kind_and_mode_are_checked(twin):
    for make in [lambda: twin.Site(None, 2), lambda: twin.Site(None, 0, -1)]:
        with pytest.raises(ValueError, match="must be 0 or 1"):
            make()
    with pytest.raises(TypeError):
        twin.Site(None, "for")
    site = twin.Site(None, FOR)
    with pytest.raises(ValueError, match="mode must be 0 or 1, not 2"):
        site.mode = 2
    for name in ("kind", "info", "entries", "iterations"):
        with pytest.raises(AttributeError):
            setattr(site, name, 1)


def test_a_copied_site_reports_nothing(twin):
    other = copy.copy(twin.Site("info", WHILE))

    assert (type(other), other.info, other.kind, other.mode) == (twin.Site, None, WHILE, RAW)


def test_a_pickled_site_finds_the_twin_of_the_reader():
    other = pickle.loads(pickle.dumps(_speedups.Site(None, FOR)))

    assert type(other) is _speedups.Site
    assert other.mode == RAW


def test_loops_are_made_by_sites_only(twin):
    with pytest.raises(TypeError, match="cannot create"):
        twin.LoopIter()


# -- loops -------------------------------------------------------------------------------------


def test_expected_is_the_number_of_items_of_builtin_iterators(twin, events):
    class Hinted:
        def __iter__(self):
            return self

        def __next__(self):
            raise StopIteration

        def __length_hint__(self):
            raise AssertionError("the program's code must not run")

    begun = iter([1, 2, 3, 4])
    next(begun)
    cases = [
        (range(3), 3),
        ([1, 2], 2),
        ((1,), 1),
        (begun, 3),
        ({1: 2}, -1),
        ("ab", -1),
        ((x for x in "ab"), -1),
        (Hinted(), -1),
        (range(10**30, 10**30 + 2), -1),
    ]

    for items, count in cases:
        loop = iter(twin.Site(None, FOR)[items])
        assert loop.expected == count
        list(zip(loop, "a", strict=False))
        assert loop.expected == count
    assert iter(twin.Site(None, WHILE)).expected == -1


def test_n_can_be_set_and_the_totals_stay_true(twin, events):
    site = twin.Site(None, FOR)
    for item in site[[1, 2]]:
        if item == 1:
            (loop,) = twin.running()
            loop.n = 10
            assert loop.expected == 2
    assert events == [0, 10, 11, "exhausted"]
    assert (loop.n, site.iterations) == (11, 2)


def test_the_attributes_of_a_loop_are_checked(twin, events):
    loop = iter(twin.Site(None, FOR)["a"])

    assert (loop.n, loop.quiet, loop.tag, loop.site.kind) == (0, False, None, FOR)
    for name, value in [("n", "1"), ("n", None), ("quiet", 1)]:
        with pytest.raises(TypeError):
            setattr(loop, name, value)
    for name in ("site", "expected", "iterator"):
        with pytest.raises(AttributeError):
            setattr(loop, name, 1)


def test_unbound_shows_what_it_is(twin):
    assert repr(twin.UNBOUND) == "<unbound>"


# -- the choice --------------------------------------------------------------------------------


def _choice(value):
    code = "import flor_trace._speedups as s; print(s.NATIVE, s.REASON, s.Site.__module__)"
    environment = {**os.environ, "FLOR_TRACE_NATIVE": value}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_the_environment_can_ask_for_the_python_twins():
    assert _choice("0").startswith("False the C extension is not used: FLOR_TRACE_NATIVE=0")


@pytest.mark.native
@pytest.mark.skipif(not _speedups.NATIVE, reason="the C extension is not built")
def test_the_c_twins_are_used_where_they_are_built():
    assert _choice("1") == "True  flor_trace._speedups\n"


def test_both_twins_have_the_same_names():
    names = set(_pure.__all__)

    assert names == set(_speedups.__all__) - {"NATIVE", "REASON", "native_wanted"}
    assert all(hasattr(_speedups, name) for name in _speedups.__all__)
