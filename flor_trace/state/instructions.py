"""The instructions of a code object and the ranges of its exception handlers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import CodeType

from flor_trace.hints import Any
from flor_trace.records import dataclass
from flor_trace.shadows import OurImports

_CACHE = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction; where it begins includes the prefixes of its argument."""

    begin: int
    offset: int  #: of the instruction itself, in bytes of code
    opcode: int
    name: str
    arg: int
    then: int  #: where the next one begins
    target: int | None  #: where it may jump


@dataclass(frozen=True, slots=True)
class Handler:
    """A range of code, and where an exception in it leads."""

    start: int
    end: int
    target: int
    depth: int  #: of what stays on the stack
    lasti: bool  #: whether the place of the exception is put there, below the exception


@cache
def _opcodes() -> Any:
    with OurImports():
        import opcode  # noqa: PLC0415 - only programs with suspended generators need it
    return opcode


def steps(code: CodeType) -> list[Step]:
    """Return the instructions in order, as they were compiled and not as they were adapted."""
    table = _opcodes()
    names, jumps, extended = table.opname, frozenset(table.hasjrel), table.EXTENDED_ARG
    raw = code.co_code
    starts = [at for at in range(0, len(raw), 2) if raw[at] != _CACHE]
    found = []
    begin, prefix = -1, 0
    for at, then in zip(starts, [*starts[1:], len(raw)], strict=True):
        begin = at if begin < 0 else begin
        op, arg = raw[at], prefix << 8 | raw[at + 1]
        if op == extended:
            prefix = arg
            continue
        name = names[op]
        target = None
        if op in jumps:
            target = then + (-2 * arg if "BACKWARD" in name else 2 * arg)
        found.append(Step(begin, at, op, name, arg, then, target))
        begin, prefix = -1, 0
    return found


def effect(step: Step, *, jump: bool) -> int:
    """Return what the instruction does to the depth of the stack; raises `ValueError`."""
    # A generator is resumed with the value sent to it on its stack.
    if step.name == "RETURN_GENERATOR":
        return 1
    table = _opcodes()
    arg = step.arg if step.opcode >= table.HAVE_ARGUMENT else None
    found: int = table.stack_effect(step.opcode, arg, jump=jump)
    return found


def exception_table(code: CodeType) -> Iterator[Handler]:
    """Yield the ranges of the exception table, in bytes of code.

    Read here, by the format that ``Objects/exception_handling_notes.txt`` of CPython describes,
    because the reader in `dis` is private.
    """
    table = iter(code.co_exceptiontable)
    for first in table:
        start = _varint(first, table) * 2
        length = _varint(next(table), table) * 2
        target = _varint(next(table), table) * 2
        packed = _varint(next(table), table)
        yield Handler(start, start + length, target, packed >> 1, bool(packed & 1))


def _varint(first: int, rest: Iterator[int]) -> int:
    value, byte = first & 63, first
    while byte & 64:
        byte = next(rest)
        value = value << 6 | byte & 63
    return value
