"""What is known of each ``yield`` of a code object before any generator stands at it."""

from __future__ import annotations

import marshal
from collections import Counter
from collections.abc import Sequence
from types import CodeType
from weakref import WeakKeyDictionary

from flor_trace._speedups import Site, digest
from flor_trace.hints import Any, Final, TypeAlias
from flor_trace.records import dataclass
from flor_trace.state.instructions import Handler, Step, effect, exception_table, steps

#: First line, last line, first column, end column; the columns are None where Python keeps none.
Place = tuple[int | None, int | None, int | None, int | None]

#: What lies in a slot of the value stack: the site of a ``while`` for the sentinel of its loop,
#: the word "site" and a site for the constant itself, "iterator", or None for whatever it may be.
Slot: TypeAlias = "Site | tuple[str, Site] | str | None"
Slots: TypeAlias = "tuple[Slot, ...]"

ITERATOR: Final = "iterator"
_SITE: Final = "site"
_FINAL: Final = frozenset({"RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE"})
_LEAVES: Final = _FINAL | {"JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"}
#: Those that put something else in the place of an iterator or of a sentinel.
_ON_TOP: Final = frozenset({"GET_ITER", "UNARY_INVERT", "UNARY_NEGATIVE"})
_WHILE: Final = 1


@dataclass(frozen=True, slots=True)
class Yield:
    """A place at which a generator can stand."""

    offset: int
    place: Place  #: in the source
    copy: int  #: which of those that the compiler made of the same ``yield``
    slots: Slots  #: of the value stack, below what is yielded
    delegates: bool  #: to the iterator on top of them, as ``yield from`` does


@dataclass(frozen=True, slots=True)
class Yields:
    """All of one code object, and what code compiled from the same source has in common."""

    by_offset: dict[int, Yield]
    fingerprint: str
    why_not: str  #: why it is not known what lies on the stack, or nothing

    def at(self, place: Place, copy: int) -> Yield | None:
        """Return the one that was compiled from this place of the source."""
        found = [y for y in self.by_offset.values() if y.place == place and y.copy == copy]
        return found[0] if len(found) == 1 else None


_known: WeakKeyDictionary[CodeType, Yields] = WeakKeyDictionary()


def yields_of(code: CodeType) -> Yields:
    """Return what is known of the yields of a code object; the answer is remembered."""
    found = _known.get(code)
    if found is None:
        found = _known[code] = _find(code)
    return found


