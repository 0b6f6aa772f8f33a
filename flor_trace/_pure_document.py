"""The nodes of a state graph as JSON, in Python."""

from __future__ import annotations

from flor_trace.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def encode_nodes(
    nodes: list[Any],
    node_type: type,
    id_type: type,
    shape: Callable[[Any], int],
    other: Callable[[Any], str],
    /,
) -> bytes:
    """Return the nodes as JSON: number of the shape, leaf, children."""
    written = (
        ",".join((f"[{shape(node)},{node.leaf}", *map(other, node.children))) + "]"
        for node in nodes
    )
    return f"[{','.join(written)}]".encode("ascii")
