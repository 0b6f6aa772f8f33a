"""Take the artificial loop round a ``while`` out of the compiled code and leave its sentinel."""

from __future__ import annotations

from collections.abc import Sequence

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
    next_instr,
    target,
    without_empty_ranges,
)
from flor_trace.instrument.splice import Guards
from flor_trace.pyfacts import END_FOR_HAS_POP_TOP, HAS_END_FOR


def open_guards(items: list[Item], guards: Guards) -> list[Item]:
    """Return the items with every jump back to a guard turned into "drop the sentinel, go on".

    The sentinel stays on the stack for as long as the loop runs; ``break`` and the normal end
    reach the guard by a jump, everything else leaves by itself.  Raises `RewriteError` where the
    compiler used a form that is not known.
    """
    if guards.ends:
        items = _Opener(items, guards).run()
    return without_empty_ranges(items)


class _Opener:
    def __init__(self, items: list[Item], guards: Guards) -> None:
        self.items = items
        self.guards = guards
        self.out: list[Item] = []
        self.place = {item: k for k, item in enumerate(items) if isinstance(item, Label)}
        self.after: dict[Label, int] = {}  #: exit label -> first instruction that stays behind it
        self.dropped: set[int] = set()
        #: exit label -> landing places of conditional jumps, with the location of the jump
        self.pads: dict[Label, list[tuple[Label, InstrLocation]]] = {}
        self.range: TryBegin | None = None  #: the exception range that `out` is in
        self.latest: dict[TryBegin, TryBegin] = {}  #: original range -> its latest piece

    def run(self) -> list[Item]:
        for end in self.guards.ends:
            self._drop_end(end)
        self._thread()
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
            if label is None or not jumps_always(item) or label in self.guards.exits:
                continue
            then = next_instr(self.items, self.place[label])
            if then == len(self.items) or not jumps_always(self.items[then]):
                continue
            beyond = target(self.items[then])
            between = self.items[self.place[label] : then]
            if beyond in self.guards.exits and all(isinstance(x, Label) for x in between):
                assert is_instr(item)
                self.items[k] = Instr(item.name, beyond, location=item.location)

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
        if not item.name.startswith("POP_JUMP") or self.place[end] < k:
            raise RewriteError(f"a while loop is left by {item.name} in a way that is not known")
        pad = Label()
        at = item.location or NO_LOCATION
        self.pads.setdefault(end, []).append((pad, at))
        self.out.append(Instr(item.name.replace("BACKWARD", "FORWARD"), pad, location=at))

    def _location(self, item: Instr) -> InstrLocation:
        if has_line(item.location):
            return item.location or NO_LOCATION
        return next((at for at in arrivals(self.items, self.out) if at is not None), NO_LOCATION)

    def _leave(self, end: Label, at: InstrLocation, k: int) -> None:
        """Drop the sentinel and go on behind the loop, outside of the exception range."""
        piece = self.latest[self.range] if self.range is not None else None
        if piece is not None:
            self.out.append(TryEnd(piece))
        self.out.append(Instr("POP_TOP", location=at))
        self.out += self._onwards(end, at, k)
        if piece is not None and self.range is not None:
            again = TryBegin(piece.target, piece.push_lasti, piece.stack_depth)
            self.latest[self.range] = again
            self.out.append(again)

    def _onwards(self, end: Label, at: InstrLocation, k: int) -> Sequence[Item]:
        """Return the jump behind the loop, or a copy of the implicit ``return None`` there.

        The compiler gives such a return the line of the statement that runs into it, so that a
        tracer sees no line of its own.
        """
        first = self.items[self.after[end]]
        assert is_instr(first)
        if first.name == "RETURN_CONST" and is_invented(first):
            return [Instr("RETURN_CONST", first.arg, location=at)]
        if first.name == "LOAD_CONST" and is_invented(first):
            then = self.items[next_instr(self.items, self.after[end])]
            assert is_instr(then)
            if then.name == "RETURN_VALUE":
                return [
                    Instr("LOAD_CONST", first.arg, location=at),
                    Instr("RETURN_VALUE", location=at),
                ]
        exit_at = self.place[end]
        if exit_at < k:
            return [Instr("JUMP_BACKWARD_NO_INTERRUPT", end, location=at)]
        if any(is_instr(item) for item in self.items[k + 1 : exit_at]) or end in self.pads:
            return [Instr("JUMP_FORWARD", end, location=at)]
        return []

    def _land(self, end: Label) -> None:
        """Put the landing places of conditional jumps in front of the exit."""
        for pad, at in self.pads.get(end, ()):
            last = next((item for item in reversed(self.out) if is_instr(item)), None)
            if last is not None and not last.is_final():
                self.out.append(Instr("JUMP_FORWARD", end, location=NO_LOCATION))
            self.out.append(pad)
            self._leave(end, at, self.place[end] - 1)
