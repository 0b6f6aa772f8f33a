"""Helpers that the tests of the state graph share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import xxhash

from flor_trace.state.capture import capture
from flor_trace.state.digests import digest_roots, leaf_bytes
from flor_trace.state.encode import decode, encode
from flor_trace.state.graph import Graph, NodeId
from flor_trace.state.restore import restore
from flor_trace.state.rng import rng_roots


class Saved:
    """A state that went through bytes, as a later process would find it."""

    def __init__(self, roots: dict[str, Any], **options: Any) -> None:
        graph = capture(roots, **options)
        self.chunks: dict[str, bytes] = {}
        addresses = []
        for leaf in leaf_bytes(graph):
            data = bytes(leaf)
            address = f"{len(data)}-{xxhash.xxh3_128_hexdigest(data)}"
            self.chunks[address] = data
            addresses.append(address)
        self.document = encode(graph, addresses)
        self.digests = digests(graph)
        self.captured = graph

    @property
    def graph(self) -> Graph:
        return decode(self.document)

    def restore(self, live: dict[str, Any], **options: Any) -> dict[str, Any]:
        return restore(self.graph, live, self.chunks.__getitem__, **options)


def digests(graph: Graph, ignore: frozenset[str] = frozenset()) -> dict[str, bytes]:
    leaves = [xxhash.xxh3_128_digest(leaf) for leaf in leaf_bytes(graph)]
    return digest_roots(graph, leaves, ignore)


@pytest.fixture(scope="session")
def save():
    """Save named objects: gives a `Saved`."""
    return Saved


@pytest.fixture(scope="session")
def digest_of():
    """Digest every root of some named objects as they are now."""

    def run(roots: dict[str, Any], ignore: frozenset[str] = frozenset()) -> dict[str, bytes]:
        return digests(capture(roots, ignore=ignore), ignore)

    return run


@pytest.fixture(scope="session")
def round_trip():
    """Save a value, restore it over a live one, check the digests, return the result."""

    def run(value: Any, live: Any = None, **options: Any) -> Any:
        saved = Saved({"x": value}, **options)
        made = saved.restore({"x": live}, **options)
        assert digests(capture(made, **options)) == saved.digests
        return made["x"]

    return run


State = dict[str, Any]


def follow(
    make: Callable[[int], State],
    advance: Callable[[State, int], object],
    *,
    rounds: int = 3,
    keeps: Callable[[State], list[Any]] = lambda state: [],
) -> list[Saved]:
    """Save before each round of a small program, and go on from each saved state in two places.

    The state goes into the objects that have moved on and into new ones; what the program puts
    out from there, the digests, and the identity of the roots and of what `keeps` names, are as
    they were.
    """
    recorded = make(1)
    saved, outputs = [], []
    for number in range(rounds):
        saved.append(Saved({**recorded, **rng_roots()}))
        outputs.append(digests(capture({"out": advance(recorded, number)})))
    final = digests(capture({**recorded, **rng_roots()}))
    assert final != saved[0].digests, "the program does not change its state"
    for start in reversed(range(rounds)):
        for live in (recorded, make(9)):
            before = [live.get(name) for name in recorded], keeps(live)
            made = saved[start].restore({**live, **rng_roots()})
            assert digests(capture({**made, **rng_roots()})) == saved[start].digests
            state = {name: value for name, value in made.items() if not name.startswith("rng:")}
            check_identities(saved[start], dict(zip(recorded, before[0], strict=True)), state)
            assert list(map(id, before[1])) == list(map(id, keeps(state)))
            for number in range(start, rounds):
                assert digests(capture({"out": advance(state, number)})) == outputs[number]
            assert digests(capture({**state, **rng_roots()})) == final
    return saved


def check_identities(saved: Saved, live: State, made: State) -> None:
    """Roots that live objects of the same type stood for are still these objects."""
    for name, value in made.items():
        node = saved.captured.roots[name]
        if name in live and type(node) is NodeId and type(value).__hash__ is object.__hash__:
            same_type = type(live[name]) is type(value)
            assert not same_type or value is live[name], f"{name} is another object than before"


@pytest.fixture(scope="session")
def continues() -> Callable[..., list[Saved]]:
    """Check that a program goes on bit for bit wherever it was saved; gives what was saved."""

    def run(*args: Any, opaque: bool = False, **options: Any) -> list[Saved]:
        saved = follow(*args, **options)
        assert opaque or [path for each in saved for path in each.captured.opaque] == []
        return saved

    return run
