"""Iterators written in C that can tell where they stand."""

from __future__ import annotations

import itertools
import re
import warnings
from collections import OrderedDict, deque
from typing import Any, Final

from flor_trace.state.codecs.base import Codec, Plan, Walk
from flor_trace.state.codecs.kept import opaque
from flor_trace.state.codecs.reduced import ReducedCodec, reduction
from flor_trace.state.graph import Node

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
    type(iter(set())),
    type(iter({})),
    type(iter({}.values())),
    type(iter({}.items())),
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


class _Iterator(ReducedCodec):
    """Built-in iterators, as they describe themselves to ``copy``; what they run over are nodes."""

    kind = "iterator"
    exact = (*_BY_ITSELF, *_FROM_ITERTOOLS)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        try:
            found = _quiet_reduction(obj)
        except (TypeError, ValueError, DeprecationWarning) as error:
            return opaque(plan.type_name, f"it says: {error}")
        node = self.node(walk, obj, plan, found)
        if node.kind == "reduced":
            node.kind = "iterator"
        return node

    def pair(self, pairing: Any, node: Node, obj: Any) -> None:
        try:
            found = _quiet_reduction(obj)
        except (TypeError, ValueError, DeprecationWarning):
            return
        named = node.named
        if "<args>" in named:
            pairing.pair(named["<args>"], tuple(found[1]))


def _quiet_reduction(obj: Any) -> tuple[Any, ...]:
    # itertools warns about pickling. warnings.catch_warnings would make every module forget which
    # warnings it has shown, so a filter for our own modules alone is put in and taken out again.
    filters: Any = warnings.filters
    filters.insert(0, _OUR_WARNING)
    try:
        found = reduction(obj)
    finally:
        filters.remove(_OUR_WARNING)
    assert not isinstance(found, str)
    return found


CODECS: tuple[Codec, ...] = (_Iterator(),)
