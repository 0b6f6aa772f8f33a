"""Both twins describe the same objects by the same nodes, and these by the same digests."""

from __future__ import annotations

import math
import struct
from collections import Counter, OrderedDict, defaultdict, deque
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_trace import _pure_describer, _pure_walk
from flor_trace._speedups import Walker
from flor_trace.errors import CaptureError
from flor_trace.state import capture as capturing
from flor_trace.state import digests as digesting
from flor_trace.state.capture import capture
from flor_trace.state.codecs.values import LONG
from flor_trace.state.digests import digest_roots
from flor_trace.state.encode import encode
from flor_trace.state.graph import Graph, Node
from flor_trace.types import Address, Digest

ROOT = "/home/someone/project"


def by_twin(monkeypatch, roots, **options):
    with monkeypatch.context() as patch:
        patch.setattr(capturing, "Walker", _pure_walk.Walker)
        return capture(roots, **options)


def document(graph: Graph) -> bytes:
    return encode(graph, [Address(f"{n:048x}") for n in range(len(graph.leaves))])


def assert_same(monkeypatch, roots):
    """The nodes, and the bytes that the state has in the store."""
    options = {"relocate": [(ROOT, "\0root")]}
    ours, theirs = capture(roots, **options), by_twin(monkeypatch, roots, **options)
    assert document(ours) == document(theirs)
    for one, other in zip(ours.nodes, theirs.nodes, strict=True):
        assert repr(one) == repr(other)
        assert [type(child) for child in one.children] == [type(child) for child in other.children]
    assert_same_digests(monkeypatch, ours)
    return ours


def assert_same_digests(monkeypatch, graph):
    """Both describers, with nothing and with some names to be ignored."""
    leaves = [Digest(f"{n:016d}".encode()) for n in range(len(graph.leaves))]
    for ignore in (frozenset(), frozenset({"a0", "n1", "a", "again", "exp_avg"})):
        with monkeypatch.context() as patch:
            patch.setattr(digesting, "Describer", _pure_describer.Describer)
            expected = digest_roots(graph, leaves, ignore)
        assert digest_roots(graph, leaves, ignore) == expected


class Plain:
    def __init__(self, *values):
        for number, value in enumerate(values):
            setattr(self, f"a{number}", value)


class Slotted:
    __slots__ = ("__dict__", "x")

    def __init__(self, x):
        self.x = x


class OwnDict:
    """Its `__dict__` is not what holds its attributes."""

    def __init__(self):
        object.__getattribute__(self, "__dict__")["real"] = 1

    @property
    def __dict__(self):
        return {"real": 2}


class Listing(list):
    pass


class Mapping(dict):
    pass


ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.sampled_from([..., ROOT, ROOT + "/x", "x" * (LONG + 1), "x" * LONG, b"x" * (LONG + 1)])
)
KEYS = st.text(max_size=4) | st.integers() | st.tuples(st.integers(), st.text(max_size=2))


def holders(inner):
    few = st.lists(inner, max_size=20)
    return (
        few
        | few.map(tuple)
        | few.map(Listing)
        | few.map(deque)
        | few.map(lambda values: Plain(*values))
        | few.map(lambda values: SimpleNamespace(**{f"n{i}": v for i, v in enumerate(values)}))
        | inner.map(Slotted)
        | st.dictionaries(KEYS, inner, max_size=20)
        | st.dictionaries(KEYS, inner, max_size=4).map(OrderedDict)
        | st.dictionaries(KEYS, inner, max_size=4).map(Mapping)
        | st.dictionaries(KEYS, inner, max_size=4).map(lambda d: defaultdict(list, d))
        | st.frozensets(KEYS, max_size=4)
        | st.sets(KEYS, max_size=4)
    )


@settings(max_examples=300, deadline=None)
@given(st.recursive(ATOMS, holders, max_leaves=60))
def test_any_nest_of_containers_and_instances(value):
    with pytest.MonkeyPatch.context() as patch:
        assert_same(patch, {"x": value, "again": [value, value], "text": "é\ud800", "big": 1 << 31})


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 31, 32, 64, 200])
def test_around_the_lengths_from_which_on_containers_are_packed(monkeypatch, length):
    objects = [object.__new__(Plain) for _ in range(length)]
    for values in (list(range(length)), [str(n) for n in range(length)], objects):
        roots = {"list": list(values), "tuple": tuple(values), "dict": dict(enumerate(values))}
        assert_same(monkeypatch, roots)
        assert_same(monkeypatch, {"nested": [[list(values)] for _ in range(3)], **roots})


