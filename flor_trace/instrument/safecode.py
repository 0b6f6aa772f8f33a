"""Take code objects apart and put them together again without the defaults of `bytecode`.

With its defaults `bytecode` recomputes the stack depths of exception handlers (wrongly for a
``raise`` inside a nested handler: the interpreter then crashes), reorders and drops local names,
and writes columns from 128 to 255 in a form that breaks the line table.  Here the depths, the
names, the constants and the stack size of the original are kept, and only what is inserted changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import CodeType, MappingProxyType
from typing import Any

from bytecode import Bytecode, ConcreteBytecode
from bytecode.concrete import _ConvertBytecodeToConcrete
from bytecode.instr import UNSET, InstrLocation

from flor_trace.instrument.items import Item

_SHORT_COLUMNS = 128  #: columns below this fit the one-line form of a location entry
_LONG_FORM = 14


class _Assembler(ConcreteBytecode):
    """Writes columns from 128 on in the long form, as the compiler does.

    In the one-line form a column is one byte, and a byte with its high bit set begins a new entry.
    """

    def _pack_location(
        self, buf: bytearray, size: int, lineno: int, location: InstrLocation | None
    ) -> None:
        columns = _wide_columns(location)
        if columns is None or location is None or location.lineno is None:
            super()._pack_location(buf, size, lineno, location)
            return
        buf.append(self._pack_location_header(_LONG_FORM, size))
        buf += self._encode_location_svarint(location.lineno - lineno)
        buf += self._encode_location_varint(0)
        for column in columns:
            buf += self._encode_location_varint(column + 1)


def _wide_columns(location: InstrLocation | None) -> tuple[int, int] | None:
    """Return the columns of a location on one line if they do not fit the short forms."""
    if location is None or location.end_lineno != location.lineno:
        return None
    begin, end = location.col_offset, location.end_col_offset
    if begin is None or end is None or max(begin, end) < _SHORT_COLUMNS:
        return None
    return begin, end


class Parts:
    """One code object taken apart: instructions, labels and exception ranges, depths kept."""

    def __init__(self, code: CodeType) -> None:
        self.code = code
        self._shape = Bytecode.from_code(code, conserve_exception_block_stackdepth=True)
        self.items: list[Item] = list(self._shape)

    def put_together(
        self,
        items: Iterable[Item],
        *,
        more_stack: int = 0,
        keep: Callable[[Any], bool] = lambda constant: True,
        swap: Mapping[int, CodeType] = MappingProxyType({}),
    ) -> CodeType:
        """Return a code object like the original with other instructions.

        Constants for which `keep` is false are dropped; nested code objects are exchanged by
        `swap` (identity of the old one -> the new one).  Whatever goes wrong inside `bytecode`
        comes out as it is.
        """
        code = self.code
        changed = Bytecode()
        changed._copy_attr_from(self._shape)
        list.extend(changed, items)
        changed.argnames = list(code.co_varnames)
        changed.docstring = UNSET  # it is the first of the constants added below
        converter = _ConvertBytecodeToConcrete(changed)
        for name in code.co_names:
            converter.add_name(name)
        for constant in code.co_consts:
            if keep(constant):
                converter.add_const(swap.get(id(constant), constant))
        made = converter.to_concrete_bytecode(compute_exception_stack_depths=False)
        safe = _Assembler(made, exception_table=made.exception_table)
        safe._copy_attr_from(made)  # type: ignore[no-untyped-call]
        stack = code.co_stacksize + more_stack
        return safe.to_code(stacksize=stack, compute_exception_stack_depths=False)
