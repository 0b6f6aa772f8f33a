"""Generators of the ``random`` module."""

from __future__ import annotations

import random
from array import array

from flor_trace.errors import RestoreError
from flor_trace.hints import Any
from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Walk
from flor_trace.state.codecs.instances import named, pair_named, set_attributes
from flor_trace.state.graph import Node


class _Random(Codec):
    """``random.Random`` and its subclasses; `SystemRandom` has no state and is kept."""

    kind = "random"
    bases = (random.Random,)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        version, numbers, gauss = random.Random.getstate(obj)
        names, attributes = named(walk, obj, plan)
        leaf = walk.leaf(memoryview(array("I", numbers)).cast("B"))
        return Node("random", plan.type_name, (version, gauss), attributes, names, leaf)

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        pair_named(pairing, node, obj)

    def make(self, build: Build, node: Node) -> Any:
        return random.Random.__new__(build.lookup(node.type_name))

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        numbers = array("I")
        numbers.frombytes(build.buffer(node.leaf))
        if not isinstance(node.payload, tuple) or len(node.payload) != 2:
            raise RestoreError("the saved state of a random.Random is damaged; verify the store")
        version, gauss = node.payload
        set_attributes(obj, build.attributes(node.named))
        state: Any = (version, tuple(numbers), gauss)
        build.at_end(lambda: random.Random.setstate(obj, state))


class _SystemRandom(Codec):
    """The operating system's generator."""

    kind = "system random"
    exact = (random.SystemRandom,)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        return Node("system random", plan.type_name)

    def make(self, build: Build, node: Node) -> Any:
        return random.SystemRandom()


CODECS: tuple[Codec, ...] = (_Random(), _SystemRandom())
