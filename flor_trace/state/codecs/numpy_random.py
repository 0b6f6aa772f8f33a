"""NumPy's random generators, with the sequence their children are seeded from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numpy.random import (
    MT19937,
    PCG64,
    PCG64DXSM,
    SFC64,
    Generator,
    Philox,
    RandomState,
    SeedSequence,
)

from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Walk
from flor_trace.state.graph import Node, NodeId, Ref

# Not by way of `np.random`: this runs right after numpy.random, before numpy has that attribute.
_BIT_GENERATORS = (MT19937, PCG64, PCG64DXSM, SFC64, Philox)


class _BitGenerator(Codec):
    """The source of bits: its state as a dict, and its seed sequence."""

    kind = "bit generator"
    exact = _BIT_GENERATORS

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        children = [walk.ref(obj.state), walk.ref(obj.seed_seq)]
        return Node("bit generator", plan.type_name, None, children, ("state", "seed_seq"))

    def make(self, build: Build, node: Node) -> Any:
        return build.lookup(node.type_name)(0)

    def needs(self, node: Node) -> Iterable[Ref]:
        return node.children

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        pairing.pair(node.children[1], obj.seed_seq)

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        state, seeds = build.values(node.children)
        build.at_end(lambda: obj.__setstate__((state, seeds)))


class _SeedSequence(Codec):
    """Seed sequences, with the number of children they have given."""

    kind = "seed sequence"
    exact = (SeedSequence,)
    in_place = False

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        names = ("entropy", "spawn_key", "pool_size", "n_children_spawned")
        children = [walk.ref(getattr(obj, name)) for name in names]
        return Node("seed sequence", plan.type_name, None, children, names)

    def needs(self, node: Node) -> Iterable[Ref]:
        return node.children

    def make(self, build: Build, node: Node) -> Any:
        wanted = {name: build.value(ref) for name, ref in node.named.items()}
        live = build.adopted()
        if live is not None and all(getattr(live, name) == v for name, v in wanted.items()):
            return live
        entropy = wanted.pop("entropy")
        return SeedSequence(entropy, **wanted)


class _Generator(Codec):
    """`Generator`: a bit generator and nothing else."""

    kind = "numpy generator"
    exact = (Generator,)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        return Node("numpy generator", plan.type_name, None, [walk.ref(obj.bit_generator)])

    def confirm(self, build: Build, node: Node, obj: Any) -> bool:
        return _paired(build, node.children[0]) is obj.bit_generator

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        pairing.pair(node.children[0], obj.bit_generator)

    def needs(self, node: Node) -> Iterable[Ref]:
        return node.children

    def make(self, build: Build, node: Node) -> Any:
        return Generator(build.value(node.children[0]))


def _paired(build: Build, ref: Ref) -> Any:
    return build.live.get(ref) if type(ref) is NodeId else None


class _RandomState(Codec):
    """The older generator, and the global one behind ``numpy.random.seed``."""

    kind = "random state"
    exact = (RandomState,)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        state = obj.get_state(legacy=False)
        children = [walk.ref(state), walk.ref(obj._bit_generator)]
        return Node("random state", plan.type_name, None, children, ("state", "bit_generator"))

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        pairing.pair(node.children[1], obj._bit_generator)

    def confirm(self, build: Build, node: Node, obj: Any) -> bool:
        return _paired(build, node.children[1]) is obj._bit_generator

    def needs(self, node: Node) -> Iterable[Ref]:
        return node.children

    def make(self, build: Build, node: Node) -> Any:
        return RandomState(build.value(node.children[1]))

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        state = build.value(node.children[0])
        build.at_end(lambda: obj.set_state(state))


CODECS: tuple[Codec, ...] = (_BitGenerator(), _SeedSequence(), _Generator(), _RandomState())
