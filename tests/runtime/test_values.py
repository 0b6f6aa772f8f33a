from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flor_trace.runtime.values import MAX_STRING, scalar

PLAIN = st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=MAX_STRING))


@given(PLAIN)
def test_plain_scalars_are_given_back_themselves(value):
    assert scalar(value) is value


@given(st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats()))
def test_numbers_of_numpy_give_the_number_they_hold(value):
    for held in (np.asarray(value), np.asarray(value)[()]):
        got = scalar(held)
        assert type(got) is type(value)
        assert got == value or (math.isnan(got) and math.isnan(value))


def test_a_narrow_float_is_logged_as_the_float_it_is():
    assert scalar(np.float32(0.1)) == float(np.float32(0.1))


class Hostile:
    """Whatever is done with it is noticed."""

    def __getattribute__(self, name):
        raise AssertionError(f"{name} was asked for")

    __float__ = __index__ = __eq__ = __bool__ = __len__ = item = None
    __hash__ = None


class MyFloat(float):
    def item(self):
        raise AssertionError


class MyInt(int):
    pass


@pytest.mark.parametrize(
    "value",
    [
        None, b"x", 1j, [1], (1,), {}, object(), MyFloat(1), MyInt(1), math, len,
        np.zeros(1), np.zeros((0,)), np.complex128(1j), np.datetime64("2020-01-01"),
        np.array(None), np.array({}), np.bytes_(b"x"), np.array(1j),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_no_scalar_gives_nothing_and_is_left_alone(value):
    assert scalar(value) is None


def test_no_code_of_the_programs_classes_runs():
    assert scalar(Hostile()) is None


def test_long_texts_are_not_values():
    assert scalar("x" * MAX_STRING) is not None
    assert scalar("x" * (MAX_STRING + 1)) is None
    assert scalar(np.str_("x" * (MAX_STRING + 1))) is None


def test_a_number_too_long_for_a_journal_is_not_a_value():
    """json refuses integers of more digits than Python prints."""
    assert scalar(10**100) == 10**100
    assert scalar(10**5000) is None
    assert scalar(-(10**5000)) is None


def test_a_class_with_a_strange_module_is_no_scalar():
    class Odd:
        __module__ = property(lambda self: "x")

    class NoModule:
        __module__ = None

    assert scalar(Odd()) is None
    assert scalar(NoModule()) is None


def test_numpy_is_not_imported_to_look_at_a_value(monkeypatch):
    value = np.float64(1.5)
    monkeypatch.setitem(sys.modules, "numpy", None)

    assert scalar(value) is None


@pytest.mark.torch
class TestTorch:
    @pytest.fixture(autouse=True)
    def torch(self):
        return pytest.importorskip("torch")

    def test_tensors_without_dimensions_give_their_number(self, torch):
        cases = [
            (torch.tensor(1.5), 1.5),
            (torch.tensor(3), 3),
            (torch.tensor(True), True),
            (torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
            (torch.nn.Parameter(torch.tensor(2.0)), 2.0),
            (torch.tensor(2.0, requires_grad=True) * 2, 4.0),
        ]
        for tensor, number in cases:
            assert scalar(tensor) == number
            assert type(scalar(tensor)) is type(number)

    def test_tensors_that_cost_something_to_read_are_left(self, torch):
        class Mine(torch.Tensor):
            def item(self):
                raise AssertionError

        left = [
            torch.zeros(1),
            torch.tensor(1j),
            torch.tensor(1.0, device="meta"),
            torch.tensor(1.0).as_subclass(Mine),
            torch.zeros(1)[:, None].to_sparse(),
        ]
        for tensor in left:
            assert scalar(tensor) is None
