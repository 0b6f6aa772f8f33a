"""Iterators written in C that do not describe themselves: read by what they refer to."""

from __future__ import annotations

import gc
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator

from flor_trace.hints import Any, Final
from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Unbuildable, Walk
from flor_trace.state.codecs.kept import opaque
from flor_trace.state.graph import Node, Ref

#: How to begin an iterator of each type over a dict or set.
_BEGIN: Final[dict[str, Callable[[Any], Iterator[Any]]]] = {
    "dict_keyiterator": dict.__iter__,
    "dict_valueiterator": lambda of: iter(dict.values(of)),
    "dict_itemiterator": lambda of: iter(dict.items(of)),
    "dict_reversekeyiterator": dict.__reversed__,
    "dict_reversevalueiterator": lambda of: reversed(dict.values(of)),
    "dict_reverseitemiterator": lambda of: reversed(dict.items(of)),
    "set_iterator": lambda of: _base(of).__iter__(of),
}
_BASES: Final[tuple[Any, ...]] = (dict, set, frozenset)


def _base(of: Any) -> Any:
    return next(base for base in _BASES if isinstance(of, base))


class _Hashed(Codec):
    """Iterators over dicts and sets: how far they have come in an order that a restore keeps."""

    kind = "hashed iterator"
    exact = tuple(type(begin(set() if n[0] == "s" else {})) for n, begin in _BEGIN.items())
    in_place = False

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        found = [each for each in gc.get_referents(obj) if isinstance(each, _BASES)]
        if not found:
            return Node("hashed iterator", plan.type_name, "over")
        left = obj.__length_hint__()
        if not left:  # at the end, or the hint does not count because of a change
            try:
                obj.__reduce__()
            except RuntimeError as error:
                return opaque(plan.type_name, f"its next step will fail: {error}")
        given = _base(found[0]).__len__(found[0]) - left
        return Node("hashed iterator", plan.type_name, given, [walk.ref(found[0])])

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        for each in gc.get_referents(obj):
            if node.children and isinstance(each, _BASES):
                pairing.pair(node.children[0], each)

    def needs(self, node: Node) -> Iterable[Ref]:
        return node.children

    def make(self, build: Build, node: Node) -> Any:
        name = node.type_name.rpartition(":")[2]
        if not node.children:
            made = _BEGIN[name](set() if name == "set_iterator" else {})
            next(made, None)
            return made
        made = _BEGIN[name](build.value(node.children[0]))
        for _ in itertools.islice(made, int(str(node.payload))):
            pass
        return made


class Feed:
    """Gives some items, and then those of another iterator, for which it stands from then on."""

    def __init__(self, first: Iterable[Any], then: Any) -> None:
        self.first, self.then = iter(first), then

    def __iter__(self) -> Feed:
        """Return itself."""
        return self

    def __next__(self) -> Any:
        """Return the next item."""
        for item in self.first:
            return item
        return next(self.then)


def _fed(found: list[Any]) -> list[Any]:
    return [each.then if type(each) is Feed else each for each in found]


def _inside(obj: Any) -> list[Any]:
    """Return what an iterator refers to, in the order of its fields, without its own type."""
    return _fed([each for each in gc.get_referents(obj) if each is not type(obj)])


class _Pairwise(Codec):
    """``itertools.pairwise``: what it runs over, and the last item it has seen."""

    kind = "pairwise"
    exact = (itertools.pairwise,)
    in_place = False

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        inside, fresh = _inside(obj), len(_inside(itertools.pairwise(())))
        if len(inside) < fresh:
            return Node("pairwise", plan.type_name, "over")
        begun = len(inside) > fresh
        children = [walk.ref(each) for each in inside[: 1 + begun]]
        return Node("pairwise", plan.type_name, "begun" if begun else "not begun", children)

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        for ref, each in zip(node.children, _inside(obj), strict=False):
            pairing.pair(ref, each)

    def needs(self, node: Node) -> Iterable[Ref]:
        return node.children

    def make(self, build: Build, node: Node) -> Any:
        if not node.children:
            made: Any = itertools.pairwise(())
            next(made, None)
            return made
        over, *last = build.values(node.children)
        if not last:
            return itertools.pairwise(over)
        made = itertools.pairwise(Feed((None, *last), over))
        next(made)
        return made


def _source(reader: Any) -> list[Any]:
    """Return what a reader reads from, and the fields of an incomplete record."""
    found = [each for each in _inside(reader) if each is not reader.dialect]
    return [each for each in found if type(each) is not list or each]


class _CsvReader(Codec):
    """``csv.reader`` between two records: its dialect, its source, the number of lines."""

    kind = "csv reader"
    in_place = False
    _NAMES = (
        "delimiter", "quotechar", "escapechar", "doublequote", "skipinitialspace",
        "lineterminator", "quoting", "strict",
    )  # fmt: skip

    def __init__(self, module: Any) -> None:
        self._make = module.reader
        self.exact = (type(module.reader(())),)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        dialect = obj.dialect
        inside = _source(obj)
        if not inside:
            return opaque(plan.type_name, "what it reads from cannot be found")
        if len(inside) > 1:
            return opaque(plan.type_name, "it is in the middle of a record")
        format_ = tuple(getattr(dialect, name) for name in self._NAMES)
        return Node("csv reader", plan.type_name, (obj.line_num, *format_), [walk.ref(inside[0])])

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        for ref, each in zip(node.children, _source(obj), strict=False):
            pairing.pair(ref, each)

    def needs(self, node: Node) -> Iterable[Ref]:
        return node.children

    def make(self, build: Build, node: Node) -> Any:
        lines, *format_ = node.payload if isinstance(node.payload, tuple) else (None,)
        if not isinstance(lines, int):
            raise Unbuildable("the number of lines it read was not saved")
        source = build.value(node.children[0])
        # The number of lines read so far cannot be set: empty ones are read instead.
        feed = Feed(itertools.repeat("", lines), source) if lines else source
        made = self._make(feed, **dict(zip(self._NAMES, format_, strict=True)))
        for _ in range(lines):
            next(made)
        return made


def of_csv(_: str) -> tuple[Codec, ...]:
    """Return the codec for readers of the ``_csv`` module."""
    return (_CsvReader(sys.modules["_csv"]),)


CODECS: tuple[Codec, ...] = (_Hashed(), _Pairwise())
