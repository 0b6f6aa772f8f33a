"""The nest of loops now running: which are watched, where they stand, what their iterations set."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from flor_trace import _speedups
from flor_trace._speedups import UNBOUND, LoopIter
from flor_trace.hints import Any, Protocol
from flor_trace.runtime import policy
from flor_trace.runtime.values import scalar
from flor_trace.types import Leaving, LoopInfo, Scalar

#: Instances of one loop under the same outer iteration beyond which it is given up.
MAX_INSTANCES = 1000

#: A watched loop is looked at again after so many iterations.
JUDGE_EVERY = 1024

#: A loop of such a frame may go on under another iteration of the loops around it.
_SUSPENDING = 0x20 | 0x80 | 0x200  # inspect.CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR


_NOT_YET: Any = object()

running: Callable[[], list[LoopIter]] = _speedups.running


def ask_for_running(source: Callable[[], list[Any]]) -> None:
    """Ask this for the running loops from now on: the engine that traces has loops of its own."""
    global running
    running = source


class Loop:
    """A loop statement of the program while it runs; the `info` of its `Site`."""

    __slots__ = (
        "entries",
        "given_up",
        "info",
        "judge_at",
        "longest",
        "names",
        "probe_iterations",
        "probe_seconds",
        "reported",
        "seconds",
        "target",
        "watched",
    )

    def __init__(self, info: LoopInfo, names: tuple[str, ...], *, watched: bool = False) -> None:
        self.info = info
        self.names = names  #: the names whose values are read at the end of each iteration
        self.watched = watched
        self.given_up = False
        target = info.targets[0] if info.targets else info.dimension
        self.target = names.index(target) if target in names else -1  #: position in `names`
        self.longest = 0.0  #: seconds of its longest iteration so far
        self.probe_iterations = 0
        self.probe_seconds = 0.0
        self.entries = 0  #: executions
        self.judge_at = 0  #: as `reported`
        self.reported = 0  #: iterations, over all executions
        self.seconds = 0.0  #: that these took


class Instance:
    """One execution of a loop, from its entry to its exit.

    `iteration` is the one that runs, or will when the boundary is over; of a loop that fills its
    rows by itself it is brought up to date when a loop inside begins.  `outer` are the watched
    loops around it, from the outermost inwards; `nth` counts the executions of this loop under
    the same outer iteration, so that a loop run twice there is not taken for one.  `under` are the
    iterations of `outer` when this one's began: the body of a generator ends under the next
    iteration of the loop that consumes it, but what it stored belongs to the item it gave.
    `values` are what the targets of `outer` held in these iterations; None where they still do,
    and `_NOT_YET` for the loop that draws the item from the generator.
    """

    __slots__ = (
        "alive",
        "calls",
        "calls_in",
        "dimension",
        "iteration",
        "loop",
        "nest",
        "nth",
        "ours",
        "outer",
        "reported",
        "seconds",
        "since",
        "started",
        "tag",
        "target",
        "under",
        "values",
        "watched",
    )

    def __init__(
        self, nest: Nest, loop: Loop, outer: tuple[Instance, ...], nth: int, now: float
    ) -> None:
        self.nest = nest
        self.loop = loop
        self.outer = outer
        self.under = iterations_of(outer)
        self.values: list[Any] | None = None
        self.nth = nth
        self.started = self.since = now
        self.seconds = 0.0  #: spent in its iterations, without what we did meanwhile
        self.ours = 0.0
        self.iteration = 0
        self.reported = 0  #: iterations that are over and were heard of
        self.alive = True
        self.watched = loop.watched
        self.calls: dict[Loop, int] = {}
        self.calls_in = 0  #: the iteration that `calls` are of
        self.tag: Any = None  #: for the observer
        self.dimension: str
        self.target = loop.info.targets[:1] or (loop.info.dimension,)
        name = loop.info.dimension
        taken = {instance.dimension for instance in outer}
        self.dimension = name if name not in taken else f"{name}@{loop.info.span[0]}"


class Observer(Protocol):
    """Hears of watched loops; `recorder` and the replay's `follower` are the two there are."""

    def entered(self, instance: Instance, li: LoopIter) -> None:
        """The loop has been entered; it may not be watched yet."""

    def watching(self, instance: Instance) -> None:
        """The loop has shown that it is worth watching."""

    def iteration_over(self, instance: Instance, li: LoopIter, iteration: int) -> None:
        """The body of `iteration` is over; of a loop that fills its rows, of those before, too."""

    def boundary(self, instance: Instance, li: LoopIter, k: int) -> None:
        """`k` iterations are over and the next has not begun; the loop is not in another."""

    def left(self, instance: Instance, li: LoopIter, how: Leaving) -> None:
        """The loop is over."""

    def gave_up(self, instance: Instance, why: str) -> None:
        """The loop is watched no longer."""


