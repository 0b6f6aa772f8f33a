"""Who hears of loops, for the Python twins."""

from __future__ import annotations

from _thread import interrupt_main
from collections.abc import Callable

from flor_trace._pure_frames import unseen
from flor_trace.hints import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from flor_trace._pure_loops import LoopIter

Boundary = Callable[["LoopIter"], object]
Leave = Callable[["LoopIter", Literal["exhausted", "left", "raised"]], object]


class Handler:
    """Who hears of loops."""

    def __init__(self, boundary: Boundary, leave: Leave) -> None:
        self.boundary = boundary
        self.leave = leave


current: Handler | None = None


def set_handler(boundary: Boundary | None, leave: Leave | None, /) -> None:
    """Call these for the loops of all threads from now on; None twice: nothing."""
    global current
    if boundary is None and leave is None:
        current = None
    elif callable(boundary) and callable(leave):
        current = Handler(boundary, leave)
    else:
        raise TypeError("set_handler() needs two callables, or None twice")


class Leaving:
    """Calls the handler when it is dropped: the interpreter then reports what is raised."""

    __slots__ = ("_call",)

    def __init__(self, leave: Leave, loop: LoopIter, how: str) -> None:
        self._call = (leave, loop, how)

    def __del__(self) -> None:
        try:
            unseen(*self._call)
        except KeyboardInterrupt:
            from threading import Timer  # noqa: PLC0415 - rare

            # Not now: an exception in here would go to the hook instead of the program.
            Timer(0.05, interrupt_main).start()
