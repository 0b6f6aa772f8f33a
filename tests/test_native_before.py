"""`Before` in C and its Python twin behave alike, and as if they were not there."""

from __future__ import annotations

import copy
import functools
import importlib
import importlib.util
import inspect
import pickle
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

NATIVE = "flor_trace._native"

FUNCTION_ATTRIBUTES = (
    "__name__",
    "__qualname__",
    "__module__",
    "__doc__",
    "__code__",
    "__defaults__",
    "__kwdefaults__",
    "__globals__",
    "__closure__",
    "__annotations__",
    "__dict__",
)


@pytest.fixture(
    scope="module",
    params=["flor_trace._pure_wrappers", pytest.param(NATIVE, marks=pytest.mark.native)],
)
def twin(request: pytest.FixtureRequest) -> ModuleType:
    if request.param == NATIVE:
        return pytest.importorskip(NATIVE, exc_type=ImportError)
    return importlib.import_module(request.param)


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


def names_in(error: BaseException) -> list[str]:
    return [entry.name for entry in traceback.extract_tb(error.__traceback__)]


def make_class(function: object) -> type:
    return type("Made", (), {"method": function})


def test_before_tells_the_positional_arguments_then_calls(twin: ModuleType) -> None:
    seen = Seen()
    cls = make_class(twin.Before(double, seen))
    made = cls()
    assert made.method() == (made, 6, ())
    assert made.method(5, 7, 8, scale=10) == (made, 100, (7, 8))
    assert cls.method(made, n=4) == (made, 8, ())
    assert cls.method(self=made) == (made, 6, ())
    assert seen == [(made,), (made, 5, 7, 8), (made,), ()]


def test_before_tells_before_the_function_starts(twin: ModuleType) -> None:
    order: list[str] = []
    twin.Before(lambda: order.append("function"), lambda: order.append("callback"))()
    assert order == ["callback", "function"]


def test_before_keeps_keywords_named_like_its_own_parameters(twin: ModuleType) -> None:
    call = twin.Before(lambda **kwargs: kwargs, Seen())
    wanted = {"self": 1, "function": 2, "callback": 3, "args": 4}
    assert call(**wanted) == wanted


def test_an_exception_of_the_callback_keeps_the_function_from_running(twin: ModuleType) -> None:
    seen = Seen()
    made = make_class(twin.Before(seen, boom))()
    with pytest.raises(LookupError, match="boom") as caught:
        made.method()
    assert seen == []
    test = "test_an_exception_of_the_callback_keeps_the_function_from_running"
    assert names_in(caught.value) == [test, "boom"]


def test_tracebacks_through_before_show_the_users_frames_only(twin: ModuleType) -> None:
    made = make_class(twin.Before(boom, Seen()))()

    def caller() -> None:
        made.method(1, key=2)

    with pytest.raises(LookupError, match="boom") as caught:
        caller()
    test = "test_tracebacks_through_before_show_the_users_frames_only"
    assert names_in(caught.value) == [test, "caller", "boom"]
    assert caught.value.__context__ is None


def test_a_wrong_call_reads_as_without_before(twin: ModuleType) -> None:
    made = make_class(twin.Before(double, Seen()))()
    with pytest.raises(TypeError, match=r"^double\(\) got an unexpected keyword") as caught:
        made.method(wrong=1)
    assert names_in(caught.value) == ["test_a_wrong_call_reads_as_without_before"]


def test_before_binds_like_a_function(twin: ModuleType) -> None:
    wrapped = twin.Before(double, Seen())
    cls = make_class(wrapped)
    made = cls()
    bound = made.method
    assert type(bound) is types.MethodType
    assert bound.__self__ is made
    assert bound.__func__ is wrapped
    assert cls.method is wrapped
    assert bound == made.method
    assert wrapped.__get__(None, cls) is wrapped
    assert wrapped.__get__(made)() == (made, 6, ())
    with pytest.raises(TypeError):
        wrapped.__get__(None, None)


def test_an_instance_attribute_still_hides_the_method(twin: ModuleType) -> None:
    made = make_class(twin.Before(double, Seen()))()
    made.method = len
    assert made.method is len


def test_constructors_chain_through_super(twin: ModuleType) -> None:
    seen = Seen()

    class Base:
        def __init__(self, a: int, *, b: int = 0) -> None:
            self.base = (a, b)

    class Middle(Base):
        def __init__(self, a: int, **kwargs: int) -> None:
            super().__init__(a, **kwargs)
            self.middle = a

    class Leaf(Middle):
        def __init__(self) -> None:
            super().__init__(1, b=2)

    for cls in (Base, Middle, Leaf):
        cls.__init__ = twin.Before(cls.__init__, seen)
    for _ in range(50):  # often enough for the interpreter to specialise the calls
        seen.clear()
        leaf = Leaf()
        assert (leaf.base, leaf.middle) == ((1, 2), 1)
        assert seen == [(leaf,), (leaf, 1), (leaf, 1)]
    assert str(inspect.signature(Base)) == "(a: 'int', *, b: 'int' = 0) -> 'None'"


