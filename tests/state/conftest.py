"""Helpers that the tests of the state graph share."""

from __future__ import annotations

from typing import Any

import pytest
import xxhash

from flor_trace.state.capture import capture
from flor_trace.state.digests import digest_roots, leaf_bytes
from flor_trace.state.encode import decode, encode
from flor_trace.state.graph import Graph
from flor_trace.state.restore import restore


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
        return digests(capture(roots), ignore)

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