class Nest:
    """Turns the callbacks of `LoopIter` into an `Observer`'s.

    Everything runs on one thread, and never re-entrantly: the program's own signal handlers may
    run loops while we are inside, which are then not reported.  A generator that was begun on
    another thread belongs to that one's nest.
    """

    def __init__(self, observer: Observer, *, probing: bool = True) -> None:
        self._observer = observer
        self._probing = probing  #: loops have to show that they are worth watching
        self._calls: dict[Loop, int] = {}
        self._ours = 0.0  #: seconds spent in here

    def boundary(self, li: LoopIter) -> None:
        """Handle one boundary of `li`."""
        now = perf_counter()
        instance = li.tag
        if instance is None:
            instance = self._enter(li, now)
            if instance is None:
                return
        elif instance.nest is not self:
            return
        k = li.n
        if k:
            self._count_time(instance, now)
            self._iteration_over(instance, li, k - 1)
        if not li.quiet:
            self._begin(instance, li, k)
        after = perf_counter()
        self._ours += after - now
        instance.since, instance.ours = after, self._ours

    def _begin(self, instance: Instance, li: LoopIter, k: int) -> None:
        instance.iteration = k
        if not instance.outer:
            self._observer.boundary(instance, li, k)
        elif self.outer_of(li) == instance.outer:  # of a generator's loop, they may have gone on
            _note_outer(instance)

    def leave(self, li: LoopIter, how: Leaving) -> None:
        """Handle the end of `li`."""
        instance = li.tag
        if instance is None or instance.nest is not self:
            return
        now = perf_counter()
        self._count_time(instance, now)
        if how == "left" and li.code() is not None:  # its variables can still be read
            self._iteration_over(instance, li, li.n - 1)
        instance.alive = False
        self._count_probe(instance, li)
        if not li.quiet:
            self._observer.left(instance, li, how)
        self._ours += perf_counter() - now

    def _count_time(self, instance: Instance, now: float) -> None:
        seconds = (now - instance.since) - (self._ours - instance.ours)
        instance.seconds += seconds
        instance.loop.seconds += seconds
        if seconds > instance.loop.longest:
            instance.loop.longest = seconds

    def _enter(self, li: LoopIter, now: float) -> Instance | None:
        loop: Loop = li.site.info
        outer = self.outer_of(li)
        calls = _calls(outer[-1]) if outer else self._calls
        nth = calls.get(loop, 0)
        calls[loop] = nth + 1
        if loop.given_up or nth >= MAX_INSTANCES:
            why = "it is run too often in one iteration of the loops around it"
            tell = loop.watched and not loop.given_up
            self._give_up(Instance(self, loop, outer, nth, now), li, why if tell else None)
            return None
        instance = li.tag = Instance(self, loop, outer, nth, now)
        if outer and suspends(li):
            instance.values = _values_so_far(instance)
        loop.entries += 1
        if loop.watched and self._probing:
            for each in outer:
                self._watch(each)
        self._observer.entered(instance, li)
        return instance

    def outer_of(self, li: LoopIter) -> tuple[Instance, ...]:
        """The instances around `li` that are watched or may yet be, outermost first."""
        found = []
        for other in running():
            tag = other.tag
            if tag is None or other is li or other.quiet or tag.nest is not self:
                continue
            if other.rows is not None and other.rows.count:  # filled since we were called
                tag.iteration = other.rows.next
            found.append(tag)
        return tuple(found)

    def _iteration_over(self, instance: Instance, li: LoopIter, iteration: int) -> None:
        loop = instance.loop
        loop.reported += iteration + 1 - instance.reported
        instance.reported = iteration + 1
        if self._probing and not (instance.watched and loop.reported < loop.judge_at):
            loop.judge_at = loop.reported + JUDGE_EVERY
            self._judge(instance, li, iteration + 1)
            if li.quiet:
                return
        for outer in instance.outer:
            if not outer.alive:
                # A generator goes on under another loop; outside of all, it stays where it was.
                instance.outer = self.outer_of(li) or instance.outer
                if instance.outer[-1].alive:
                    _note_outer(instance)
                break
        self._observer.iteration_over(instance, li, iteration)

    def _judge(self, instance: Instance, li: LoopIter, iterations: int) -> None:
        loop, seconds = instance.loop, instance.seconds
        if instance.watched:
            if policy.too_tight(
                loop.entries, loop.reported, loop.seconds, outermost=not instance.outer
            ):
                self._give_up(instance, li, "its iterations are too short to be reported cheaply")
            return
        verdict = policy.judge(
            loop.entries,
            loop.probe_iterations + iterations,
            loop.probe_seconds + seconds,
            loop.longest,
            outermost=not instance.outer,
        )
        if verdict == "watch":
            for each in (*instance.outer, instance):
                self._watch(each)
        elif verdict == "tight":
            self._give_up(instance, li, None)

    def _watch(self, instance: Instance) -> None:
        if not instance.watched:
            instance.watched = instance.loop.watched = True
            self._observer.watching(instance)

    def _give_up(self, instance: Instance, li: LoopIter, why: str | None) -> None:
        li.quiet = True
        instance.iteration = li.n
        li.site.mode = 1
        instance.loop.given_up = True
        if why is not None:
            self._observer.gave_up(instance, why)

    def _count_probe(self, instance: Instance, li: LoopIter) -> None:
        loop = instance.loop
        undecided = self._probing and not (instance.watched or instance.outer or li.quiet)
        if undecided and li.n:  # there are no more iterations to go by
            seconds = loop.probe_seconds + instance.seconds
            iterations = loop.probe_iterations + li.n
            if policy.worth(loop.entries, iterations, seconds, outermost=True):
                self._watch(instance)
        if not loop.watched:
            loop.probe_iterations += li.n
            loop.probe_seconds += instance.seconds
            if self._probing and loop.entries >= policy.PROBE_ITERATIONS and not li.quiet:
                self._give_up(instance, li, None)  # it is entered often, for next to nothing


