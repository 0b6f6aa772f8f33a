"""Reading the variables of frames of the current thread, and calling unseen by tracers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from inspect import CO_OPTIMIZED
from types import CodeType, FrameType, GeneratorType
from typing import Any, final

Frame = tuple[CodeType, dict[str, Any], dict[str, Any], dict[str, Any]]


@final
class Unbound:
    """The type of UNBOUND, which stands for a variable without value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<unbound>"


UNBOUND = Unbound()


def variables(frame: FrameType) -> dict[str, Any]:
    """A copy; a namespace that is not a dict could only be asked by running the program's code."""
    held: Mapping[str, Any] = frame.f_locals
    if frame.f_code.co_flags & CO_OPTIMIZED or isinstance(held, dict):
        return dict(held)
    return {}


def stack(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield `frame` and the frames that called it, innermost first."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def check_names(what: str, names: object) -> None:
    """Raise `TypeError` unless `names` is a tuple of str."""
    if type(names) is not tuple:
        raise TypeError(f"{what} needs a tuple of str, not {type(names).__name__}")
    for index, name in enumerate(names):
        if type(name) is not str:
            kind = type(name).__name__
            raise TypeError(f"{what} needs a tuple of str, and item {index} is {kind}")


class LoopFrame:
    """What a running loop can say of its frame, which it knows by identity and code."""

    __slots__ = ()

    _code: CodeType | None
    _frame: int

    def _running_frame(self) -> FrameType | None:
        for frame in stack(sys._getframe(1)):
            if id(frame) == self._frame:
                return frame if frame.f_code is self._code else None
        return None

    def _values(self, names: tuple[str, ...], unbound: object) -> tuple[Any, ...]:
        frame = self._running_frame()
        held = {} if frame is None else variables(frame)
        return tuple(held.get(name, unbound) for name in names)

    def locals(self) -> dict[str, Any] | None:
        """The bound variables of the loop's frame in a new dict; None when it is not running."""
        frame = self._running_frame()
        return None if frame is None else variables(frame)

    def globals(self) -> dict[str, Any] | None:
        """The globals of the loop's frame; None when it is not running."""
        frame = self._running_frame()
        return None if frame is None else frame.f_globals

    def code(self) -> CodeType | None:
        """The code of the loop's frame; None when it is not running."""
        frame = self._running_frame()
        return None if frame is None else frame.f_code


def unseen(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return what `function` returns; no trace or profile function sees the call."""
    trace, profile = sys.gettrace(), sys.getprofile()
    if trace is None and profile is None:
        return function(*args, **kwargs)
    sys.settrace(None)
    sys.setprofile(None)
    try:
        return function(*args, **kwargs)
    finally:
        sys.setprofile(profile)
        sys.settrace(trace)


def frames(filenames: set[str] | frozenset[str], /) -> list[Frame]:
    """(code, globals, locals, cells) of the calling thread's frames of code from these files.

    The innermost comes first.  Python code cannot reach the cells of a running frame: `cells` is
    empty in this twin.
    """
    if type(filenames) not in (set, frozenset):
        kind = type(filenames).__name__
        raise TypeError(f"frames() needs a set or frozenset of file names, not {kind}")
    return [
        (frame.f_code, frame.f_globals, variables(frame), {})
        for frame in stack(sys._getframe(1))
        if frame.f_code.co_filename in filenames
    ]


def read_generator(generator: Generator[Any, Any, Any], /) -> None:
    """Python cannot read what lies on the value stack of a frame: None, as of one that runs."""
    _check_generator(generator)


def write_generator(
    generator: Generator[Any, Any, Any],
    offset: int,
    variables: tuple[Any, ...],
    stack: tuple[Any, ...],
    /,
) -> list[Any]:
    """Python cannot write it either; raises `ValueError`."""
    _check_generator(generator)
    raise ValueError("only the C extension can put a generator at another place")


def _check_generator(generator: object) -> None:
    if type(generator) is not GeneratorType:
        raise TypeError(f"a generator is needed, not {type(generator).__name__}")
