from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flor_trace.errors import ProbeError
from flor_trace.replay.encoding import encode_error, encode_value
from flor_trace.store.memory import MemoryStore


@pytest.fixture
def store():
    return MemoryStore()


def stored(value, store):
    document = encode_value(value, store)
    assert document["$"] == "ndarray"
    flat = np.frombuffer(store.get(document["at"]), np.dtype(document["dtype"]))
    return flat.reshape(document["shape"])


@given(st.one_of(st.none(), st.booleans(), st.integers(-(2**80), 2**80), st.floats(), st.text()))
def test_scalars_are_written_as_they_are(value):
    if isinstance(value, str) and len(value) > 1024:
        return
    got = encode_value(value, MemoryStore())

    assert type(got) is type(value)
    assert got == value or (math.isnan(got) and math.isnan(value))


def test_a_long_text_is_cut_and_says_so(store):
    text = encode_value("a" * 5000, store)

    assert text.startswith("a" * 1024)
    assert text.endswith("(5000 characters)")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.arange(6.0).reshape(2, 3).T,
        np.arange(10)[::-2],
        np.zeros((0, 4), "f4"),
        np.array([True, False]),
        np.array(["a", "bcd"]),
        np.array([1 + 2j]),
        np.arange(3, dtype=">i4"),
        np.array(["2020-01-01"], "M8[D]"),
        np.float16([1.5]),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_an_array_comes_back_bit_for_bit(array, store):
    got = stored(array, store)

    assert got.dtype == array.dtype
    assert got.shape == array.shape
    assert got.tobytes() == array.tobytes()


@pytest.mark.parametrize("value", [[1, 2], (1.5, 2.5), [[1, 2], [3, 4]], [True, False], [(1,)]])
def test_regular_lists_are_arrays(value, store):
    assert stored(value, store).tolist() == [list(v) if isinstance(v, tuple) else v for v in value]


@pytest.mark.parametrize(
    "value",
    [
        {}, {"a": 1}, object(), b"x", {1}, [], [[1], [1, 2]], [1, [2]], [None], [object()], 1j,
        np.array([{}]), np.array([None]), len, [2**70],
        np.zeros(2, [("a", "i4"), ("b", "f8")]),
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0],
)  # fmt: skip
def test_other_kinds_are_refused_with_advice(value, store):
    with pytest.raises(ProbeError, match="give a number, a text or an array"):
        encode_value(value, store)


def test_a_list_of_numbers_and_texts_is_not_made_texts(store):
    with pytest.raises(ProbeError, match="give a number"):
        encode_value([1, "a"], store)


def test_an_array_without_dimensions_is_its_number(store):
    class Mine(np.ndarray):
        pass

    assert encode_value(np.array(1.5).view(Mine), store) == 1.5


def test_an_error_keeps_its_kind_and_text():
    assert encode_error(ZeroDivisionError("division by zero")) == {
        "$": "error",
        "text": "ZeroDivisionError: division by zero",
    }


@pytest.mark.torch
class TestTorch:
    @pytest.fixture(autouse=True)
    def torch(self):
        return pytest.importorskip("torch")

    def test_tensors_are_arrays(self, torch, store):
        weights = torch.arange(6.0).reshape(2, 3).requires_grad_()

        assert (stored(weights, store) == weights.detach().numpy()).all()
        assert (stored(weights.T, store) == weights.detach().numpy().T).all()

    def test_bfloat16_is_widened_and_exact(self, torch, store):
        tensor = torch.tensor([1.0, 0.1, -3.5e20], dtype=torch.bfloat16)

        got = stored(tensor, store)

        assert got.dtype == np.float32
        assert got.tolist() == tensor.float().tolist()

    def test_conjugate_and_negative_views_are_resolved(self, torch, store):
        tensor = torch.tensor([1 + 2j])

        assert stored(tensor.conj(), store).tolist() == [1 - 2j]
        assert stored(tensor.conj().imag, store).tolist() == [-2.0]

    def test_a_scalar_tensor_of_any_kind_is_its_number(self, torch, store):
        class Mine(torch.Tensor):
            pass

        assert encode_value(torch.tensor(2.5), store) == 2.5
        assert encode_value(torch.tensor(2.5).as_subclass(Mine), store) == 2.5

    def test_lists_of_scalar_tensors_are_arrays(self, torch, store):
        values = [torch.tensor(1.0), torch.tensor(2.0, requires_grad=True)]

        assert stored(values, store).tolist() == [1.0, 2.0]
