"""The engine that rewrites nothing: loops are told from the opcode events of ``sys.settrace``."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterable, Sequence
from types import FrameType
from typing import Any

from flor_trace._pure_frames import LoopFrame
from flor_trace._speedups import UNBOUND
from flor_trace.instrument.failures import OUR_FAILURES
from flor_trace.instrument.flow import Flow, ForStep, Part
from flor_trace.types import Leaving

_RESUME = dis.opmap["RESUME"]

#: The end of a ``while``'s test. What cleans up behind a statement may have the place of a test
#: before it, but does not decide anything.
_DECIDES = frozenset(
    number for name, number in dis.opmap.items() if "JUMP" in name and "IF" in name
)

_REPORT = 0  #: the mode of a site whose loops are reported
_BEGINS = 0  #: the argument of a RESUME at the beginning of a function

#: A generator or coroutine whose frame event "return" comes at one of these goes on later.
_SUSPENDS = frozenset(
    dis.opmap[name]
    for name in ("YIELD_VALUE", "RETURN_GENERATOR", "SEND", "RESUME")
    if name in dis.opmap
)
_RETURNS = frozenset(
    dis.opmap[name] for name in ("RETURN_VALUE", "RETURN_CONST") if name in dis.opmap
)


class TracedLoop(LoopFrame):
    """One execution of a loop, as `flor_trace._speedups.LoopIter` shows it to a handler."""

    __slots__ = (
        *("_code", "_engine", "_frame", "endless", "head", "index", "known", "n", "part"),
        *("quiet", "rows", "site", "tag", "tested", "thrown"),
    )

    #: Without the iterator, nobody knows how many items there are.
    expected = -1

    def __init__(
        self, engine: TraceEngine, site: Any, index: int, frame: FrameType, *, endless: bool
    ) -> None:
        self._engine = engine
        self._frame = id(frame)  #: the object itself would keep its variables alive
        self._code = frame.f_code
        self.site = site
        self.index = index
        self.endless = endless  #: a ``while`` without a test
        self.part: Part | None = None  #: what ran last of a ``while``; None for a ``for``
        self.tested = False  #: whether the test has come out, since the body ran last
        self.head = -1  #: of an endless loop: the first instruction of its body
        self.thrown: Leaving | None = None  #: how an exception that is under way leaves it
        self.n = 0
        self.quiet = site.mode != _REPORT
        self.known = False  #: whether the handler has heard of it
        self.tag: Any = None
        self.rows: Any = None

    def lookup(self, names: tuple[str, ...]) -> tuple[Any, ...]:
        """Return the values of these variables of the loop's frame; UNBOUND for those without."""
        return self._values(names, UNBOUND)


