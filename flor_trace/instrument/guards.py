"""Take the artificial loop round a ``while`` out of the compiled code and leave its sentinel."""

from __future__ import annotations

from bytecode.instr import Instr, InstrLocation, Label, TryBegin, TryEnd

from flor_trace.errors import RewriteError
from flor_trace.instrument.items import (
    NO_LOCATION,
    Item,
    arrivals,
    has_line,
    is_instr,
    is_invented,
    jumps_always,
    labels_before,
    next_instr,
    target,
    without_empty_ranges,
)
from flor_trace.instrument.splice import DONE, Guards, signal
from flor_trace.pyfacts import END_FOR_HAS_POP_TOP, HAS_END_FOR
from flor_trace.records import dataclass

#: A class body ends with three such instructions on Python 3.13; more are passed on the way.
_LONGEST_ENDING = 8


def open_guards(items: list[Item], guards: Guards) -> list[Item]:
    """Return the items with every jump back to a guard turned into "drop the sentinel, go on".

    The sentinel stays on the stack for as long as the loop runs; ``break`` and the normal end
    reach the guard by a jump, everything else leaves by itself.  Raises `RewriteError` where the
    compiler used a form that is not known.
    """
    if guards.ends:
        items = _Opener(items, guards).run()
    return without_empty_ranges(items)


@dataclass(frozen=True, slots=True)
class _Pad:
    """Where a conditional jump lands that leaves a loop."""

    label: Label
    at: InstrLocation  #: that of the jump
    done: bool  #: whether the sentinel has still to hear that the loop ended normally


