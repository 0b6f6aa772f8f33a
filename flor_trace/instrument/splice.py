"""Put the site of each loop into the instructions of one code object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import CodeType

from bytecode import Instr, Label
from bytecode.instr import InstrLocation

from flor_trace.errors import RewriteError
from flor_trace.instrument.items import (
    NO_LOCATION,
    Item,
    arrivals,
    has_line,
    is_instr,
    next_instr,
)
from flor_trace.instrument.markers import Marks
from flor_trace.records import dataclass, field
from flor_trace.types import Span

_GUARD_SHAPE = ("GET_ITER", "FOR_ITER", "UNPACK_SEQUENCE")
DONE = "UNARY_NEGATIVE"
_SIGN_OF = {"tick": "UNARY_INVERT", "done": DONE}


@dataclass(slots=True)
class Guards:
    """The artificial loops that are still to be opened."""

    exits: dict[Label, Label] = field(default_factory=dict)  #: where it iterates -> where it ends
    ends: set[Label] = field(default_factory=set)
    #: the first instruction of each sign of a normal end that is reached from several lines
    shared: list[Instr] = field(default_factory=list)


def signal(sign: str, at: InstrLocation) -> list[Instr]:
    """Return the instructions that give a sign to the sentinel on top of the stack."""
    return [
        Instr("COPY", 1, location=at),
        Instr(sign, location=at),
        Instr("POP_TOP", location=at),
    ]


class Splicer:
    """Copies the instructions of a code object, with the sites of its loops put in."""

    def __init__(
        self,
        items: Sequence[Item],
        marks: Marks,
        sites: Mapping[Span, int],
        swap: Mapping[int, CodeType],
    ) -> None:
        self.items = items
        self.marks = marks
        self.sites = sites
        self.swap = swap
        self.out: list[Item] = []
        self.guards = Guards()

    def run(self) -> tuple[list[Item], Guards]:
        """Return the new items and the guards in them; raise `RewriteError` for a strange form."""
        k = 0
        while k < len(self.items):
            item = self.items[k]
            k = self._instruction(k, item) if is_instr(item) else self._copy(k)
        return self.out, self.guards

    def _copy(self, k: int) -> int:
        self.out.append(self.items[k])
        return k + 1

    def _instruction(self, k: int, item: Instr) -> int:
        if item.name == "LOAD_CONST":
            return self._constant(k, item)
        if item.name == "GET_ITER":
            index = self._for_loop(k, item)
            if index is not None:
                at = item.location
                self.out += [
                    Instr("LOAD_CONST", self.marks.write("site", index), location=at),
                    Instr("SWAP", 2, location=at),
                    Instr("BINARY_SUBSCR", location=at),
                ]
        return self._copy(k)

    def _for_loop(self, k: int, item: Instr) -> int | None:
        at = item.location
        if at is None:
            return None
        place = (at.lineno, at.end_lineno, at.col_offset, at.end_col_offset)
        index = self.sites.get(place)  # type: ignore[arg-type]
        f = next_instr(self.items, k)
        if index is None or f == len(self.items):
            return None
        follower = self.items[f]
        assert is_instr(follower)
        return index if follower.name == "FOR_ITER" and follower.location == at else None

    def _constant(self, k: int, item: Instr) -> int:
        constant: object = item.arg
        if id(constant) in self.swap:
            new = self.swap[id(constant)]
            self.out.append(Instr("LOAD_CONST", new, location=item.location))
            return k + 1
        marker = self.marks.read(constant)
        if marker is not None and marker.part == "site":
            return self._guard(k, item)
        if marker is not None and marker.part in _SIGN_OF:
            return self._signal(k, item, marker.part)
        return self._copy(k)

    def _guard(self, k: int, item: Instr) -> int:
        """Keep the entry of a guard and drop its iteration."""
        get, step, unpack = self._following(k, _GUARD_SHAPE)
        first = next_instr(self.items, unpack)
        end = self.items[step].arg  # type: ignore[union-attr]
        if not isinstance(end, Label) or first == len(self.items):
            raise RewriteError("the compiled form of a while loop is not one that is known")
        heads = [item for item in self.items[get:step] if isinstance(item, Label)]
        self.guards.ends.add(end)
        self.guards.exits.update(dict.fromkeys(heads, end))
        at = self._entry_location(item, self.items[first])
        self.out.append(Instr("LOAD_CONST", item.arg, location=at))
        self.out.append(Instr("GET_ITER", location=at))
        between = self.items[k + 1 : unpack]
        self.out += [x for x in between if not is_instr(x) and x not in heads]
        return unpack + 1

    def _entry_location(self, item: Instr, first: Item) -> InstrLocation:
        """A line of its own stood for a removed NOP, of ``try:`` say; else it is the test's."""
        assert is_instr(first)
        before = next((x.location for x in reversed(self.out) if is_instr(x)), None)
        own = item.location
        if own is None or own.lineno is None:
            return first.location or NO_LOCATION
        same_line = before is not None and before.lineno == own.lineno
        return (first.location or NO_LOCATION) if same_line else own

    def _signal(self, k: int, item: Instr, part: str) -> int:
        """Turn ``~marker`` into a sign to the sentinel, which is on top of the stack."""
        _, pop = self._following(k, ("UNARY_INVERT", "POP_TOP"))
        is_tick = part == "tick"
        at = self._tick_location(k, item, pop) if is_tick else self._done_location(k, item)
        sign = signal(_SIGN_OF[part], at)
        if not is_tick and not has_line(at):
            self.guards.shared.append(sign[0])
        self.out += sign
        return pop + 1

    def _tick_location(self, k: int, item: Instr, pop: int) -> InstrLocation:
        """Belong to the first line of the body, but keep the line that a ``while True`` shows.

        Such a loop has no test, only a NOP on its line, and the compiler merges that into the
        tick.  Any other line the compiler gives comes from the test before, and is the test's.
        """
        first = next_instr(self.items, pop)
        following = self.items[first].location if first < len(self.items) else None  # type: ignore[union-attr]
        own = item.location
        if has_line(own) and own not in arrivals(self.items, self.items[:k]):
            return own or NO_LOCATION
        return following or NO_LOCATION

    def _done_location(self, k: int, item: Instr) -> InstrLocation:
        """Belong to the line of the test that failed; to none if it could be several."""
        if has_line(item.location):
            return item.location or NO_LOCATION
        found = [at for at in arrivals(self.items, self.items[:k]) if at is not None]
        return found[0] if len({at.lineno for at in found}) == 1 else NO_LOCATION

    def _following(self, k: int, names: Sequence[str]) -> list[int]:
        found = []
        for name in names:
            k = next_instr(self.items, k)
            if k == len(self.items) or self.items[k].name != name:  # type: ignore[union-attr]
                raise RewriteError(f"the compiled form of a while loop lacks {name} where expected")
            found.append(k)
        return found