class TraceEngine:
    """Calls a handler at the boundaries and ends of loops, as rewritten code does.

    It takes the place of the thread's trace function, and is over as soon as the program sets
    one of its own: `lost` then hears why.
    """

    def __init__(
        self,
        boundary: Callable[[Any], object],
        leave: Callable[[Any, Leaving], object],
        lost: Callable[[str], object],
    ) -> None:
        self._boundary = boundary
        self._leave = leave
        self._lost = lost
        self._flows: dict[int, tuple[Flow, Sequence[Any]]] = {}  #: by identity of the code
        self._tracks: dict[int, _Track] = {}  #: by identity of the frame
        self._active = False

    def watch(self, flows: Iterable[Flow], sites: Sequence[Any]) -> None:
        """Report the loops of these code objects from now on; `sites` of all their module."""
        for flow in flows:
            self._flows[id(flow.code)] = flow, sites

    def start(self) -> None:
        """Begin to trace the calling thread."""
        self._active = True
        # Python 3.12 gives opcode events only if some frame wants them when tracing begins.
        sys._getframe().f_trace_opcodes = True
        sys.settrace(self._call)

    def forget(self) -> None:
        """End tracing without a word."""
        self._active = False
        if sys.gettrace() == self._call:
            sys.settrace(None)

    def stop(self) -> None:
        """End tracing; tell `lost` if it had ended before."""
        if self._active:
            self._active = False
            if sys.gettrace() == self._call:
                sys.settrace(None)
            else:
                self._lost("the program set a trace function of its own")

    def running(self) -> list[TracedLoop]:
        """Return the reported loops that the calling thread is in, outermost first."""
        found: list[TracedLoop] = []
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            track = self._tracks.get(id(frame))
            if track is not None and track.flow.code is frame.f_code:
                found += [loop for loop in reversed(track.loops) if not loop.quiet]
            frame = frame.f_back
        return found[::-1]

    # -- events ----------------------------------------------------------------------------------

    def _call(self, frame: FrameType, event: str, arg: object) -> Any:
        known = self._flows.get(id(frame.f_code))
        if known is None or not self._active:
            return None
        if id(frame) not in self._tracks or _begins(frame):
            self._tracks[id(frame)] = _Track(self, *known)
        # Python 3.13 wants the first to be set before the second.
        frame.f_trace = self._event
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        return self._event

    def _event(self, frame: FrameType, event: str, arg: Any) -> Any:
        track = self._tracks.get(id(frame))
        if not self._active or track is None or sys.gettrace() != self._call:
            self._give_way(frame)
            return None
        try:
            if event == "opcode":
                track.opcode(frame)
            elif event == "exception":
                track.thrown = True
                track.how = "left" if issubclass(arg[0], GeneratorExit) else "raised"
            elif event == "return" and not track.suspended():
                del self._tracks[id(frame)]
                track.end()
        except OUR_FAILURES as failure:
            self._active = False
            sys.settrace(None)
            self._lost(f"{type(failure).__name__}: {failure}")
            return None
        return self._event

    def _give_way(self, frame: FrameType) -> None:
        if frame.f_trace == self._event:
            frame.f_trace_opcodes = False
            frame.f_trace_lines = True
            frame.f_trace = None
        if self._active:
            self._active = False
            self._lost("the program set a trace function of its own")

    # -- what a track tells ----------------------------------------------------------------------

    def report_boundary(self, loop: TracedLoop) -> None:
        """Tell the handler that an iteration is over and the next may begin."""
        if not loop.quiet:
            loop.known = True
            self._boundary(loop)

    def report_leave(self, loop: TracedLoop, how: Leaving) -> None:
        """Tell the handler that a loop it knows is over."""
        if loop.known and not loop.quiet:
            self._leave(loop, how)


def _begins(frame: FrameType) -> bool:
    """Tell whether the frame runs from its beginning, and not on after a ``yield``.

    A generator into which an exception is thrown is called where it stands, at its ``yield``.
    """
    at, code = frame.f_lasti, frame.f_code.co_code
    return at < 0 or (code[at] == _RESUME and code[at + 1] & 3 == _BEGINS)


