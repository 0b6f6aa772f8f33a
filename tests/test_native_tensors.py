"""The C reader of torch's tensors says what the codec's Python says, whatever the tensor."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_trace._speedups import NATIVE, Span
from flor_trace.state import capture as capturing
from flor_trace.state.codecs.registry import load_libraries, plan_for
from flor_trace.state.graph import Graph, Node

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.native]
if not NATIVE:
    pytest.skip("the C extension is not here", allow_module_level=True)

from flor_trace._native import TensorReader  # noqa: E402
from flor_trace.state.codecs import torch_reader, torch_tensors  # noqa: E402

load_libraries()
CODEC: Any = plan_for(torch.Tensor).codec
PYTHON: Any = type(CODEC).capture.__get__(CODEC)


def refuse(walk: Any, obj: Any, plan: Any) -> Node:
    raise LookupError(f"left to Python: {type(obj).__name__}")


def make(exchange: Any, fallback: Any = None) -> TensorReader:
    parts = torch_reader.parts(fallback or PYTHON, torch_tensors._DTYPE_NAMES)
    return TensorReader(parts, exchange)


EXCHANGE = torch_reader.exchange()
WAYS = [
    pytest.param(None, id="by methods"),
    pytest.param(
        EXCHANGE,
        id="by DLPack",
        marks=pytest.mark.skipif(EXCHANGE is None, reason="this torch has no exchange interface"),
    ),
]


@pytest.fixture(params=WAYS)
def exchange(request: pytest.FixtureRequest) -> Any:
    return request.param


def capture_by(way: Any, roots: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Graph:
    with monkeypatch.context() as patch:
        patch.setattr(CODEC, "capture", way)
        return capturing.capture(roots)


def told(graph: Graph) -> tuple[Any, ...]:
    """All of a graph, with the bytes of its leaves, and types where equality does not tell."""
    nodes = [
        (n.kind, n.type_name, typed(n.payload), typed(tuple(n.children)), n.names, n.leaf)
        for n in graph.nodes
    ]
    return graph.roots, nodes, [bytes(leaf) for leaf in graph.leaves]


def typed(value: Any) -> Any:
    if isinstance(value, tuple):
        return (type(value), *map(typed, value))
    return (type(value), repr(value))


def with_grad(tensor: Any) -> Any:
    parameter = torch.nn.Parameter(tensor)
    parameter.grad = torch.full_like(tensor, 2)
    return parameter


def with_attributes() -> Any:
    tensor = torch.arange(3)
    tensor.note, tensor.other, tensor.itself = "a", [1, 2], tensor
    return tensor


def shrunk(to: int) -> Any:
    tensor = torch.arange(10.0)[5:]
    tensor.untyped_storage().resize_(to)
    return tensor


def jagged() -> Any:
    return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])


class Marked(torch.Tensor):
    """A subclass that adds nothing but its name."""


def fake() -> Any:
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode().from_tensor(torch.ones(3))


def quantized() -> Any:
    return torch.quantize_per_tensor(torch.ones(4), 0.5, 0, torch.quint8)


def pinned() -> Any:
    if not torch.cuda.is_available():
        pytest.skip("pinned memory needs CUDA")
    return torch.ones(5).pin_memory()


NAMED_DTYPES = [
    "float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8",
    "uint16", "uint32", "uint64", "bool", "complex32", "complex64", "complex128",
    "float8_e4m3fn", "float8_e5m2",
]  # fmt: skip

#: Those that C must not leave to Python: what models are made of.
USUAL: dict[str, Callable[[], Any]] = {
    **{
        f"of {name}": lambda name=name: torch.zeros(2, 3).to(getattr(torch, name))
        for name in NAMED_DTYPES[:16]
    },
    "without dimensions": lambda: torch.tensor(2.5),
    "without elements": lambda: torch.empty(0, 3),
    "without elements, at the end of others": lambda: torch.arange(4)[4:],
    "without dimensions, inside of others": lambda: torch.arange(4)[2],
    "of nine dimensions": lambda: torch.zeros(1, 2, 1, 2, 1, 1, 3, 1, 1),
    "a view with steps": lambda: torch.arange(20).view(4, 5)[1:, ::2],
    "a transposed one": lambda: torch.arange(6).view(2, 3).t(),
    "an expanded one": lambda: torch.arange(3).expand(4, 3),
    "channels last": lambda: torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "overlapping windows": lambda: torch.arange(9).as_strided((3, 3), (2, 1), 1),
    "reinterpreted": lambda: torch.arange(6.0)[2:].view(torch.uint8)[4:],
    "a parameter": lambda: torch.nn.Parameter(torch.ones(2, 2)),
    "a frozen parameter": lambda: torch.nn.Parameter(torch.ones(2), requires_grad=False),
    "a parameter with a gradient": lambda: with_grad(torch.ones(3)),
    "wanting a gradient": lambda: torch.ones(2, requires_grad=True),
    "made by autograd": lambda: torch.ones(2, requires_grad=True) * 2,
    "a view made by autograd": lambda: torch.ones(2, 2, requires_grad=True)[1],
    "detached": lambda: (torch.ones(2, requires_grad=True) * 2).detach(),
    "with attributes": with_attributes,
    "an inference tensor": lambda: torch.inference_mode()(torch.ones)(3),
    "from NumPy": lambda: torch.from_numpy(__import__("numpy").arange(5)),
    "from bytes": lambda: torch.frombuffer(bytearray(b"abcdefgh"), dtype=torch.int16, offset=2),
    "with a freed storage": lambda: shrunk(0),
    "a buffer": lambda: torch.nn.Buffer(torch.ones(3)),
    "a real part": lambda: torch.ones(3, dtype=torch.complex64).real,
    "an imaginary part": lambda: torch.ones(3, dtype=torch.complex64).imag,
    "shared with processes": lambda: torch.ones(4).share_memory_(),
}

#: Those whose value is not simply what their memory holds.
UNUSUAL: dict[str, Callable[[], Any]] = {
    "conjugated": lambda: torch.ones(3, dtype=torch.complex64).conj(),
    "negated": lambda: torch.ones(3, dtype=torch.complex64).conj().imag,
    "negated, alone in its storage": lambda: torch._neg_view(torch.ones(3)),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "sparse by rows": lambda: torch.eye(3).to_sparse_csr(),
    "on no device": lambda: torch.ones(3, device="meta"),
    "quantized": quantized,
    "nested": jagged,
    "of oneDNN": lambda: torch.ones(3).to_mkldnn(),
    "functional": lambda: torch._to_functional_tensor(torch.ones(3)),
    "fake": fake,
    "of a subclass": lambda: torch.ones(3).as_subclass(Marked),
}

RARE: dict[str, Callable[[], Any]] = {
    "of float8_e4m3fn": lambda: torch.zeros(4).to(torch.float8_e4m3fn),
    "of float8_e5m2": lambda: torch.zeros(4).to(torch.float8_e5m2),
    "pinned": pinned,
}

ZOO = {**USUAL, **UNUSUAL, **RARE}


@pytest.mark.filterwarnings("ignore")  # torch warns of prototypes
@pytest.mark.parametrize("name", ZOO)
def test_the_graph_is_the_one_that_python_makes(
    name: str, exchange: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = {"one": ZOO[name](), "list": [1]}

    wanted = told(capture_by(PYTHON, roots, monkeypatch))

    assert told(capture_by(make(exchange), roots, monkeypatch)) == wanted
    assert told(capturing.capture(roots)) == wanted


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", USUAL)
def test_what_models_are_made_of_is_not_left_to_python(
    name: str, exchange: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = capture_by(make(exchange, refuse), {"one": USUAL[name]()}, monkeypatch)

    assert graph.nodes[0].kind in ("tensor", "detached tensor")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in UNUSUAL if name not in ("fake", "functional")])
def test_what_memory_does_not_say_is_left_to_python(name: str, exchange: Any) -> None:
    tensor = ZOO[name]()

    with pytest.raises(LookupError, match="left to Python"):
        make(exchange, refuse)(walk(), tensor, plan_for(type(tensor)))


def walk() -> Any:
    return capturing._Walk((), 1000, lambda _: False)


def test_tensors_that_share_memory_share_the_leaf(
    exchange: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    numpy = pytest.importorskip("numpy")
    whole = torch.arange(12.0)
    array = numpy.arange(4.0)
    roots = {
        "a": [whole, whole[3:7], whole.view(3, 4).t(), torch.from_numpy(array), array],
        "tied": torch.nn.Parameter(whole),
        "other": torch.arange(12.0),
    }

    graph = capture_by(make(exchange, refuse), roots, monkeypatch)

    leaves = [node.leaf for node in graph.nodes if node.kind in ("tensor", "array")]
    assert sorted(leaves) == [0, 0, 0, 0, 1, 1, 2]
    assert told(graph) == told(capture_by(PYTHON, roots, monkeypatch))


@st.composite
def windows(draw: st.DrawFn) -> list[Any]:
    """Windows, of any type, steps and place, on pieces of memory of any length."""
    lengths = draw(st.lists(st.integers(0, 300), min_size=1, max_size=3))
    pool = [torch.arange(n, dtype=torch.uint8).untyped_storage() for n in lengths]
    return [draw(window(draw(st.sampled_from(pool)))) for _ in range(draw(st.integers(0, 6)))]


@st.composite
def window(draw: st.DrawFn, storage: Any) -> Any:
    dtype = getattr(torch, draw(st.sampled_from(NAMED_DTYPES)))
    size = storage.nbytes() // dtype.itemsize
    base = torch.empty(0, dtype=dtype)
    if size == 0:
        return base.set_(storage, 0, (0,), (1,))
    shape = draw(st.lists(st.integers(0, 3), max_size=8))
    strides = draw(st.lists(st.integers(0, 5), min_size=len(shape), max_size=len(shape)))
    span = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if n)
    if span > size or draw(st.integers(0, 4)) == 0:
        shape, strides, span = [size], [1], size
    offset = draw(st.integers(0, size - (0 if 0 in shape else span)))
    return base.set_(storage, offset, shape, strides)


@settings(deadline=None, max_examples=300)
@given(windows(), st.booleans(), st.booleans())
def test_any_windows_give_the_graph_that_python_makes(
    made: list[Any], wants: bool, by_methods: bool
) -> None:
    for tensor in made:
        if wants and (tensor.is_floating_point() or tensor.is_complex()):
            tensor.requires_grad_()
    reader = make(None if by_methods else EXCHANGE)
    with pytest.MonkeyPatch.context() as patch:
        wanted = told(capture_by(PYTHON, {"made": made}, patch))
        assert told(capture_by(reader, {"made": made}, patch)) == wanted


def test_a_storage_that_was_made_shorter_is_not_read_past_its_end(
    exchange: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (0, 4, 20, 36):
        graph = capture_by(make(exchange, refuse), {"one": shrunk(size)}, monkeypatch)

        assert [len(bytes(leaf)) for leaf in graph.leaves] == [size]
        payload: Any = graph.nodes[0].payload
        assert payload[3] == 5


def test_memory_that_nothing_shows_is_not_captured(
    exchange: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mean leaves its result in the memory that held what it is the mean of, and more."""
    loss = torch.nn.functional.mse_loss(torch.ones(20, 1), torch.zeros(20, 1))
    base = torch.arange(10.0)
    for roots, sizes in (
        ({"loss": loss}, [4]),
        ({"part": base[2:5]}, [20]),
        ({"part": base[2:5], "other": base[4:7]}, [28]),
        ({"part": base[2:5], "whole": base}, [40]),
        ({"whole": base, "part": base[2:5]}, [40]),
        ({"part": base[2:5], "whole": base, "other": base[:3]}, [40]),
    ):
        graph = capture_by(make(exchange, refuse), roots, monkeypatch)

        assert [leaf.nbytes for leaf in graph.leaves] == sizes  # type: ignore[union-attr]


