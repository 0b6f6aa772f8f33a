"""Iterators written in C that can tell where they stand."""

from __future__ import annotations

import itertools
import operator
import re
import warnings
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flor_trace.hints import Any, Final
from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Walk
from flor_trace.state.codecs.kept import opaque
from flor_trace.state.codecs.reduced import ReducedCodec, reduction, refusals
from flor_trace.state.graph import Node
from flor_trace.state.naming import type_name

_itertools: Any = itertools
_BY_ITSELF: Final[tuple[Any, ...]] = (
    type(iter([])),
    type(iter(())),
    type(iter("")),
    type(iter("é")),
    type(iter(b"")),
    type(iter(bytearray())),
    type(iter(range(0))),
    type(iter(range(1 << 100))),
    type(reversed([])),
    type(iter(int, 0)),
    type(iter(OrderedDict())),
    type(iter(deque())),
    enumerate,
    reversed,
    zip,
    map,
    filter,
)
_FROM_ITERTOOLS: Final = (
    itertools.accumulate,
    itertools.chain,
    itertools.combinations,
    itertools.combinations_with_replacement,
    itertools.compress,
    itertools.count,
    itertools.cycle,
    itertools.dropwhile,
    itertools.filterfalse,
    itertools.islice,
    itertools.permutations,
    itertools.product,
    itertools.repeat,
    itertools.starmap,
    _itertools._tee,
    _itertools._tee_dataobject,
    itertools.takewhile,
    itertools.zip_longest,
)
_OUR_WARNING: Final = (
    "ignore",
    None,
    DeprecationWarning,
    re.compile(re.escape("flor_trace.state.codecs")),
    0,
)


#: Those that forget, when they have come to their end, what they ran over: one that has none left.
_OVER: Final[dict[str, Callable[[], Iterator[Any]]]] = {
    type_name(type(make())): make
    for make in (
        lambda: iter([]),
        lambda: iter(()),
        lambda: iter(""),
        lambda: iter("é"),
        lambda: iter(b""),
        lambda: iter(bytearray()),
        lambda: iter(range(0)),
        lambda: iter(int, 0),
        lambda: reversed([]),
        lambda: reversed(()),
        lambda: itertools.islice((), 0),
    )
}
_EMPTY: Final = frozenset({tuple, list, str, bytes, bytearray, range})


def _is_over(found: tuple[Any, ...]) -> bool:
    function, args, state = found[:3]
    if function is itertools.islice:
        return len(args) == 2
    if function not in (iter, reversed) or len(args) != 1 or state is not None:
        return False
    return type(args[0]) in _EMPTY and not len(args[0])


def _without_ended(found: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the account of a ``zip_longest``, where those of its iterators that ended are ()."""
    function, args, *rest = found
    gone: Any = type(iter(()))
    ended = (type(each) is gone and not each.__length_hint__() for each in args)
    return (function, tuple(() if e else each for e, each in zip(ended, args, strict=True)), *rest)


def _turned(found: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the account of a ``cycle``: at the end of a round it is at the beginning of the next.

    One that was restored notices only later that a round is over.
    """
    function, (items,), (held, again), *rest = found
    if again and held and not operator.length_hint(items):
        items = iter(held)
    return (function, (items,), (held, again), *rest)


class _Iterator(ReducedCodec):
    """Built-in iterators, as they describe themselves to ``copy``; what they run over are nodes."""

    kind = "iterator"
    exact = (*_BY_ITSELF, *_FROM_ITERTOOLS)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        try:
            with _quiet():
                found = reduction(obj)
        except refusals() as error:
            return opaque(plan.type_name, f"it says: {error}")
        if isinstance(found, str):
            return opaque(plan.type_name, f"it calls itself {found}")
        if plan.type_name in _OVER and _is_over(found):
            return Node("iterator", plan.type_name, ("over", ""))
        if type(obj) is itertools.zip_longest:
            found = _without_ended(found)
        elif type(obj) is itertools.cycle:
            found = _turned(found)
        node = self.node(walk, obj, plan, found)
        if node.kind == "reduced":
            node.kind = "iterator"
        return node

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        with _quiet():
            super().pair(pairing, node, obj)

    def make(self, build: Build, node: Node) -> Any:
        """Make the call that was saved; setting the position warns as reading it does."""
        with _quiet():
            if node.payload == ("over", ""):
                made = _OVER[node.type_name]()
                deque(made, maxlen=0)
                return made
            return self._moved(build, node) or super().make(build, node)

    def _moved(self, build: Build, node: Node) -> Any:
        """Return the live iterator, led to its place, if it runs over the very same thing."""
        live = build.adopted()
        state = build.value(node.named.get("<state>"))
        if type(state) is not int or not hasattr(live, "__setstate__"):
            return None
        found, saved = reduction(live), build.value(node.named["<args>"])
        if found[0] not in (iter, reversed) or found[1][0] is not saved[0]:
            return None
        live.__setstate__(state)
        return live


@contextmanager
def _quiet() -> Iterator[None]:
    # itertools warns about pickling. warnings.catch_warnings would make every module forget which
    # warnings it has shown, so a filter for our own modules alone is put in and taken out again.
    filters: Any = warnings.filters
    filters.insert(0, _OUR_WARNING)
    try:
        yield
    finally:
        filters.remove(_OUR_WARNING)


CODECS: tuple[Codec, ...] = (_Iterator(),)
