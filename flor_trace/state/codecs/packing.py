"""Plain containers as bytes: how many numbers, or a whole tree of them, lie in one buffer."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable

from flor_trace.hints import Any, Final
from flor_trace.records import dataclass, field
from flor_trace.state.codecs.base import Unbuildable

# A tree is written depth first, each value behind a tag; numbers of things are LEB128.
#
#   N T F            None, True, False
#   i <zigzag>       an int of 64 bits
#   f <8 bytes>      a float; every NaN is the quiet one
#   s b <n> <bytes>  a string in UTF-8 (surrogates as they are), bytes
#   l t <n> values   a list, a tuple
#   L U <code> <n>   a list or tuple of n floats (code d) or ints (code q) of 8 bytes each
#   d <n> pairs      a dict, in its order
#   r <k>            the k-th list or dict below the root, once more
#   e <k>            something else: the k-th child of the node
#
# All of it is little-endian. A value of the tag `e` is an element of a list or a value of a dict.

#: Sequences of numbers at least this long are packed by themselves.
PACK_FROM: Final = 32

_FLOAT: Final = struct.Struct("<d")


def unpack(code: object, count: object, data: memoryview) -> list[Any]:
    """Return the numbers; raise `Unbuildable` when the bytes do not hold that many."""
    if not isinstance(count, int) or code not in ("d", "q"):
        raise Unbuildable(f"packed elements of type {code!r} are not known")
    if data.nbytes != 8 * count:
        raise Unbuildable("the packed elements are damaged: there are not as many as were saved")
    return _numbers(str(code), data)


def _numbers(code: str, data: memoryview) -> list[Any]:
    numbers = array(code)
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


@dataclass(slots=True)
class Tree:
    """What the bytes of a packed container hold."""

    root: Any = None
    parts: list[Any] = field(default_factory=list)  #: the lists and dicts below the root
    holes: list[tuple[Any, Any, int]] = field(default_factory=list)
    """(list or dict, index or key, number of the child that belongs there)"""


#: Chooses the live container to be filled: (the new type, what stands at its place) -> container.
Adopt = Callable[[type, Any], Any]
#: Gives a list or dict, chosen before, its contents: (container, items or pairs).
Fill = Callable[[Any, list[Any]], None]


def read_tree(data: memoryview, adopt: Adopt, fill: Fill, live: Any = None) -> Tree:
    """Return what was packed, written into `live` and the containers that `adopt` gives.

    Raises `Unbuildable` when the bytes are not such a tree.
    """
    reader = _Reader(data, adopt, fill)
    try:
        reader.tree.root = reader.root(live)
        if reader.at != len(data):
            raise ValueError(f"{len(data) - reader.at} bytes are left over")
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, struct.error) as error:
        raise Unbuildable(f"the packed container is damaged: {error}") from None
    return reader.tree


_HOLE: Final = object()


class _Reader:
    def __init__(self, data: memoryview, adopt: Adopt, fill: Fill) -> None:
        self.data = data
        self.at = 0
        self.tree = Tree()
        self._adopt = adopt
        self._fill = fill
        self._child = -1
        self._readers: dict[int, Callable[[Any], Any]] = {
            ord("N"): lambda _: None,
            ord("T"): lambda _: True,
            ord("F"): lambda _: False,
            ord("i"): self._int,
            ord("f"): lambda _: _FLOAT.unpack(self._bytes(8))[0],
            ord("s"): lambda _: str(self._bytes(self._number()), "utf-8", "surrogatepass"),
            ord("b"): lambda _: bytes(self._bytes(self._number())),
            ord("t"): self._tuple,
            ord("U"): lambda _: tuple(self._array()),
            ord("l"): lambda live: self._part(list, live, self._list),
            ord("L"): lambda live: self._part(list, live, self._long_list),
            ord("d"): lambda live: self._part(dict, live, self._dict),
            ord("r"): lambda _: self.tree.parts[self._number()],
            ord("e"): self._hole,
        }

    def root(self, live: Any) -> Any:
        kinds = {ord("l"): self._list, ord("L"): self._long_list, ord("d"): self._dict}
        kind = kinds.get(self.data[0])
        if kind is None:
            return self.value(live)
        self.at = 1
        cls = dict if self.data[0] == ord("d") else list
        made = live if type(live) is cls else cls()
        kind(made, live)
        return made

    def value(self, live: Any) -> Any:
        tag = self.data[self.at]
        self.at += 1
        return self._readers[tag](live)

    def _number(self) -> int:
        found = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            found |= (byte & 0x7F) << shift
            if byte < 0x80:
                return found
            shift += 7

    def _bytes(self, count: int) -> memoryview:
        start = self.at
        self.at += count
        if self.at > len(self.data):
            raise ValueError("it ends early")
        return self.data[start : self.at]

    def _int(self, _: Any) -> int:
        number = self._number()
        return number >> 1 if not number & 1 else ~(number >> 1)

    def _array(self) -> list[Any]:
        code = chr(self.data[self.at])
        self.at += 1
        if code not in "dq":
            raise ValueError(f"there are no numbers of type {code!r}")
        return _numbers(code, self._bytes(8 * self._number()))

    def _hole(self, _: Any) -> Any:
        self._child = self._number()
        return _HOLE

    def _tuple(self, live: Any) -> tuple[Any, ...]:
        count = self._number()
        old = live if type(live) is tuple and len(live) == count else (None,) * count
        items = tuple(map(self.value, old)) if count else ()
        if any(item is _HOLE for item in items):
            raise ValueError("a tuple lacks an element")
        return items

    def _part(self, cls: type, live: Any, read: Callable[[Any, Any], None]) -> Any:
        made = self._adopt(cls, live)
        self.tree.parts.append(made)
        read(made, live)
        return made

    def _list(self, made: Any, live: Any) -> None:
        count = self._number()
        if count > len(self.data):
            raise ValueError("it ends early")
        old = list(live) if type(live) is list else []
        old += [None] * (count - len(old))
        items: list[Any] = []
        for index in range(count):
            value = self.value(old[index])
            if value is _HOLE:
                self.tree.holes.append((made, index, self._child))
                value = None
            items.append(value)
        self._fill(made, items)

    def _long_list(self, made: Any, live: Any) -> None:
        self._fill(made, self._array())

    def _dict(self, made: Any, live: Any) -> None:
        old = dict(live) if type(live) is dict else {}
        pairs: list[Any] = []
        for _ in range(self._number()):
            key = self.value(None)
            value = self.value(old.get(key))
            if value is _HOLE:
                self.tree.holes.append((made, key, self._child))
                value = None
            pairs.append((key, value))
        self._fill(made, pairs)
