"""Reading the variables of frames of the current thread, and calling unseen by tracers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from inspect import CO_OPTIMIZED
from types import CodeType, FrameType
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


def unseen(callback: Callable[..., object], *arguments: object) -> None:
    """Call a part of a handler where no trace or profile function sees it."""
    trace, profile = sys.gettrace(), sys.getprofile()
    if trace is None and profile is None:
        callback(*arguments)
        return
    sys.settrace(None)
    sys.setprofile(None)
    try:
        callback(*arguments)
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
