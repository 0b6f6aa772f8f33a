"""Sites and running loops in Python, as `native/loops.c`, but slower and less discreet.

A loop reported by this twin costs about a microsecond an iteration and leaves frames of this file
in tracebacks; an exit by exception is told by the instruction that let the loop go.
"""

from __future__ import annotations

import opcode
import sys
from types import FrameType
from typing import Any, final
from weakref import ref

from flor_trace import _pure_handler as handlers
from flor_trace._pure_columns import Columns
from flor_trace._pure_frames import UNBOUND, LoopFrame, check_names, stack, unseen

RECURSION_NEEDED = 100
REPORT, RAW = 0, 1

#: How a loop is let go without an exception: popped, unbound, rebound, or with a generator.
_ORDERLY = frozenset(
    number
    for name, number in opcode.opmap.items()
    if name.startswith(("POP_TOP", "POP_ITER", "END_", "STORE_", "DELETE_", "RETURN_"))
    or name in ("RESUME", "YIELD_VALUE", "SEND")
)

_live: dict[int, ref[LoopIter]] = {}  #: by the order of entry
_entered = 0


def _binary(what: str, value: int) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{what} must be an int, not {type(value).__name__}")
    if value not in (0, 1):
        raise ValueError(f"{what} must be 0 or 1, not {value}")
    return value


@final
class Site:
    """One loop statement of rewritten code.

    ``site[iterable]`` stands for the iterable of a ``for`` (kind 0), ``iter(site)`` is the
    sentinel of a ``while`` (kind 1); ``~site`` and ``-site`` sign to the caller's running loop.
    """

    __slots__ = ("_entries", "_info", "_iterations", "_kind", "_mode")

    def __init__(self, info: Any, kind: int, mode: int = REPORT) -> None:
        self._info = info
        self._kind = _binary("kind", kind)
        self._mode = _binary("mode", mode)
        self._entries = self._iterations = 0

    @property
    def info(self) -> Any:
        """What the site was made with."""
        return self._info

    @property
    def kind(self) -> int:
        """0 for `for`, 1 for `while`."""
        return self._kind

    @property
    def mode(self) -> int:
        """0: its loops are reported; 1: they run untouched from their next entry on."""
        return self._mode

    @mode.setter
    def mode(self, value: int) -> None:
        self._mode = _binary("mode", value)

    @property
    def entries(self) -> int:
        """How many reported instances of the loop have ended."""
        return self._entries

    @property
    def iterations(self) -> int:
        """How many iterations those instances began."""
        return self._iterations

    def _reports(self) -> bool:
        return self._mode == REPORT and handlers.current is not None

    def __getitem__(self, iterable: Any, /) -> Any:
        if self._kind != 0:
            raise TypeError("a while site has no items; iter(site) begins its loop")
        return LoopIter._new(self, iterable) if self._reports() else iterable

    def __iter__(self) -> LoopIter:
        if self._kind != 1:
            raise TypeError("a for site begins its loop by site[iterable]")
        loop = LoopIter._new(self, None)
        if self._reports():
            loop._start(sys._getframe(1))
        return loop

    def __invert__(self) -> None:
        loop = self._running(sys._getframe(1))
        return None if loop is None else ~loop

    def __neg__(self) -> None:
        loop = self._running(sys._getframe(1))
        return None if loop is None else -loop

    def _running(self, frame: FrameType) -> LoopIter | None:
        live = (each() for each in reversed(list(_live.values())))
        mine = (loop for loop in live if loop is not None and loop._site is self)
        return next((loop for loop in mine if loop._frame == id(frame)), None)

    def __repr__(self) -> str:
        return f"<Site of a {'while' if self._kind else 'for'} loop>"

    def __reduce__(self) -> tuple[type[Site], tuple[None, int, int]]:
        """A site of the same kind that reports nothing, for code sent elsewhere."""
        return (Site, (None, self._kind, RAW))


