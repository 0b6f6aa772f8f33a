"""Puts a saved state back into the live objects of a program that has reached the same place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flor_trace.errors import RestoreError
from flor_trace.state.building import Builder
from flor_trace.state.codecs.base import Unbuildable
from flor_trace.state.codecs.registry import load_libraries
from flor_trace.state.graph import Graph, NodeId, first_paths
from flor_trace.state.pairing import pair_graph
from flor_trace.types import Address


def restore(
    graph: Graph,
    live: Mapping[str, object],
    load: Callable[[Address], bytes],
    *,
    relocate: Sequence[tuple[str, str]] = (),
    left_out: list[str] | None = None,
) -> dict[str, object]:
    """Write the saved state into the live objects and return the value of every root.

    Live objects keep their identity wherever the saved one had the same type and place; the
    caller rebinds names to the returned values. Random generators are set last. What cannot be
    made raises `RestoreError` naming its path, unless `left_out` is given: then the path is added
    to it, and the root, attribute or key is missing rather than wrong.
    """
    load_libraries()
    builder = Builder(graph, pair_graph(graph, live), load, relocate)
    builder.confirm()
    try:
        for ref in graph.roots.values():
            if type(ref) is NodeId:
                builder.complete(ref)
    except RestoreError as error:
        at = builder.current
        place = first_paths(graph, [at]).get(at, "the state")
        raise RestoreError(f"{place} cannot be restored: {error}") from error
    if builder.left_out and left_out is None:
        raise RestoreError(_complaint(graph, builder))
    builder.finish()
    if left_out is not None:
        left_out += _paths(graph, builder)
    return _root_values(graph, builder)


def _root_values(graph: Graph, builder: Builder) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, ref in graph.roots.items():
        try:
            found[name] = builder.value(ref)
        except Unbuildable:
            continue
    return found


def _paths(graph: Graph, builder: Builder) -> list[str]:
    places = first_paths(graph, builder.left_out)
    return [f"{places[n]} ({why})" for n, why in builder.left_out.items() if n in places]


def _complaint(graph: Graph, builder: Builder) -> str:
    first, *others = _paths(graph, builder)
    more = f" and {len(others)} more" if others else ""
    return (
        f"{first}{more} cannot be restored: it is not in the live program and cannot be made from "
        "what was saved. Restore an earlier boundary, where it does not exist yet."
    )
