"""The call wrappers in C and their Python twins: `AfterExec`, and what both types share."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import sys
import traceback
import weakref
from types import ModuleType
from typing import Any

import pytest

NATIVE = "flor_trace._native"


@pytest.fixture(
    scope="module",
    params=["flor_trace._pure_wrappers", pytest.param(NATIVE, marks=pytest.mark.native)],
)
def twin(request: pytest.FixtureRequest) -> ModuleType:
    if request.param == NATIVE:
        return pytest.importorskip(NATIVE, exc_type=ImportError)
    return importlib.import_module(request.param)


@pytest.fixture(params=[pytest.param(NATIVE, marks=pytest.mark.native)])
def native(request: pytest.FixtureRequest) -> ModuleType:
    return pytest.importorskip(request.param, exc_type=ImportError)


class Seen(list[tuple[Any, ...]]):
    """A callback that keeps what it was called with."""

    def __call__(self, *args: Any) -> object:
        self.append(args)
        return "ignored"


def double(self: Any, n: int = 3, *rest: int, scale: int = 1) -> tuple[Any, ...]:
    """Doubled, and scaled."""
    return (self, 2 * n * scale, rest)


def boom(*_args: object, **_kwargs: object) -> None:
    raise LookupError("boom")


def depth(*_args: object) -> int:
    return len(traceback.extract_stack())


def names_in(error: BaseException) -> list[str]:
    return [entry.name for entry in traceback.extract_tb(error.__traceback__)]


def make_class(function: object) -> type:
    return type("Made", (), {"method": function})


# ---- AfterExec


def test_after_exec_runs_the_original_then_tells(twin: ModuleType) -> None:
    order: list[tuple[str, object]] = []
    module = ModuleType("some")

    def original(given: ModuleType) -> str:
        order.append(("original", given))
        return "result"

    call = twin.AfterExec(original, lambda given: order.append(("callback", given)))
    assert call(module) == "result"
    assert order == [("original", module), ("callback", module)]
    assert call.__wrapped__ is original
    assert repr(call) == f"<AfterExec of {original!r}>"


def test_after_exec_does_not_tell_of_a_module_that_failed(twin: ModuleType) -> None:
    seen = Seen()
    with pytest.raises(LookupError, match="boom") as caught:
        twin.AfterExec(boom, seen)(1)
    assert seen == []
    test = "test_after_exec_does_not_tell_of_a_module_that_failed"
    assert names_in(caught.value) == [test, "boom"]


def test_after_exec_passes_on_what_the_callback_raises(twin: ModuleType) -> None:
    with pytest.raises(LookupError, match="boom") as caught:
        twin.AfterExec(id, boom)(1)
    test = "test_after_exec_passes_on_what_the_callback_raises"
    assert names_in(caught.value) == [test, "boom"]


def test_after_exec_takes_one_positional_argument(twin: ModuleType) -> None:
    seen = Seen()
    call = twin.AfterExec(seen, seen)
    for bad in (lambda: call(), lambda: call(1, 2), lambda: call(module=1), lambda: call(1, x=2)):
        with pytest.raises(TypeError):
            bad()
    assert seen == []


def test_after_exec_does_not_bind_and_cannot_be_changed(twin: ModuleType) -> None:
    call = twin.AfterExec(id, id)
    holder = type("Holder", (), {"run": call})()
    assert holder.run is call
    for name in ("__wrapped__", "other"):
        with pytest.raises(AttributeError):
            setattr(call, name, id)
        with pytest.raises(AttributeError):
            delattr(call, name)


def test_after_exec_serves_a_real_loader(
    twin: ModuleType, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flor_trace_probe_module.py").write_text("value = 41\n")
    spec = importlib.util.spec_from_file_location(
        "flor_trace_probe_module", tmp_path / "flor_trace_probe_module.py"
    )
    assert spec is not None
    assert spec.loader is not None
    seen = Seen()
    monkeypatch.setattr(
        spec.loader, "exec_module", twin.AfterExec(spec.loader.exec_module, seen), raising=True
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert seen == [(module,)]
    assert module.value == 41


# ---- both


@pytest.mark.parametrize("name", ["AfterExec", "Before"])
def test_two_callables_are_needed(twin: ModuleType, name: str) -> None:
    kind = getattr(twin, name)
    for args in ((), (len,), (len, len, len)):
        with pytest.raises(TypeError):
            kind(*args)
    with pytest.raises(TypeError):
        kind(len, callback=len)
    with pytest.raises(TypeError, match="must be callable, not 'int': pass a function"):
        kind(3, len)
    with pytest.raises(TypeError, match="the callback must be callable, not 'NoneType'"):
        kind(len, None)


@pytest.mark.parametrize("name", ["AfterExec", "Before"])
def test_wrappers_can_be_weakly_referenced_and_cycles_are_collected(
    twin: ModuleType, name: str
) -> None:
    def original(*_args: object) -> None: ...

    original.cycle = wrapper = getattr(twin, name)(original, len)
    reference = weakref.ref(wrapper)
    assert reference() is wrapper
    del original, wrapper
    gc.collect()
    assert reference() is None


def test_no_python_frame_is_added(native: ModuleType) -> None:
    made = make_class(native.Before(depth, Seen()))()
    here = depth()
    assert made.method() == here
    assert native.AfterExec(depth, Seen())(1) == here
    told: list[int] = []
    native.Before(len, lambda *args: told.append(depth(*args)))("x")
    assert told == [here + 1]


@pytest.mark.parametrize("name", ["AfterExec", "Before"])
def test_native_types_are_immutable_and_not_base_types(native: ModuleType, name: str) -> None:
    kind = getattr(native, name)
    assert (kind.__module__, kind.__name__) == (NATIVE, name)
    with pytest.raises(TypeError, match="immutable"):
        kind.extra = 1
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Sub", (kind,), {})


def test_nothing_is_left_behind_by_many_calls(twin: ModuleType) -> None:
    made = make_class(twin.Before(double, lambda *_: None))()
    failing = make_class(twin.Before(boom, lambda *_: None))()
    loader = twin.AfterExec(id, lambda _: None)

    def calls(count: int) -> None:
        for _ in range(count):
            made.method(1, 2, scale=3)
            loader(made)
            twin.Before(double, len).__name__  # noqa: B018
            twin.AfterExec(len, len)
            try:
                failing.method()
            except LookupError:
                pass

    calls(100)
    gc.collect()
    before = sys.getallocatedblocks()
    calls(20_000)
    gc.collect()
    assert sys.getallocatedblocks() - before < 200