def _find(code: CodeType) -> Yields:
    program = steps(code)
    places: list[Place] = list(code.co_positions())
    stops = [step for step in program if step.name == "YIELD_VALUE"]
    spots = [places[step.offset // 2] for step in stops]
    try:
        held = _Follow(code, program).run()
        why_not = ""
    except (ValueError, IndexError, KeyError) as error:
        held, why_not = {}, f"what lies on its value stack cannot be followed: {error}"
    before = {step.then: step.name for step in program}
    copies: Counter[Place] = Counter()
    found = {}
    for step, place in zip(stops, spots, strict=True):
        if step.begin in held:
            slots, delegates = held[step.begin][:-1], before.get(step.begin) == "SEND"
            found[step.offset] = Yield(step.offset, place, copies[place], slots, delegates)
        copies[place] += 1
    return Yields(found, _fingerprint(code, spots), why_not)


def _fingerprint(code: CodeType, spots: Sequence[Place]) -> str:
    """Return a digest of what no rewriting changes: the same for all code of the same source."""
    constants = {repr(constant) for constant in code.co_consts if _is_plain(constant)}
    facts: Any = (
        (code.co_qualname, code.co_firstlineno, code.co_flags),
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        *(tuple(sorted(names)) for names in (code.co_varnames, code.co_cellvars, code.co_names)),
        code.co_freevars,
        tuple(sorted(constants)),
        tuple(sorted(map(repr, spots))),
    )
    return digest(marshal.dumps(facts, 2)).hex()


def _is_plain(constant: object) -> bool:
    if type(constant) is str:
        return not constant.startswith("\0")  # as our markers do
    if type(constant) is int:
        return constant not in (0, 1)  # that of a `while 1` is not always left
    return type(constant) in (float, complex, bytes)


class _Follow:
    """Carries what lies in each slot of the stack along every path through a code object.

    Iterators and sentinels of loops are moved by few instructions only; all others are known well
    enough by how many slots they add or take.
    """

    def __init__(self, code: CodeType, program: Sequence[Step]) -> None:
        self.code = code
        self.steps = {step.begin: step for step in program}
        self.handlers = self._handlers(list(exception_table(code)))
        self.held: dict[int, Slots] = {}
        self.pending: list[int] = []

    def _handlers(self, table: Sequence[Handler]) -> dict[int, Handler]:
        return {
            begin: handler
            for begin, step in self.steps.items()
            for handler in table
            if handler.start <= step.offset < handler.end
        }

    def run(self) -> dict[int, Slots]:
        """Return the slots in front of each instruction that can be reached.

        Raises `ValueError`, `IndexError` or `KeyError` when paths do not agree.
        """
        self._reach(0, ())
        while self.pending:
            step = self.steps[self.pending.pop()]
            slots = self.held[step.begin]
            handler = self.handlers.get(step.begin)
            if handler is not None:
                self._reach(handler.target, slots[: handler.depth] + (None,) * (handler.lasti + 1))
            if step.target is not None:
                self._reach(step.target, _moved(slots, effect(step, jump=True)))
            if step.name not in _LEAVES:
                self._reach(step.then, self._after(step, slots))
        return self.held

    def _reach(self, begin: int, slots: Slots) -> None:
        known = self.held.get(begin)
        if known is not None and known != slots:
            slots = _common(known, slots, begin)
        if known != slots:
            self.held[begin] = slots
            self.pending.append(begin)

    def _after(self, step: Step, slots: Slots) -> Slots:
        name, arg = step.name, step.arg
        if name in _REARRANGES:
            return _REARRANGES[name](slots, arg)
        if name in _ON_TOP:
            return (*slots[:-1], _iterated(slots[-1]) if name == "GET_ITER" else None)
        if name == "LOAD_CONST":
            constant = self.code.co_consts[arg]
            return (*slots, (_SITE, constant) if type(constant) is Site else None)
        # What a generator expression runs over is given to it as an iterator.
        given = name.startswith("LOAD_FAST") and self.steps[step.then].name == "FOR_ITER"
        return _moved(slots, effect(step, jump=False), ITERATOR if given else None)


def _swapped(slots: Slots, arg: int) -> Slots:
    return (*slots[:-arg], slots[-1], *slots[len(slots) - arg + 1 : -1], slots[-arg])


def _copied(slots: Slots, arg: int) -> Slots:
    return (*slots, slots[-arg])


def _subscribed(slots: Slots, _: int) -> Slots:
    return (*slots[:-2], None)


_REARRANGES: Final = {"SWAP": _swapped, "COPY": _copied, "BINARY_SUBSCR": _subscribed}


def _common(one: Slots, other: Slots, begin: int) -> Slots:
    """Return what is known on either path; only the sentinels must be the same on both."""
    found = tuple(a if a == b else None for a, b in zip(one, other, strict=True))
    for a, b, both in zip(one, other, found, strict=True):
        if both is None and Site in (type(a), type(b)):
            raise ValueError(f"two paths to offset {begin} leave different loops there")
    return found


def _iterated(slot: Slot) -> Slot:
    if isinstance(slot, tuple) and slot[1].kind == _WHILE:
        return slot[1]
    return ITERATOR


def _moved(slots: Slots, effect: int, new: Slot = None) -> Slots:
    if effect < 0:
        if -effect > len(slots):
            raise ValueError("more is taken from it than lies there")
        return slots[:effect]
    return (*slots, *(new,) * effect)
