"""What a code object does, as a list that can be compared with another's."""

from __future__ import annotations

import dis
from types import CodeType

#: What the handling of a sentinel is made of; the compiler moves and copies these by itself.
_STACK = frozenset({"COPY", "POP_TOP", "SWAP", "NOP", "UNARY_INVERT", "UNARY_NEGATIVE"})
#: Handlers end with it; its line shows nowhere, and the compiler gives any.
_WITHOUT_LINE = _STACK | {"RERAISE"}
_LAYOUT = frozenset({"EXTENDED_ARG", "CACHE"})
_JUMPS = frozenset(dis.hasjrel) | frozenset(dis.hasjabs)


def codes(code):
    """Yield a code object and all nested ones."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def steps(code):
    """Return the instructions of a code object without those that only carry arguments."""
    return [step for step in dis.get_instructions(code) if step.opname not in _LAYOUT]


def argument(step):
    """Return an instruction's argument in a form that two compilations share."""
    value = step.argval
    if isinstance(value, CodeType):
        return value.co_qualname, value.co_firstlineno
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)


def stream(code, is_site=None):
    """Return opcodes, arguments and positions; the inserted triples of ``for`` loops left out.

    A jump's argument is the index of its target among what is returned.
    """
    kept, every, k = [], steps(code), 0
    while k < len(every):
        if is_site is not None and is_site(every[k]):
            names = [step.opname for step in every[k + 1 : k + 4]]
            assert names == ["SWAP", "BINARY_SUBSCR", "GET_ITER"], names
            k += 3
        else:
            kept.append(every[k])
            k += 1
    index, at = {}, 0
    for step in every:  # a jump to what is left out goes to what follows it
        while at < len(kept) and kept[at].offset < step.offset:
            at += 1
        index[step.offset] = at
    targets = sorted(index)

    def target(step):
        if step.argval in index:
            return index[step.argval]
        return index[next(offset for offset in targets if offset >= step.argval)]

    return [(s.opname, target(s) if s.opcode in _JUMPS else argument(s), s.positions) for s in kept]


def work(code, loop_kind=lambda step: None):
    """Return the instructions that do the program's work, each with its line, without order.

    For code with ``while`` loops.  The compiler lays such code out anew, because it sees a ``for``
    around each of them: it copies other exits, writes implicit returns elsewhere, and checks more
    variables for having a value.  `loop_kind` tells the sites of loops.
    """
    found, every, k = set(), steps(code), 0
    while k < len(every):
        step = every[k]
        kind = loop_kind(step)
        if kind is not None:
            rest = ["GET_ITER"] if kind == "while" else ["SWAP", "BINARY_SUBSCR"]
            assert [other.opname for other in every[k + 1 : k + 1 + len(rest)]] == rest
            k += len(rest)
        elif step.opname not in _WITHOUT_LINE and step.opcode not in _JUMPS:
            found.update((*each, step.positions.lineno) for each in _parts(step))
        k += 1
    return found - {each for each in found if each[:2] in _RETURNS}


_RETURNS = {("RETURN_CONST", "None"), ("LOAD_CONST", "None"), ("RETURN_VALUE", "None")}


def _parts(step):
    """Split what was put together by the compiler, and take a checked load for a load."""
    names = step.opname.replace("LOAD_FAST_CHECK", "LOAD_FAST")
    kinds = names.replace("_LOAD", " LOAD").replace("_STORE", " STORE").split(" ")
    if len(kinds) == 2 and isinstance(step.argval, tuple):
        return zip(kinds, map(repr, step.argval), strict=True)
    return [(names, str(argument(step)))]
