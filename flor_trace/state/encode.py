"""The canonical document of a state graph, and the way back; reading it executes nothing."""

from __future__ import annotations

import binascii
import json
import marshal
import math
from collections.abc import Sequence

from flor_trace._speedups import encode_nodes
from flor_trace.errors import CaptureError, StoreFormatError
from flor_trace.hints import Any, Final
from flor_trace.state.graph import Graph, Node, NodeId, Payload, Ref, node_ids
from flor_trace.types import Address

FORMAT: Final = "flor_trace state"
VERSION: Final = 2
_SMALL: Final = 1 << 63


def encode(graph: Graph, addresses: Sequence[Address]) -> bytes:
    """Return the document of the graph, whose leaf *i* is stored at ``addresses[i]``.

    Equal graphs give equal bytes. Raises `CaptureError` when the addresses are not as many as the
    leaves.
    """
    if len(addresses) != len(graph.leaves):
        raise CaptureError(
            f"{len(addresses)} addresses were given for {len(graph.leaves)} buffers; every buffer "
            "has to be stored before the graph is encoded."
        )
    shapes = _Shapes()
    nodes = encode_nodes(graph.nodes, Node, NodeId, shapes.number, _json_of)
    head = {
        "format": FORMAT,
        "version": VERSION,
        "roots": [[name, _ref(ref)] for name, ref in graph.roots.items()],
        "shapes": shapes.table,
    }
    # The head's brace stays open for the rest; nodes are most of it, and written in C.
    parts = (_json(head)[:-1], b',"nodes":', nodes, b',"leaves":', _json(list(addresses)), b"}")
    return b"".join(parts)


class _Shapes:
    """Most nodes share kind, type, payload and names with many others: those go into a table."""

    def __init__(self) -> None:
        self.table: list[Any] = []
        self._known: dict[bytes, int] = {}

    def number(self, node: Node) -> int:
        """Return the place of what the node shares with others."""
        key = marshal.dumps((node.kind, node.type_name, node.payload, node.names), 2)
        number = self._known.get(key)
        if number is None:
            number = self._known[key] = len(self.table)
            payload = _payload(node.payload)
            self.table.append([node.kind, node.type_name, payload, list(node.names)])
        return number


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def _json_of(ref: Ref) -> str:
    return json.dumps(_ref(ref), separators=(",", ":"), allow_nan=False)


_AS_IS: Final = frozenset({str, bool, type(None)})


def _ref(ref: Ref) -> Any:
    return [int(ref)] if type(ref) is NodeId else _payload(ref)


def _payload(value: Payload) -> Any:
    cls = type(value)
    if cls in _AS_IS:
        return value
    plain: Any = value
    if cls is int:
        return plain if -_SMALL <= plain < _SMALL else ["int", hex(plain)]
    if cls is float:
        return plain if math.isfinite(plain) else ["float", repr(plain)]
    if cls is tuple:
        return ["tuple", *map(_payload, plain)]
    return _rare(plain)


def _rare(value: Any) -> list[Any]:
    if value is ...:
        return ["..."]
    if type(value) is bytes:
        return ["bytes", binascii.b2a_base64(value, newline=False).decode("ascii")]
    if type(value) is complex:
        return ["complex", _payload(value.real), _payload(value.imag)]
    raise CaptureError(
        f"a {type(value).__qualname__} is among the plain data of a node, where only numbers, "
        "strings, bytes and tuples may be. Please report this."
    )


def decode(data: bytes) -> Graph:
    """Return the graph of a document; its leaves are addresses.

    Raises `StoreFormatError` when the bytes are not such a document, or one of another version.
    """
    try:
        document = json.loads(data)
        if document["format"] != FORMAT or document["version"] != VERSION:
            raise StoreFormatError(
                f"this is not version {VERSION} of a {FORMAT!r} document; read it with the release "
                "of flor_trace that wrote it."
            )
        graph = _graph(document)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise StoreFormatError(
            f"the saved state cannot be read: {error}. Verify the store with `flor_trace fsck`."
        ) from error
    return graph


def _graph(document: dict[str, Any]) -> Graph:
    count, leaves = len(document["nodes"]), len(document["leaves"])
    ids = node_ids(count)[:count]
    read = _Reader(ids)
    shapes = [
        (str(k), str(t), read.payload(p), tuple(map(str, n))) for k, t, p, n in document["shapes"]
    ]
    nodes = []
    for number, leaf, *children in document["nodes"]:
        if not (isinstance(leaf, int) and -1 <= leaf < leaves) or number < 0:
            raise ValueError(f"there is no leaf {leaf} or shape {number}")
        kind, type_name, payload, names = shapes[number]
        if len(names) > len(children):
            raise ValueError(f"a {kind} has more names than children")
        nodes.append(Node(kind, type_name, payload, [read.ref(c) for c in children], names, leaf))
    roots = {str(name): read.ref(ref) for name, ref in document["roots"]}
    return Graph(roots, nodes, [Address(str(leaf)) for leaf in document["leaves"]])


class _Reader:
    def __init__(self, ids: list[NodeId]) -> None:
        self._ids = ids

    def ref(self, value: Any) -> Ref:
        if type(value) is not list:
            return _scalar(value)  # type: ignore[no-any-return]
        if len(value) == 1 and type(value[0]) is int:
            if value[0] < 0:
                raise ValueError(f"there is no node {value[0]}")
            return self._ids[value[0]]
        found = self.payload(value)
        if isinstance(found, tuple):
            raise ValueError("a tuple stands where a reference is expected")
        return found

    def payload(self, value: Any) -> Payload:
        if type(value) is not list:
            return _scalar(value)  # type: ignore[no-any-return]
        tag, *rest = value
        if tag == "tuple":
            return tuple(self.payload(part) for part in rest)
        found: Payload = _TAGS[tag](*rest)
        return found


def _scalar(value: Any) -> Any:
    if isinstance(value, dict):
        raise ValueError("an object stands where a value is expected")
    return value


def _int(text: str) -> int:
    return int(text, 16)


def _float(text: str) -> float:
    return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[text]


def _bytes(text: str) -> bytes:
    return binascii.a2b_base64(text, strict_mode=True)


def _number(value: Any) -> float:
    return _float(value[1]) if isinstance(value, list) else float(value)


_TAGS: Final[dict[str, Any]] = {
    "int": _int,
    "float": _float,
    "bytes": _bytes,
    "complex": lambda real, imag: complex(_number(real), _number(imag)),
    "...": lambda: ...,
}