def test_values_that_change_without_a_new_version_are_seen(
    exchange: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensor = torch.zeros(4)
    version = tensor._version
    reader = make(exchange, refuse)
    before = [bytes(x) for x in capture_by(reader, {"one": tensor}, monkeypatch).leaves]

    tensor.numpy()[1] = 5
    tensor.data[2] = 6

    assert tensor._version == version
    after = [bytes(x) for x in capture_by(reader, {"one": tensor}, monkeypatch).leaves]
    assert torch.frombuffer(bytearray(after[0]), dtype=torch.float32).tolist() == [0, 5, 6, 0]
    assert before != after


def test_a_leaf_keeps_its_memory_and_nothing_else_is_kept(exchange: Any) -> None:
    reader, at = make(exchange), walk()
    tensor = torch.arange(1000.0)
    wanted = tensor.numpy().tobytes()
    gone = weakref.ref(tensor)

    reader(at, tensor, plan_for(torch.Tensor))
    del tensor
    gc.collect()

    assert gone() is None
    assert bytes(at.leaves[0]) == wanted


def test_nothing_is_left_behind_by_many_captures(exchange: Any) -> None:
    reader, plan = make(exchange), plan_for(torch.Tensor)
    made = [with_attributes(), torch.ones(3), with_grad(torch.ones(2)), torch.zeros(0)]

    def captures(count: int) -> None:
        for _ in range(count):
            at = walk()
            for tensor in made:
                reader(at, tensor, plan)

    captures(50)
    before = sys.getallocatedblocks()
    captures(3000)
    assert sys.getallocatedblocks() - before < 300


def test_an_error_of_the_walk_is_raised(exchange: Any) -> None:
    class Broken:
        leaves: list[Any] = []  # noqa: RUF012
        shown: dict[int, int] = {}  # noqa: RUF012
        _leaf_keys: dict[Any, int] = {}  # noqa: RUF012

        def ref(self, obj: Any) -> Any:
            raise KeyError("no room")

    with pytest.raises(KeyError, match="no room"):
        make(exchange)(Broken(), with_grad(torch.ones(2)), plan_for(torch.nn.Parameter))
    with pytest.raises(AttributeError, match="_leaf_keys"):
        make(exchange)(object(), torch.ones(2), plan_for(torch.Tensor))
    Broken.leaves = None  # type: ignore[assignment]
    with pytest.raises(TypeError, match="a list"):
        make(exchange)(Broken(), torch.ones(4), plan_for(torch.Tensor))


def test_only_a_torch_with_the_known_slots_is_read() -> None:
    parts = torch_reader.parts(PYTHON, torch_tensors._DTYPE_NAMES)
    for name in parts:
        with pytest.raises(TypeError, match=name):
            TensorReader({k: v for k, v in parts.items() if k != name}, None)
    for name in ("grad", "shape", "stride", "nbytes", "node", "types"):
        with pytest.raises(TypeError):
            TensorReader({**parts, name: len}, None)
    with pytest.raises(TypeError):
        TensorReader({**parts, "types": (int,)}, None)
    with pytest.raises(ValueError, match="Capsule"):
        TensorReader(parts, object())
    reader = TensorReader(parts, None)
    for wrong in ((), (1, 2), (1, 2, 3, 4)):
        with pytest.raises(TypeError):
            reader(*wrong)


def test_a_span_is_read_only_memory(exchange: Any) -> None:
    at = walk()
    make(exchange)(at, torch.arange(3, dtype=torch.uint8), plan_for(torch.Tensor))

    leaf = at.leaves[0]
    span = leaf.obj if isinstance(leaf, memoryview) else leaf

    assert isinstance(span, Span)
    assert (len(span), span.nbytes, span.tobytes()) == (3, 3, b"\0\1\2")
    assert memoryview(span).readonly
    with pytest.raises(TypeError):
        Span()
