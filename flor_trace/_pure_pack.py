"""Writes a tree of plain containers and scalars as bytes: the twin of the native packer."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from typing import Any, Final

_DEEPEST: Final = 64
_TUPLES: Final = 8
_ARRAY_FROM: Final = 8
_LEAST: Final = 64
_SPARSE: Final = 16
_WORD: Final = 1 << 63
_NAN: Final = float("nan")
_CONTAINERS: Final = (list, dict)
_PLAIN_NAN: Final = struct.pack("<Q", 0x7FF8 << 48)

Packed = tuple[bytes, int, int, list[Any], tuple[tuple[Any, ...], ...], None]


class Memo:
    """Never made here: only the native twin can tell what did not change."""


class _GaveUp(Exception):
    pass


class _InTuple(Exception):
    pass


def pack_numbers(sequence: Sequence[Any], /) -> tuple[str, bytes] | None:
    """Return ('d', bytes) for floats, ('q', bytes) for ints of 64 bits, else None."""
    if not isinstance(sequence, list | tuple) or not sequence:
        return None
    kind = type(sequence[0])
    if (kind is not float and kind is not int) or set(map(type, sequence)) != {kind}:
        return None
    try:
        packed = array("d" if kind is float else "q", sequence)
    except OverflowError:
        return None
    if kind is float and any(item != item for item in sequence):
        packed = array("d", [_NAN if item != item else item for item in sequence])
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.typecode, packed.tobytes()


class Packer:
    """Packs containers, and knows the parts of those it packed."""

    def __init__(
        self, ids: dict[int, Any], prefixes: tuple[str, ...], ignored: frozenset[str], /
    ) -> None:
        self.ids = ids
        self.prefixes = prefixes
        self.ignored = ignored
        self.parts: dict[int, tuple[int, int]] = {}
        self.held: list[Any] = []
        self.packed = 0

    def pack(self, container: Any, remember: bool = False, /) -> Packed | None:
        """Return (bytes, objects, parts, escapes, paths, None) of a plain list, dict or tuple.

        None when it is too small or holds too much else.
        """
        if type(container) not in (list, dict, tuple):
            return None
        writer = _Writer(self)
        try:
            writer.root(container)
        except (_GaveUp, _InTuple):
            return None
        if writer.objects < _LEAST * (1 + len(writer.escapes)):
            return None
        for number, part in enumerate(writer.met):
            self.parts[id(part)] = self.packed, number
        self.held += writer.met
        self.packed += 1
        paths = tuple(writer.paths)
        return bytes(writer.out), writer.objects, len(writer.met), writer.escapes, paths, None

    def holds(self, container: Any, memo: Memo, /) -> bool:
        """Return False: there are no memos."""
        return False

    def find(self, obj: Any, /) -> tuple[int, int] | None:
        """Return (number of the packed container, number of the part) of a part, or None."""
        return self.parts.get(id(obj))


class _Writer:
    def __init__(self, packer: Packer) -> None:
        self.packer = packer
        self.out = bytearray()
        self.met: list[Any] = []
        self.numbers: dict[int, int] = {}
        self.objects = 0
        self.escapes: list[Any] = []
        self.paths: list[tuple[Any, ...]] = []
        self.steps: list[Any] = []
        self.tuples = 0

    def root(self, container: Any) -> None:
        if type(container) is dict:
            self.dict(container)
        elif type(container) is list:
            self.items(b"l", container)
        else:
            self.tuple(container)
            if self.met or self.escapes:
                raise _GaveUp

    def number(self, tag: bytes, number: int) -> None:
        self.out += tag
        while number >= 0x80:
            self.out.append(number & 0x7F | 0x80)
            number >>= 7
        self.out.append(number)

    def sized(self, tag: bytes, data: bytes) -> None:
        self.number(tag, len(data))
        self.out += data

    def escape(self, value: Any) -> None:
        if self.tuples:
            raise _InTuple
        if len(self.escapes) >= _SPARSE and self.objects < _SPARSE * len(self.escapes):
            raise _GaveUp
        self.number(b"e", len(self.escapes))
        self.escapes.append(value)
        self.paths.append(tuple(self.steps))

    def value(self, value: Any) -> None:
        cls = type(value)
        if cls is list or cls is dict:
            self.container(value)
        elif cls is tuple:
            if len(self.steps) >= _DEEPEST:
                self.escape(value)
            else:
                self.tuple(value)
        else:
            self.scalar(value)

    def scalar(self, value: Any) -> None:
        cls = type(value)
        if cls is float:
            self.out += b"f" + (struct.pack("<d", value) if value == value else _PLAIN_NAN)
        elif cls is int and -_WORD <= value < _WORD:
            self.number(b"i", value << 1 if value >= 0 else ~(value << 1))
        elif cls is str and not value.startswith(self.packer.prefixes):
            self.sized(b"s", value.encode("utf-8", "surrogatepass"))
        elif cls is bytes:
            self.sized(b"b", value)
        elif value is None or cls is bool:
            self.out += b"N" if value is None else b"T" if value else b"F"
        else:
            self.escape(value)

    def items(self, tag: bytes, items: Any) -> None:
        self.objects += len(items)
        found = pack_numbers(items) if len(items) >= _ARRAY_FROM else None
        if found is not None:
            self.number((b"L" if tag == b"l" else b"U") + found[0].encode(), len(items))
            self.out += found[1]
            return
        self.number(tag, len(items))
        self.steps.append(None)
        try:
            for index, item in enumerate(items):
                self.steps[-1] = index
                self.value(item)
        finally:
            self.steps.pop()

    def tuple(self, value: Any) -> None:
        if self.tuples >= _TUPLES:
            raise _InTuple
        used, parts = len(self.out), len(self.met)
        self.tuples += 1
        try:
            self.items(b"t", value)
        except _InTuple:
            if self.tuples > 1:
                raise
        else:
            return
        finally:
            self.tuples -= 1
        del self.out[used:]
        for part in self.met[parts:]:
            del self.numbers[id(part)]
        del self.met[parts:]
        self.escape(value)

    def dict(self, value: Any) -> None:
        self.number(b"d", len(value))
        self.objects += len(value)
        self.steps.append(None)
        try:
            for key, item in value.items():
                self.steps[-1] = key
                self.key(key)
                self.value(item)
        finally:
            self.steps.pop()

    def key(self, key: Any) -> None:
        if type(key) is str and (
            key in self.packer.ignored or key.startswith(self.packer.prefixes)
        ):
            raise _GaveUp
        self.tuples += 1
        try:
            self.value(key)
        except _InTuple:
            raise _GaveUp from None
        finally:
            self.tuples -= 1

    def container(self, value: Any) -> None:
        number = self.numbers.get(id(value))
        if len(self.steps) >= _DEEPEST:
            self.escape(value)
        elif number is not None:
            self.number(b"r", number)
        elif id(value) in self.packer.parts or id(value) in self.packer.ids:
            self.escape(value)
        else:
            self.numbers[id(value)] = len(self.met)
            self.met.append(value)
            if type(value) is dict:
                self.dict(value)
            else:
                self.items(b"l", value)