@final
class LoopIter(LoopFrame):
    """One execution of a loop; made by `Site` only.

    For ``while``, ``~loop`` begins an iteration and ``-loop`` says that the condition was false.
    """

    __slots__ = (
        "__weakref__",
        "_code",
        "_frame",
        "_handler",
        "_inner",
        "_live",
        "_loud",
        "_n",
        "_offset",
        "_order",
        "_pending",
        "_quiet",
        "_reported",
        "_rows",
        "_site",
        "tag",
    )

    _handler: handlers.Handler | None
    _inner: Any
    _live: bool
    _loud: bool
    _n: int
    _offset: int
    _order: int
    _pending: bool
    _quiet: bool
    _reported: bool
    _rows: Columns | None
    _site: Site
    tag: Any

    def __init__(self) -> None:
        raise TypeError(f"cannot create '{type(self).__module__}.LoopIter' instances")

    @classmethod
    def _new(cls, site: Site, inner: Any) -> LoopIter:
        self = cls.__new__(cls)
        self._site = site
        self._inner = inner
        self._pending = site._kind == 0
        self._live = self._loud = self._quiet = self._reported = False
        self._frame = self._n = self._offset = self._order = 0
        self._code = None
        self._handler = handlers.current
        self.tag = self._rows = None
        return self

    def _start(self, frame: FrameType) -> None:
        """Begin; the frame object lasts as long as its frame, so that its id names it."""
        global _entered
        self._pending = False
        self._live = True
        self._loud = not self._quiet
        self._frame = id(frame)
        self._code = frame.f_code
        _entered += 1
        self._order = _entered
        _live[_entered] = ref(self)

    # -- reporting -------------------------------------------------------------------------

    def _can_report(self) -> bool:
        if handlers.current is None or self._handler is not handlers.current:
            self._loud = False
            return False
        try:
            sys._getframe(sys.getrecursionlimit() - RECURSION_NEEDED)
        except ValueError:
            return True
        return False

    def _report_boundary(self) -> None:
        if self._loud and self._can_report():
            assert handlers.current is not None
            self._reported = True
            raised = True
            try:
                if self._rows is None or self._n == 0 or unseen(self._add_row, self._rows):
                    unseen(handlers.current.boundary, self)
                raised = False
            finally:
                if raised:  # the traceback keeps this object: nothing else would end it now
                    self._end("raised")

    def _add_row(self, rows: Columns) -> bool:
        """Fill the rows; whether the handler is to be called."""
        return self.code() is None or rows._boundary(self, self._n - 1)

    def _end(self, how: str) -> None:
        known = self._loud and self._reported and self._can_report()
        self._live = self._loud = False
        self._site._entries += 1
        self._site._iterations += self._n - self._offset
        _live.pop(self._order, None)
        if known:
            assert handlers.current is not None
            handlers.Leaving(handlers.current.leave, self, how)

    def __del__(self) -> None:
        if getattr(self, "_live", False):
            self._end(self._how_it_is_left(sys._getframe(1)))

    def _how_it_is_left(self, frame: FrameType) -> str:
        if id(frame) != self._frame or frame.f_lasti < 0:
            return "left"
        return "left" if frame.f_code.co_code[frame.f_lasti] in _ORDERLY else "raised"

    # -- what the loop does ----------------------------------------------------------------

    def __iter__(self) -> LoopIter:
        if self._pending:
            self._inner = iter(self._inner)
            self._start(sys._getframe(1))
        return self

    def __next__(self) -> Any:
        if self._site._kind == 1:
            return ()  # the artificial `for` round a `while` lets its only pass begin
        self._report_boundary()
        if self._pending or self._inner is None:
            raise StopIteration
        try:
            item = next(self._inner)
        except StopIteration:
            if self._live:
                self._end("exhausted")
            raise
        self._n += 1
        return item

    def __invert__(self) -> None:
        self._report_boundary()
        self._n += 1

    def __neg__(self) -> None:
        self._report_boundary()
        if self._live:
            self._end("exhausted")

    # -- what a handler can ask ------------------------------------------------------------

    @property
    def site(self) -> Site:
        """The site whose loop this is."""
        return self._site

    @property
    def n(self) -> int:
        """How many iterations have begun."""
        return self._n

    @n.setter
    def n(self, value: int) -> None:
        if not isinstance(value, int):
            raise TypeError("n must be an int")
        self._offset += value - self._n
        self._n = value

    @property
    def quiet(self) -> bool:
        """Whether nothing of it is reported any more."""
        return self._quiet

    @quiet.setter
    def quiet(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise TypeError("quiet must be a bool")
        self._quiet = value
        self._loud = self._live and not value

    @property
    def rows(self) -> Columns | None:
        """Columns that every boundary fills, mostly without a call of the handler; or None."""
        return self._rows

    @rows.setter
    def rows(self, value: Columns | None) -> None:
        if value is not None and type(value) is not Columns:
            raise TypeError("rows must be Columns or None")
        self._rows = value

    @property
    def expected(self) -> int:
        """How many items there are in all, or -1 when that cannot be known."""
        if type(self._inner) not in _COUNTED:
            return -1
        remaining: int = self._inner.__length_hint__()
        return remaining + self._n - self._offset

    @property
    def iterator(self) -> Any:
        """What a `for` loop draws from, or None."""
        return self._inner

    def lookup(self, names: tuple[str, ...], /) -> tuple[Any, ...]:
        """The values of these variables of the loop's frame; UNBOUND for those without."""
        check_names("lookup()", names)
        return self._values(names, UNBOUND)

    def __repr__(self) -> str:
        return f"<LoopIter in iteration {self._n - 1}>"


_COUNTED: tuple[type, ...] = (type(iter(range(0))), type(iter([])), type(iter(())))


def running() -> list[LoopIter]:
    """The reported loops that the calling thread is in, outermost first."""
    depths = {id(frame): depth for depth, frame in enumerate(stack(sys._getframe(1)))}
    loops = [loop for each in list(_live.values()) if (loop := each()) is not None]
    loops = [loop for loop in loops if loop._running_frame() is not None]
    return sorted(loops, key=lambda loop: (-depths[loop._frame], loop._order))
