"""Packed containers as ordinary nodes."""

from __future__ import annotations

from collections import defaultdict, deque

import pytest

from flor_trace._speedups import digest
from flor_trace.state.changes import changes
from flor_trace.state.graph import PACKED_GRAPH, PACKED_PART, PACKED_VALUE
from flor_trace.state.inflating import inflate


class Thing:
    def __init__(self, **values):
        self.__dict__.update(values)


def inflated(save, roots):
    saved = save(roots)
    graph = saved.graph
    digests = [digest(saved.chunks[address]) for address in graph.leaves]
    return inflate(graph, digests, saved.chunks.__getitem__)


def said(save, before, after):
    one, other = inflated(save, before), inflated(save, after)
    return [
        f"{c.path} {c.what} {c.detail}".strip() for c in changes(one[0], other[0], one[1], other[1])
    ]


def records():
    return [{"id": n, "text": f"t{n}", "spans": [(n, n + 1), (0, 2)]} for n in range(50)]


def test_nothing_packed_is_left_and_references_are_kept(save):
    data = records()
    roots = {
        "data": data,
        "sample": data[7],
        "holder": Thing(spans=data[9]["spans"]),
        "t": (1, 2) * 50,
    }
    graph, digests = inflated(save, roots)
    kinds = {node.kind for node in graph.nodes if node.type_name}
    assert len(digests) == len(graph.leaves)
    reached = set()
    queue = list(graph.roots.values())
    for ref in queue:
        if ref not in reached:
            reached.add(ref)
            node = graph.nodes[ref]
            assert node.kind not in (PACKED_GRAPH, PACKED_PART, PACKED_VALUE, "")
            queue += [c for c in node.children if type(c) is type(ref)]
    assert {"dict", "list", "tuple", "instance", "packed tuple"} <= kinds
    assert graph.nodes[graph.roots["data"]].children[7] == graph.roots["sample"]


def test_changes_are_named_inside(save):
    before, after = records(), records()
    after[3]["text"] = "other"
    after[4]["spans"].append((5, 5))
    after[6]["new"] = 1
    assert sorted(said(save, {"data": before}, {"data": after})) == [
        "data[3]['text'] changed 't3' -> 'other'",
        "data[4]['spans'] changed 2 -> 3 elements",
        "data[6]['new'] added 1",
    ]


def test_a_container_that_grew_beyond_the_limit_is_compared(save):
    history = {"loss": [0.5] * 20, "name": "x", "notes": [["a", 1]] * 1}
    larger = {"loss": [0.5] * 20, "name": "x", "notes": [["a", n] for n in range(60)]}
    assert "history['notes'] changed 1 -> 60 elements" in said(
        save, {"history": history}, {"history": larger}
    )


def test_what_is_not_plain_stays_a_child(save):
    data = [*records(), Thing(w=1.5)]
    graph, _ = inflated(save, {"data": data})
    child = graph.nodes[graph.roots["data"]].children[-1]
    assert graph.nodes[child].kind == "instance"
    assert said(save, {"data": data}, {"data": [*records(), Thing(w=2)]}) == [
        "data[50].w changed 1.5 -> 2"
    ]


def test_digests_tell_packed_graphs_apart_as_changes_do(save):
    assert said(save, {"data": records()}, {"data": records()}) == []


@pytest.mark.parametrize("length", [40, 400])
def test_long_lists_of_numbers_inside_are_told_in_one_line(save, length):
    before = {"loss": [0.5] * length, "names": [str(n) for n in range(70)]}
    after = {**before, "loss": [0.5] * (length - 1) + [0.75]}
    assert said(save, {"h": before}, {"h": after}) == [
        f"h['loss'] changed of {length} elements, 1 of {length} differ, by at most 0.25"
    ]


def test_large_containers_of_other_types_are_looked_into(save):
    def index(count):
        return {
            "words": defaultdict(list, {f"w{n}": [n] for n in range(count)}),
            "queue": deque(f"w{n}" for n in range(count)),
        }

    other = index(80)
    other["words"]["w4"].append(5)
    assert said(save, index(80), other) == ["words['w4'] changed 1 -> 2 elements"]
    assert said(save, index(60), index(70))[0].startswith("words['w60'] added")
