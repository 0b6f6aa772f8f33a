"""Iterators written in C that can tell where they stand."""

from __future__ import annotations

import itertools
import re
import warnings
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager

from flor_trace.hints import Any, Final
from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Walk
from flor_trace.state.codecs.kept import opaque
from flor_trace.state.codecs.reduced import ReducedCodec, reduction, refusals
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
            with _quiet():
                found = reduction(obj)
        except refusals() as error:
            return opaque(plan.type_name, f"it says: {error}")
        if isinstance(found, str):
            return opaque(plan.type_name, f"it calls itself {found}")
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
            return super().make(build, node)


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