def test_small_containers_that_are_parts_of_packed_ones(monkeypatch):
    parts = [[1, n] for n in range(100)]
    named = [{"n": n} for n in range(100)]
    found = assert_same(
        monkeypatch, {"all": parts, "named": named, "some": [parts[3], named[4]], "x": parts[7]}
    )
    assert sum(node.kind == "packed part" for node in found.nodes) == 3


def test_instances_of_one_class_with_different_attributes(monkeypatch):
    first, second, third = Plain(1, [2]), Plain(1, [2]), Plain(1, [2])
    second.b = 3
    del third.a0
    third.a0 = 4  # another order
    odd = Plain(1)
    odd.__dict__[5] = "no name"
    wrapped = Plain(1)
    wrapped._torchdynamo_wrapper_id = 12345
    assert_same(monkeypatch, {"x": [first, second, third, odd, wrapped, Plain(5, 6), first]})


def test_an_instance_that_claims_to_have_another_dict(monkeypatch):
    found = assert_same(monkeypatch, {"x": [OwnDict(), OwnDict(), OwnDict()]})
    assert [node.children for node in found.nodes[1:]] == [[2]] * 3


def test_an_instance_that_is_its_own_dict(monkeypatch):
    mine = Mapping()
    mine.__dict__ = mine
    mine["a"] = [mine]
    assert_same(monkeypatch, {"x": mine, "counts": Counter("abca")})


def test_empty_ordered_dicts_with_and_without_attributes(monkeypatch):
    marked, touched = OrderedDict(), OrderedDict()
    marked.x = 1
    assert touched.__dict__ == {}
    found = assert_same(monkeypatch, {"x": [marked, touched, OrderedDict(), {}, set(), ()]})
    assert sum("x" in node.names for node in found.nodes) == 1


@pytest.mark.parametrize(
    "number", [math.nan, -math.nan, complex(math.nan, 1), complex(2, -math.nan)]
)
def test_every_nan_is_the_same_one(number):
    child = capture({"x": [number]}).nodes[0].children[0]
    parts = (child.real, child.imag) if isinstance(child, complex) else (child,)
    assert any(map(math.isnan, parts))
    plain = struct.pack("<d", math.nan)
    assert all(struct.pack("<d", each) == plain for each in parts if math.isnan(each))


@pytest.mark.parametrize("walker", [Walker, _pure_walk.Walker])
def test_too_many_objects_stop_the_walk(monkeypatch, walker):
    monkeypatch.setattr(capturing, "Walker", walker)
    with pytest.raises(CaptureError, match="more than 50 objects; the walk stopped in 'x'"):
        capture({"x": [[Plain()] for _ in range(60)]}, max_nodes=50)


@pytest.mark.parametrize("walker", [Walker, _pure_walk.Walker])
def test_what_a_codec_raises_comes_out(monkeypatch, walker):
    monkeypatch.setattr(capturing, "Walker", walker)

    def broken(cls):
        raise RuntimeError("no plan")

    monkeypatch.setattr(capturing, "plan_for", broken)
    with pytest.raises(RuntimeError, match="no plan"):
        capture({"x": [1]})


def test_ids_are_made_as_they_are_needed(monkeypatch):
    from flor_trace.state.graph import node_ids

    before = len(node_ids(0))
    value = [Plain(n) for n in range(before + 100)]
    ours = capture({"x": value})
    assert len(node_ids(0)) > before
    assert ours.nodes[-1].kind == "instance"
    assert all(isinstance(node, Node) for node in ours.nodes)
    assert document(ours) == document(by_twin(monkeypatch, {"x": value}))


def test_memory_that_several_arrays_show(monkeypatch):
    np = pytest.importorskip("numpy")
    base = np.arange(6.0)
    found = assert_same(monkeypatch, {"x": base, "y": [base[1:], base[::2]], "z": np.ones(2)})
    assert len(found.leaves) == 2


@pytest.mark.torch
def test_a_model_with_its_optimizer(monkeypatch):
    torch = pytest.importorskip("torch")
    layers = (torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4), torch.nn.Embedding(3, 4))
    model = torch.nn.Sequential(*layers, torch.nn.ModuleDict({"a": torch.nn.Dropout()}))
    model[0].register_forward_hook(print)
    model[0](torch.ones(2, 4)).sum().backward()
    optimizer = torch.optim.AdamW(model.parameters())
    optimizer.step()
    found = assert_same(monkeypatch, {"model": model, "optimizer": optimizer})
    assert len(found.leaves) > 8
