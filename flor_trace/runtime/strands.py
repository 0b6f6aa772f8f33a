"""One nest of loops for each thread of the program."""

from __future__ import annotations

import sys
from _thread import _local, get_ident
from collections.abc import Callable

from flor_trace._speedups import LoopIter, set_handler
from flor_trace.runtime.guard import Guard
from flor_trace.runtime.nest import Nest
from flor_trace.types import Leaving


class Strand:
    """The nest of one thread, and whether it is at work."""

    __slots__ = ("busy", "nest")

    def __init__(self, nest: Nest) -> None:
        self.nest = nest
        self.busy = False


class Strands:
    """Takes the callbacks of all loops to the nest of the thread that they come from.

    The thread that makes this is the main one; `make` gives the nest of another, whose name it is
    told.  `before` is called each time before anything else; `stop` after the first failure of
    ours, upon which nothing may call us any more.
    """

    def __init__(
        self,
        nest: Nest,
        make: Callable[[str], Nest],
        guard: Guard,
        *,
        before: Callable[[], None],
        stop: Callable[[], None],
    ) -> None:
        self._make = make
        self._guard = guard
        self._before = before
        self._stop = stop
        self._of = _local()
        self._of.strand = Strand(nest)
        self._names: set[str] = set()

    def start(self) -> None:
        """Hear of loops from now on."""
        set_handler(self.boundary, self.leave)

    def boundary(self, li: LoopIter) -> None:
        """Handle one boundary of `li`."""
        strand = self._strand()
        if not strand.busy:  # else a signal handler of the program runs loops while we are inside
            self._enter(strand, "recording a loop", strand.nest.boundary, li)

    def leave(self, li: LoopIter, how: Leaving) -> None:
        """Handle the end of `li`."""
        strand = self._strand()
        if not strand.busy:
            self._enter(strand, "recording the end of a loop", strand.nest.leave, li, how)

    def _enter(
        self, strand: Strand, what: str, action: Callable[..., None], *arguments: object
    ) -> None:
        strand.busy = True
        try:
            self._before()
            if not self._guard.call(what, action, *arguments):
                self._stop()
        finally:
            strand.busy = False

    def _strand(self) -> Strand:
        strand: Strand | None = getattr(self._of, "strand", None)
        if strand is None:
            strand = self._of.strand = Strand(self._make(self._name()))
        return strand

    def _name(self) -> str:
        """The name of the calling thread, made unique."""
        name = base = _thread_name()
        count = 1
        while name in self._names:
            count += 1
            name = f"{base} #{count}"
        self._names.add(name)
        return name


def _thread_name() -> str:
    # Not current_thread(): it would list a thread that it does not know among the program's.
    threading = sys.modules.get("threading")
    threads = [] if threading is None else threading.enumerate()
    here = get_ident()
    return next((each.name for each in threads if each.ident == here), "thread")