class _Opener:
    def __init__(self, items: list[Item], guards: Guards) -> None:
        self.items = items
        self.guards = guards
        self.out: list[Item] = []
        self.place = {item: k for k, item in enumerate(items) if isinstance(item, Label)}
        self.after: dict[Label, int] = {}  #: exit label -> first instruction that stays behind it
        self.dropped: set[int] = set()
        self.pads: dict[Label, list[_Pad]] = {}  #: exit label -> landing places in front of it
        self.ranges = _ranges(items)
        self.range: TryBegin | None = None  #: the exception range that `out` is in
        self.latest: dict[TryBegin, TryBegin] = {}  #: original range -> its latest piece

    def run(self) -> list[Item]:
        for end in self.guards.ends:
            self._drop_end(end)
        self._thread()
        for sign in self.guards.shared:
            self._part(next(k for k, item in enumerate(self.items) if item is sign))
        for k, item in enumerate(self.items):
            if k not in self.dropped:
                self._emit(k, item)
        return self.out

    def _drop_end(self, end: Label) -> None:
        """FOR_ITER is gone, and what it would leave behind with it."""
        k = next_instr(self.items, self.place[end])
        for name in ("END_FOR",) * HAS_END_FOR + ("POP_TOP",) * END_FOR_HAS_POP_TOP:
            if k == len(self.items) or self.items[k].name != name:  # type: ignore[union-attr]
                raise RewriteError(f"the end of a while loop's guard lacks {name}")
            self.dropped.add(k)
            k = next_instr(self.items, k)
        self.after[end] = k

    def _thread(self) -> None:
        """Let jumps to a jump to a guard go there themselves, to keep their own location."""
        for k, item in enumerate(self.items):
            label = target(item)
            if label is None or label in self.guards.exits or not _can_be_led(item):
                continue
            beyond = self._relayed(label)
            if beyond in self.guards.exits:
                assert is_instr(item)
                # A conditional jump lands in front of the exit, which must lie ahead.
                if jumps_always(item) or self.place[self.guards.exits[beyond]] > k:
                    self.items[k] = Instr(item.name, beyond, location=item.location)

    def _part(self, k: int) -> None:
        """Give tests on several lines, one of which ends the loop, each its own way out.

        `k` is where they meet to say that the loop is done.  Without an else clause nothing
        follows but the exit, which shows the line that it is reached from; a ``pass`` in an else
        clause leaves nothing but its line there.
        """
        leave = next_instr(self.items, k + 2)
        end = self._exit_of(leave)
        lines = {at.lineno for at in arrivals(self.items, self.items[:k]) if at is not None}
        if end is None or self._line_of(leave) not in (None, *lines):
            return
        labels = set(labels_before(self.items, k))
        for j, item in enumerate(self.items):
            if target(item) in labels and not jumps_always(item) and self.place[end] > j:
                assert is_instr(item)
                self.items[j] = self._to_pad(item, end, done=True)
        found = {at for at in arrivals(self.items, self.items[:k]) if at is not None}
        if len(found) == 1:
            self.items[k : k + 3] = signal(DONE, found.pop())

    def _line_of(self, k: int) -> int | None:
        item = self.items[k]
        found = item.location.lineno if is_instr(item) and item.location else None
        return found if isinstance(found, int) else None

    def _exit_of(self, k: int) -> Label | None:
        """Return where the guard ends that the item at index `k` jumps to, if it does."""
        label = target(self.items[k]) if k < len(self.items) else None
        return None if label is None else self.guards.exits.get(label)

    def _relayed(self, label: Label) -> Label | None:
        """Return where a jump that stands alone at a label goes, if it has no line to show."""
        then = next_instr(self.items, self.place[label])
        if then == len(self.items) or not jumps_always(self.items[then]):
            return None
        relay = self.items[then]
        between = self.items[self.place[label] : then]
        shown = is_instr(relay) and has_line(relay.location)
        return target(relay) if not shown and all(isinstance(x, Label) for x in between) else None

    def _emit(self, k: int, item: Item) -> None:
        label = target(item)
        if label in self.guards.exits:
            assert is_instr(item)
            self._jump_to_guard(k, item, self.guards.exits[label])
        elif isinstance(item, Label) and item in self.guards.ends:
            self._land(item)
            self.out.append(item)
        elif isinstance(item, TryBegin):
            self.range = item
            self.latest[item] = item
            self.out.append(item)
        elif isinstance(item, TryEnd):
            self.range = None
            self.out.append(TryEnd(self.latest.get(item.entry, item.entry)))
        else:
            self.out.append(item)

    def _jump_to_guard(self, k: int, item: Instr, end: Label) -> None:
        if jumps_always(item):
            self._leave(end, self._location(item), k)
            return
        if not _can_be_led(item) or self.place[end] < k:
            raise RewriteError(f"a while loop is left by {item.name} in a way that is not known")
        self.out.append(self._to_pad(item, end, done=False))

    def _to_pad(self, item: Instr, end: Label, *, done: bool) -> Instr:
        """Return the conditional jump, led to a landing place of its own."""
        pad = _Pad(Label(), item.location or NO_LOCATION, done)
        self.pads.setdefault(end, []).append(pad)
        name = item.name.replace("BACKWARD", "FORWARD")
        return Instr(name, pad.label, location=pad.at)

    def _location(self, item: Instr) -> InstrLocation:
        if has_line(item.location):
            return item.location or NO_LOCATION
        into = {exit_: head for head, exit_ in self.guards.exits.items()}
        found = [at for at in arrivals(self.items, self.out, into) if at is not None]
        return found[0] if len({at.lineno for at in found}) == 1 else NO_LOCATION

    def _leave(self, end: Label, at: InstrLocation, k: int) -> None:
        """Drop the sentinel and go on behind the loop.

        An ending that the source has no text for, such as the implicit ``return None``, is
        copied: the compiler gives each way into it the line that it comes from.
        """
        self.out.append(Instr("POP_TOP", location=at))
        ending, covered = self._ending(end)
        copied = [Instr(x.name, x.arg, location=at) for x in ending]
        if copied and covered is self.range:
            self.out += copied
        elif copied and covered is None:
            self._outside(copied)
        else:
            self._outside(self._jump(end, at, k))

    def _ending(self, end: Label) -> tuple[list[Instr], TryBegin | None]:
        """Return the invented instructions behind a loop up to a return, and their range.

        The way there may lead through the ends of outer loops; their sentinels go too.
        """
        found: list[Instr] = []
        ranges: list[TryBegin | None] = []
        k = self.after[end]
        for _ in range(_LONGEST_ENDING):
            item = self.items[k] if k < len(self.items) else None
            if not is_instr(item) or not is_invented(item):
                break
            label = target(item)
            if label is None:
                found.append(item)
                ranges.append(self.ranges[k])
                if item.is_final():
                    return (found, ranges[0]) if len(set(ranges)) == 1 else ([], None)
                k = next_instr(self.items, k)
            elif not jumps_always(item):
                break
            elif label in self.guards.exits:
                found.append(Instr("POP_TOP"))
                k = self.after[self.guards.exits[label]]
            else:
                k = next_instr(self.items, self.place[label])
        return [], None

    def _outside(self, following: list[Instr]) -> None:
        """Put out instructions that the current exception range does not cover.

        A jump cannot raise, and the range may count on the sentinel that is gone here.
        """
        if self.range is None:
            self.out += following
            return
        piece = self.latest[self.range]
        again = TryBegin(piece.target, piece.push_lasti, piece.stack_depth)
        self.latest[self.range] = again
        self.out += [TryEnd(piece), *following, again]

    def _jump(self, end: Label, at: InstrLocation, k: int) -> list[Instr]:
        exit_at = self.place[end]
        if exit_at < k:
            return [Instr("JUMP_BACKWARD_NO_INTERRUPT", end, location=at)]
        if any(is_instr(item) for item in self.items[k + 1 : exit_at]) or end in self.pads:
            return [Instr("JUMP_FORWARD", end, location=at)]
        return []

    def _land(self, end: Label) -> None:
        """Put the landing places of conditional jumps in front of the exit."""
        for pad in self.pads.get(end, ()):
            last = next((item for item in reversed(self.out) if is_instr(item)), None)
            if last is not None and not last.is_final():
                self.out.append(Instr("JUMP_FORWARD", end, location=NO_LOCATION))
            self.out.append(pad.label)
            self.out += signal(DONE, pad.at) if pad.done else ()
            self._leave(end, pad.at, self.place[end] - 1)


def _can_be_led(item: Item) -> bool:
    """Tell whether this jump may end somewhere else: what it takes from the stack is all."""
    if not is_instr(item):
        return False
    takes_all = item.name.startswith("POP_JUMP") or (item.name == "FOR_ITER" and not HAS_END_FOR)
    return takes_all or jumps_always(item)


def _ranges(items: list[Item]) -> list[TryBegin | None]:
    """Return the exception range that covers each item."""
    found: list[TryBegin | None] = []
    now: TryBegin | None = None
    for item in items:
        if isinstance(item, TryBegin):
            now = item
        elif isinstance(item, TryEnd):
            now = None
        found.append(now)
    return found
