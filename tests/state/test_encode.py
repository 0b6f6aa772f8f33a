"""The document of a graph is canonical, exact, and refused when it is not one."""

from __future__ import annotations

import json
import math
import random

import pytest

from flor_trace import _pure_document
from flor_trace._speedups import encode_nodes
from flor_trace.errors import CaptureError, StoreFormatError
from flor_trace.state import encode as encoding
from flor_trace.state.capture import capture
from flor_trace.state.encode import decode, encode
from flor_trace.state.graph import Graph, Node
from flor_trace.types import Address

SAMPLE = {
    "local:x": [1, -0.0, math.inf, 1 << 100, "é\ud800", b"\x00\xff", 1 - 2j, ..., None, True],
    "global:train.py:y": {"a": [0.5], (1, "b"): {"z"}},
    "z": 3,
}


def test_decoding_gives_the_graph_that_was_encoded():
    graph = capture(SAMPLE)
    again = decode(encode(graph, []))
    assert again == graph
    assert [type(child) for node in again.nodes for child in node.children] == [
        type(child) for node in graph.nodes for child in node.children
    ]


def test_equal_graphs_give_equal_bytes():
    one = capture({"x": [1, {"a": [2.5]}, "b"]})
    two = capture({"x": [1, {"a": [2.5]}, "b"]})
    assert encode(one, []) == encode(two, [])


CHILDREN = [
    *(0, -1, 1 << 63, -(1 << 63), (1 << 63) - 1, -(1 << 63) - 1, 10**25, True, False, None, ...),
    *(0.0, -0.0, 1.0, 1e16, 1e-7, 5e-324, 1.7976931348623157e308, 0.1, 123456789.123, 1e22),
    *(math.inf, -math.inf, math.nan, 1j, complex(math.nan, -0.0)),
    *("", "a", 'q"', "b\\", "\n", "\x1f", "\x7f", "~ ", "é", "\ud800", "日本", "\U0001f600", "\0"),
    *(b"", b"\0\xff"),
]


def test_the_bytes_are_what_json_makes_of_the_document():
    graph = capture({"x": [*CHILDREN, *map(str, range(600))], **SAMPLE, "y": [(1,), [[]], {2}]})
    for part in (graph, capture({f"n{n}": [child, []] for n, child in enumerate(CHILDREN)})):
        data = encode(part, [Address(f"{n:048x}") for n in range(len(part.leaves))])
        assert json.dumps(json.loads(data), separators=(",", ":")).encode() == data


def test_both_twins_write_the_same_bytes(monkeypatch):
    graph = capture({"x": [[child, object] for child in CHILDREN], "y": [set(), {}, {"a": 1}]})
    numbered = Graph({}, [Node("tensor", "a:b", (n,), [n]) for n in range(2000)] * 2, [])
    for each in (graph, numbered):
        ours = encode(each, [Address("0")] * len(each.leaves))
        with monkeypatch.context() as patch:
            patch.setattr(encoding, "encode_nodes", _pure_document.encode_nodes)
            assert encode(each, [Address("0")] * len(each.leaves)) == ours


@pytest.mark.parametrize("way", [encode_nodes, _pure_document.encode_nodes])
def test_what_cannot_be_plain_data_is_refused(monkeypatch, way):
    monkeypatch.setattr(encoding, "encode_nodes", way)
    with pytest.raises(CaptureError, match="among the plain data"):
        encode(Graph({}, [Node("list", "a:b", None, [object()])], []), [])
    with pytest.raises(CaptureError, match="among the plain data"):
        encode(Graph({}, [Node("list", "a:b", {1})], []), [])


@pytest.mark.parametrize("other", [[True], [1.0], ["1"], [[1]], [(1,)]])
def test_values_that_compare_equal_are_told_apart(other):
    assert encode(capture({"x": [1]}), []) != encode(capture({"x": other}), [])


def test_payloads_that_compare_equal_are_told_apart():
    nodes = [Node("k", "m:T", payload) for payload in ((1,), (True,), (1.0,), 1, True)]
    graph = Graph({}, nodes, [])
    payloads = [node.payload for node in decode(encode(graph, [])).nodes]
    assert list(map(repr, payloads)) == ["(1,)", "(True,)", "(1.0,)", "1", "True"]


def test_the_document_is_ascii_json_and_names_its_format():
    document = json.loads(encode(capture(SAMPLE), []).decode("ascii"))
    assert (document["format"], document["version"]) == ("flor_trace state", 2)


def test_every_buffer_needs_an_address():
    graph = capture({"x": [0.5] * 100})
    with pytest.raises(CaptureError, match="0 addresses were given for 1 buffers"):
        encode(graph, [])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b"null",
        b'{"format":"flor_trace state","version":3}',
        b'{"format":"other","version":3}',
        b"[" * 100_000,
    ],
)
def test_what_is_not_a_document_is_refused(data):
    with pytest.raises(StoreFormatError):
        decode(data)


def damaged(change):
    document = json.loads(encode(capture({"x": [[1], [0.5] * 50]}), ["400-aa"]))
    change(document)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("nodes"),
        lambda d: d["nodes"].append([0, -1, [99]]),
        lambda d: d["nodes"].append([0, -1, [-1]]),
        lambda d: d["nodes"].append([99, -1]),
        lambda d: d["nodes"].append([-1, -1]),
        lambda d: d["nodes"].append([0, 7]),
        lambda d: d["nodes"].append([0, "x"]),
        lambda d: d["nodes"].append([]),
        lambda d: d["nodes"].append([0, -1, {"a": 1}]),
        lambda d: d["nodes"].append([0, -1, ["unknown", 1]]),
        lambda d: d["nodes"].append([0, -1, ["tuple", 1]]),
        lambda d: d["nodes"].append([0, -1, ["float", "x"]]),
        lambda d: d["shapes"].append(["k", "t", None]),
        lambda d: d.update(shapes=[["list", "builtins:list", None, ["a", "b", "c", "d"]]]),
        lambda d: d.update(roots=[["x", [99]]]),
        lambda d: d.update(roots=5),
    ],
)
def test_a_damaged_document_is_refused(change):
    with pytest.raises(StoreFormatError):
        decode(damaged(change))


def test_random_damage_is_refused_or_gives_a_graph_of_plain_data():
    data = bytearray(encode(capture(SAMPLE), []))
    rng = random.Random(0)
    for _ in range(300):
        copy = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            copy[rng.randrange(len(copy))] = rng.randrange(256)
        try:
            graph = decode(bytes(copy))
        except StoreFormatError:
            continue
        assert all(isinstance(node, Node) for node in graph.nodes)
