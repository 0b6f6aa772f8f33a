"""Tensors of every type, layout and class come back bit for bit, in place where one is alive."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]


class Tagged(torch.Tensor):
    pass


class MyParameter(nn.Parameter):
    pass


class Loud(torch.Tensor):
    """Says so when its code is run."""

    calls = 0

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        Loud.calls += 1
        return super().__torch_function__(func, types, args, kwargs or {})


class Wrapper(torch.Tensor):
    """Shows the numbers of another tensor, as quantizing and distributing libraries do."""

    calls = 0

    @staticmethod
    def __new__(cls, inner):
        made = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        Wrapper.calls += 1
        return func(*(a.inner if isinstance(a, Wrapper) else a for a in args), **(kwargs or {}))


def quantized_by_channel(dtype):
    scales, zeros = torch.rand(4) + 0.1, torch.zeros(4, dtype=torch.long)
    return torch.quantize_per_channel(torch.randn(4, 3), scales, zeros, 0, dtype)


#: Those that tensors can be converted to; the others are for packing and quantizing.
DTYPES = [
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex32",
    "complex64",
    "complex128",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
]

TENSORS = {
    "coo": lambda: torch.randn(3, 3).to_sparse(),
    "coo with duplicates": lambda: torch.sparse_coo_tensor(
        [[0, 0], [1, 1]], torch.randn(2), (2, 2)
    ),
    "csr": lambda: torch.randn(3, 3).to_sparse_csr(),
    "csc": lambda: torch.randn(3, 3).to_sparse_csc(),
    "bsr": lambda: torch.randn(4, 4).to_sparse_bsr((2, 2)),
    "conjugated": lambda: torch.randn(3, dtype=torch.complex64)[1:].conj(),
    "negated": lambda: torch.randn(3, dtype=torch.complex64).conj().imag,
    "expanded": lambda: torch.randn(3).expand(2, 3),
    "overlapping": lambda: torch.randn(5).as_strided((3, 3), (1, 1)),
    "channels last": lambda: torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "channels last 3d": lambda: torch.randn(2, 3, 4, 5, 6).to(memory_format=torch.channels_last_3d),
    "quint8": lambda: torch.quantize_per_tensor(torch.randn(4), 0.1, 3, torch.quint8),
    "qint32": lambda: torch.quantize_per_tensor(torch.randn(4), 0.1, 3, torch.qint32),
    "by channel": lambda: quantized_by_channel(torch.qint8),
    "trained": lambda: torch.randn(3, requires_grad=True),
    "tagged": lambda: torch.randn(3).as_subclass(Tagged),
    "parameter": lambda: MyParameter(torch.randn(3)),
    "sparse parameter": lambda: nn.Parameter(torch.randn(3, 3).to_sparse()),
    "buffer": lambda: nn.Buffer(torch.randn(3), persistent=False),
    "lazy parameter": lambda: nn.UninitializedParameter(),
    "lazy buffer": lambda: nn.UninitializedBuffer(dtype=torch.float64),
    "nested": lambda: torch.nested.nested_tensor([torch.randn(2), torch.randn(3)]),
    "jagged": lambda: torch.nested.nested_tensor(
        [torch.randn(2, 3), torch.randn(3, 3)], layout=torch.jagged
    ),
    "masked": lambda: torch.masked.masked_tensor(torch.randn(2), torch.tensor([True, False])),
    "wrapper": lambda: Wrapper(torch.randn(3)),
    "scalar": lambda: torch.tensor(1.5, dtype=torch.half),
    "empty": lambda: torch.empty(0, 3),
}
#: A new tensor that cannot take the place of a live one inside the same object.
REPLACED = {"jagged"}


def description(tensor):
    """What can be asked of every tensor; shapes of jagged ones have a number of their own."""
    if isinstance(tensor, nn.parameter.UninitializedTensorMixin):
        return type(tensor), tensor.data.dtype, tensor.requires_grad
    if isinstance(tensor, Wrapper):
        return type(tensor), tensor.shape, description(tensor.inner)
    if tensor.is_nested:
        return type(tensor), [part.tolist() for part in tensor.unbind()], tensor.layout
    parts = (tensor.requires_grad, tensor.is_conj(), tensor.is_neg(), tensor.layout, tensor.dtype)
    return type(tensor), str(tensor), parts


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_comes_back_in_the_live_one_or_anew(save, digest_of, name):
    torch.manual_seed(1)
    tensor = TENSORS[name]()
    saved = save({"x": [tensor]})
    assert saved.captured.opaque == []
    torch.manual_seed(2)
    for live in (None, [tensor], [TENSORS[name]()]):
        before = live and live[0]
        made = saved.restore({"x": live})
        assert digest_of(made) == saved.digests
        assert description(made["x"][0]) == description(tensor)
        assert live is None or name in REPLACED or made["x"][0] is before


@pytest.mark.parametrize("name", DTYPES)
def test_a_tensor_of_every_type_comes_back(save, digest_of, name):
    dtype = getattr(torch, name)
    wide = torch.arange(12) % 2 if dtype == torch.bool else torch.arange(12)
    tensor = wide.to(dtype).reshape(3, 4)
    saved = save({"x": tensor})
    assert saved.captured.opaque == []
    live = torch.empty_like(tensor)
    for place in (None, live):
        made = saved.restore({"x": place})["x"]
        assert made.dtype == dtype
        assert bytes(made.untyped_storage()) == bytes(tensor.untyped_storage())
        assert place is None or made is live


def test_the_code_of_tensor_classes_is_not_run_by_a_capture(save):
    loud, wrapper = torch.randn(3).as_subclass(Loud), Wrapper(torch.randn(3))
    Loud.calls = Wrapper.calls = 0
    assert save({"x": [loud, wrapper]}).captured.opaque == []
    assert (Loud.calls, Wrapper.calls) == (0, 0)


def test_a_tensor_made_in_inference_mode_gets_its_values_in_place(save, digest_of):
    with torch.inference_mode():
        tensor = torch.randn(3)
    expected = tensor.tolist()
    saved = save({"x": tensor})
    with torch.inference_mode():
        tensor.zero_()
    assert saved.restore({"x": tensor})["x"] is tensor
    assert tensor.tolist() == expected
    assert saved.restore({})["x"].tolist() == expected


def test_a_sparse_gradient_and_that_of_a_sparse_parameter_come_back(save, digest_of):
    embedding = nn.Embedding(5, 2, sparse=True)
    embedding(torch.tensor([1, 1])).sum().backward()
    weight = nn.Parameter(torch.eye(2).to_sparse())
    torch.sparse.mm(weight, torch.ones(2, 2)).sum().backward()
    saved = save({"e": embedding, "w": weight})
    embedding.zero_grad()
    weight.grad = None
    for live in ({"e": embedding, "w": weight}, {"e": nn.Embedding(5, 2, sparse=True)}):
        made = saved.restore(live)
        assert digest_of(made) == saved.digests
        assert made["e"].weight.grad.to_dense()[1].tolist() == [2.0, 2.0]
        assert made["w"].grad.to_dense().tolist() == [[2.0, 0.0], [0.0, 2.0]]


def test_views_of_one_storage_survive_conjugation(save):
    base = torch.zeros(2, dtype=torch.complex64)
    made = save({"x": [base, base.conj()]}).restore({})["x"]
    made[0][0] = 1 + 2j
    assert complex(made[1][0]) == 1 - 2j


OPAQUE = {
    "meta": (lambda: torch.empty(3, device="meta"), "no memory to read"),
    "onednn": (lambda: torch.randn(3, 3).to_mkldnn(), "layout of oneDNN"),
}


@pytest.mark.parametrize("name", OPAQUE)
def test_tensors_that_cannot_be_read_are_named_with_the_reason(save, name):
    make, why = OPAQUE[name]
    (path,) = save({"x": [make()]}).captured.opaque
    assert path.startswith("x[0] (")
    assert why in path


def test_values_of_torch_that_are_not_tensors_come_back(round_trip):
    values = [torch.finfo(torch.bfloat16), torch.iinfo(torch.int8), torch.Size([1]), torch.strided]
    made = round_trip(values)
    assert [str(value) for value in made] == [str(value) for value in values]


def test_streams_and_events_are_taken_from_the_live_program(save):
    stream = torch.Stream()
    saved = save({"x": stream})
    assert saved.captured.opaque == []
    assert saved.restore({"x": stream})["x"] is stream
