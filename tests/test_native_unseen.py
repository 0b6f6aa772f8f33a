"""`Unseen` in C and its Python twin: what it calls is hidden from tracers."""

from __future__ import annotations

import gc
import importlib
import sys
import traceback
import weakref

import pytest

NATIVE = "flor_trace._native"


@pytest.fixture(
    params=["flor_trace._pure_wrappers", pytest.param(NATIVE, marks=pytest.mark.native)],
)
def unseen(request):
    return pytest.importorskip(request.param, exc_type=ImportError).Unseen


@pytest.fixture
def native():
    return pytest.importorskip(NATIVE, exc_type=ImportError).Unseen


def inner(*args, **kwargs):
    return args, kwargs


def hidden(*args, **kwargs):
    return inner(*args, **kwargs)


class Watched:
    """Names of the functions whose calls a trace and a profile function see."""

    def __init__(self):
        self.calls = []

    def hear(self, frame, event, arg):
        if event == "call":
            self.calls.append(frame.f_code.co_name)
        return self.hear

    def run(self, set_function, function, *args):
        before = sys.gettrace() if set_function is sys.settrace else sys.getprofile()
        set_function(self.hear)
        try:
            return function(*args)
        finally:
            set_function(before)


def test_it_passes_arguments_and_results(unseen):
    call = unseen(hidden)
    assert call(1, 2, key=3) == ((1, 2), {"key": 3})
    assert call.__wrapped__ is hidden
    assert repr(call) == f"<Unseen of {hidden!r}>"


def test_it_binds_like_a_function(unseen):
    made = type("Made", (), {"method": unseen(hidden)})
    each = made()
    assert each.method(1) == ((each, 1), {})
    assert made.method(1) == ((1,), {})


@pytest.mark.parametrize("set_function", [sys.settrace, sys.setprofile])
def test_tracers_see_what_comes_before_and_after_only(unseen, set_function):
    call = unseen(hidden)

    def user():
        inner()
        call()
        return inner()

    watched = Watched()
    watched.run(set_function, user)
    assert [name for name in watched.calls if name != "__call__"] == ["user", "inner", "inner"]


def test_the_c_twin_is_not_seen_itself(native):
    watched = Watched()
    watched.run(sys.settrace, native(hidden))
    assert watched.calls == []


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="Python 3.12 brought monitoring")
def test_monitoring_tools_do_not_see_it(native):
    seen = []
    tool, events = 3, sys.monitoring.events.PY_START
    call = native(hidden)
    sys.monitoring.use_tool_id(tool, "test")
    try:
        sys.monitoring.register_callback(tool, events, lambda code, at: seen.append(code.co_name))
        sys.monitoring.set_events(tool, events)
        call()
        inner()
    finally:
        sys.monitoring.set_events(tool, 0)
        sys.monitoring.free_tool_id(tool)
    assert seen == ["inner"]


def test_an_exception_goes_through_and_tracing_goes_on(unseen):
    def boom():
        raise LookupError("boom")

    call = unseen(boom)

    def user():
        with pytest.raises(LookupError, match="boom") as caught:
            call()
        return inner(), [each.name for each in traceback.extract_tb(caught.value.__traceback__)]

    watched = Watched()
    _, names = watched.run(sys.settrace, user)
    assert names[-1] == "boom"
    assert "inner" in watched.calls
    assert "boom" not in watched.calls


@pytest.mark.parametrize("args", [(), (1,), (len, len)])
def test_it_needs_one_callable(unseen, args):
    with pytest.raises(TypeError):
        unseen(*args)


def test_it_is_collected_in_a_cycle(unseen):
    class Holder:
        pass

    def made():
        holder = Holder()
        holder.call = unseen(lambda: holder)
        return weakref.ref(holder)

    gone = made()
    gc.collect()
    assert gone() is None


def test_both_twins_are_in_the_tables():
    for name in ("flor_trace._pure", "flor_trace._speedups"):
        module = importlib.import_module(name)
        assert "Unseen" in module.__all__
        assert module.Unseen(len)("ab") == 2