def test_an_uncooperative_constructor_still_raises(twin: ModuleType) -> None:
    class Picky:
        def __init__(self) -> None:
            return 3

    Picky.__init__ = twin.Before(Picky.__init__, Seen())
    with pytest.raises(TypeError, match="should return None"):
        Picky()


def test_special_methods_work_through_before(twin: ModuleType) -> None:
    seen = Seen()

    class Box:
        def __call__(self, x: int, *, y: int = 0) -> int:
            return x + y

        def __getitem__(self, key: int) -> int:
            return key

        def __len__(self) -> int:
            return 4

    for name in ("__call__", "__getitem__", "__len__"):
        setattr(Box, name, twin.Before(vars(Box)[name], seen))
    box = Box()
    assert (box(1, y=2), box[5], len(box)) == (3, 5, 4)
    assert seen == [(box, 1), (box, 5), (box,)]


@pytest.mark.parametrize("kind", [classmethod, staticmethod, property])
def test_before_fits_inside_the_other_descriptors(
    twin: ModuleType, kind: Callable[[Any], Any]
) -> None:
    seen = Seen()
    cls = make_class(kind(twin.Before(lambda *args: args, seen)))
    made = cls()
    found = made.method if kind is property else made.method()
    assert found == {classmethod: (cls,), staticmethod: (), property: (made,)}[kind]
    assert seen == [found]


def test_generators_and_built_in_functions_can_be_wrapped(twin: ModuleType) -> None:
    def numbers(_self: object) -> Iterator[int]:
        yield from (1, 2)

    assert list(make_class(twin.Before(numbers, Seen()))().method()) == [1, 2]
    seen = Seen()
    assert twin.Before(list.append, seen)([], 1) is None
    assert seen == [([1], 1)]


def test_attributes_are_those_of_the_function(twin: ModuleType) -> None:
    wrapped = twin.Before(double, Seen())
    for name in FUNCTION_ATTRIBUTES:
        assert getattr(wrapped, name) is getattr(double, name), name
    assert wrapped.__wrapped__ is double
    assert vars(wrapped) is vars(double)
    with pytest.raises(AttributeError, match="'function' object has no attribute 'nothing'"):
        wrapped.nothing  # noqa: B018
    assert make_class(wrapped)().method.__name__ == "double"


def test_attributes_written_reach_the_function(twin: ModuleType) -> None:
    def function() -> None: ...

    wrapped = twin.Before(function, Seen())
    wrapped.hooked = True
    wrapped.__doc__ = "new"
    assert (function.hooked, function.__doc__) == (True, "new")
    del wrapped.hooked
    assert not hasattr(function, "hooked")
    with pytest.raises(AttributeError, match="cannot be set"):
        wrapped.__wrapped__ = len
    with pytest.raises(AttributeError, match="cannot be deleted"):
        del wrapped.__wrapped__
    assert wrapped.__wrapped__ is function


def test_inspect_and_functools_see_the_function(twin: ModuleType) -> None:
    wrapped = twin.Before(double, Seen())
    assert inspect.signature(wrapped) == inspect.signature(double)
    bound = inspect.signature(make_class(wrapped)().method)
    assert list(bound.parameters) == ["n", "rest", "scale"]
    assert inspect.unwrap(wrapped) is double
    assert inspect.getsource(wrapped) == inspect.getsource(double)
    assert inspect.isroutine(wrapped)
    assert callable(wrapped)

    @functools.wraps(wrapped)
    def around() -> None: ...

    assert (around.__name__, around.__doc__) == (double.__name__, double.__doc__)


def test_the_kind_and_the_text_of_a_before_are_its_own(twin: ModuleType) -> None:
    wrapped = twin.Before(double, Seen())
    assert type(wrapped) is twin.Before
    assert isinstance(wrapped, twin.Before)
    assert not isinstance(wrapped, types.FunctionType)
    assert repr(wrapped) == f"<Before of {double!r}>"
    assert wrapped == wrapped
    assert wrapped != twin.Before(double, Seen())
    assert len({wrapped, wrapped}) == 1


def test_a_before_is_found_again_by_copy_and_by_name(
    twin: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = ModuleType("flor_trace_test_home")
    monkeypatch.setitem(sys.modules, home.__name__, home)

    def function() -> None: ...

    function.__module__, function.__qualname__ = home.__name__, "function"
    home.function = wrapped = twin.Before(function, Seen())
    assert copy.deepcopy(wrapped) is wrapped
    assert copy.copy(wrapped) is wrapped
    assert pickle.loads(pickle.dumps(wrapped)) is wrapped


def test_befores_nest(twin: ModuleType) -> None:
    first, second = Seen(), Seen()
    made = make_class(twin.Before(twin.Before(double, first), second))()
    assert made.method(1) == (made, 2, ())
    assert first == second == [(made, 1)]
    assert made.method.__name__ == "double"


def test_endless_recursion_ends_in_a_recursion_error(twin: ModuleType) -> None:
    def again(self: Any) -> None:
        self.method()

    with pytest.raises(RecursionError):
        make_class(twin.Before(again, lambda *_: None))().method()