class _Track:
    """Where one frame stands in its loops."""

    __slots__ = ("engine", "flow", "here", "how", "loops", "raw", "sites", "step", "thrown")

    def __init__(self, engine: TraceEngine, flow: Flow, sites: Sequence[Any]) -> None:
        self.engine = engine
        self.flow = flow
        self.sites = sites
        self.loops: list[TracedLoop] = []  #: that are entered, outermost first
        self.here = self.raw = -1  #: the instruction that ran last, and its first prefix
        self.step: ForStep | None = None  #: the FOR_ITER that is running
        self.thrown = False  #: whether an exception came up since the last instruction
        self.how: Leaving = "raised"  #: how the latest exception leaves loops

    def suspended(self) -> bool:
        """Tell whether the frame only pauses.

        By what ran last: an exception that is raised again is at the place where it came up.
        """
        return self._last() in _SUSPENDS and not self.thrown

    def _last(self) -> int:
        return self.flow.code.co_code[self.here] if self.here >= 0 else _RESUME

    def end(self) -> None:
        """Leave all loops: the frame is over."""
        if self.thrown or self._last() not in _RETURNS:
            self._mark_thrown(self.here)
        self._leave_down_to(0)

    def opcode(self, frame: FrameType) -> None:
        """Hear of the instruction that is about to run."""
        raw = frame.f_lasti
        here = self.flow.whole[raw]
        if here == self.here and raw > self.raw:
            self.raw = raw
            return  # only behind its EXTENDED_ARG
        before, self.here, self.raw = self.here, here, raw
        self.thrown = False
        if here in self.flow.handlers:
            self._mark_thrown(before)
        elif self.step is not None:
            self._after_step(self.step, here)
        self.step = None
        self._leave_what_is_over(before, here)
        if here not in self.flow.handlers:
            self._follow_path(frame, before, here)
        step = self.flow.steps.get(here)
        if step is not None:
            self._at_step(frame, step, before)

    def _mark_thrown(self, before: int) -> None:
        path = dict(self.flow.paths.get(before, ()))
        for loop in self.loops:
            # What stands in no place of the program runs when the test is over already.
            if loop.part != "test" or loop.endless or path.get(loop.index) == "test":
                loop.thrown = self.how

    # -- for -------------------------------------------------------------------------------------

    def _at_step(self, frame: FrameType, step: ForStep, before: int) -> None:
        if before == step.begins_after:
            self._enter(frame, step.loop)
        if self.loops and self.loops[-1].index == step.loop:
            self.step = step
            self.engine.report_boundary(self.loops[-1])

    def _after_step(self, step: ForStep, here: int) -> None:
        loop = self.loops[-1]
        if here == step.item:
            loop.n += 1
        elif here in step.ends:
            self.loops.pop()
            self.engine.report_leave(loop, "exhausted")

    # -- while -----------------------------------------------------------------------------------

    def _follow_path(self, frame: FrameType, before: int, here: int) -> None:
        for index, part in self.flow.paths.get(here, ()):
            loop = next((loop for loop in self.loops if loop.index == index), None)
            if loop is not None:
                self._move(loop, part, before, here)
            elif self._may_enter(index, part, here):
                loop = self._enter(frame, index)
                self._move(loop, part, before, here)
            else:
                return

    def _may_enter(self, index: int, part: Part, here: int) -> bool:
        if here in self.flow.returns or part == "header":
            return False
        return part == "test" or index in self.flow.endless

    def _move(self, loop: TracedLoop, part: Part, before: int, here: int) -> None:
        if part != "body" and self.flow.code.co_code[here] in _DECIDES:
            loop.tested = True
        if part == "header":
            if not loop.endless:
                return
            part = "test"
        if part == "body" and (loop.part != "body" or self._jumps_to_head(loop, before, here)):
            loop.head, loop.tested = here, False
            self.engine.report_boundary(loop)
            loop.n += 1
        if not loop.part == part == "test":  # a test can clean up, but not go on after that
            loop.thrown = None
        loop.part = part

    def _jumps_to_head(self, loop: TracedLoop, before: int, here: int) -> bool:
        back = here == loop.head and here <= before
        return back and loop.endless and loop is self.loops[-1]

    # -- entering and leaving --------------------------------------------------------------------

    def _enter(self, frame: FrameType, index: int) -> TracedLoop:
        endless = index in self.flow.endless
        loop = TracedLoop(self.engine, self.sites[index], index, frame, endless=endless)
        self.loops.append(loop)
        return loop

    def _leave_what_is_over(self, before: int, here: int) -> None:
        path = self.flow.paths.get(here)
        inside = None if path is None else dict(path)
        held = self.flow.held.get(here, frozenset())
        broken = self.flow.breaks.get(before)
        for k, loop in enumerate(self.loops):
            if loop.part is None:
                over = loop.index not in held
            elif inside is None:
                over = False
            else:
                part = inside.get(loop.index)
                over = part is None or (loop.index == broken and part != "body")
            if over:
                self._leave_down_to(k)
                break
        for loop in self.loops:
            if loop.part is None:  # the handler, if it was one, is inside of it
                loop.thrown = None

    def _leave_down_to(self, k: int) -> None:
        while len(self.loops) > k:
            loop = self.loops.pop()
            if loop.thrown is not None:
                self.engine.report_leave(loop, loop.thrown)
            elif loop.part == "test" and loop.tested and not loop.endless:
                self.loops.append(loop)  # the handler may ask for what runs
                self.engine.report_boundary(loop)
                self.loops.pop()
                self.engine.report_leave(loop, "exhausted")
            else:
                self.engine.report_leave(loop, "left")