def _calls(instance: Instance) -> dict[Loop, int]:
    """How often each loop was entered in the iteration that `instance` is in."""
    if instance.calls_in != instance.iteration:
        instance.calls, instance.calls_in = {}, instance.iteration
    return instance.calls


def suspends(li: LoopIter) -> bool:
    """Whether the loop may go on under another iteration of the loops around it."""
    code = li.code()
    return code is None or bool(code.co_flags & _SUSPENDING)


def _note_outer(instance: Instance) -> None:
    instance.under = iterations_of(instance.outer)
    if instance.values is not None:
        instance.values = _values_so_far(instance)


def _values_so_far(instance: Instance) -> list[Any]:
    """As `outer_values`, but for loops that draw their next item: their targets are not set yet."""
    drawing = {li.tag for li in running() if li.tag is not None and li.n == li.tag.iteration}
    values = outer_values(instance)
    return [
        _NOT_YET if outer in drawing else value
        for outer, value in zip(instance.outer, values, strict=True)
    ]


def values_of_row(instance: Instance) -> list[Scalar | None]:
    """What the targets of the loops around `instance` held in the iteration that has just ended."""
    now = outer_values(instance)
    if instance.values is None:
        return now
    return [
        later if value is _NOT_YET else value
        for value, later in zip(instance.values, now, strict=True)
    ]


def iterations_of(instances: tuple[Instance, ...]) -> tuple[int, ...]:
    """The iterations that the `instances` are in."""
    return tuple([each.iteration for each in instances])


def target_value(instance: Instance, li: LoopIter) -> Scalar | None:
    """What the loop's target holds now, if that is a scalar."""
    (value,) = li.lookup(instance.target)
    return None if value is UNBOUND else scalar(value)


def outer_values(instance: Instance) -> list[Scalar | None]:
    """What the targets of the loops around `instance` hold now."""
    holders = {other.tag: other for other in running() if other.tag is not None}
    return [
        target_value(outer, holders[outer]) if outer in holders else None
        for outer in instance.outer
    ]
