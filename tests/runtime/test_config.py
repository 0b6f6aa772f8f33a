from __future__ import annotations

import argparse
from dataclasses import dataclass, field

import pytest

from flor_trace._speedups import frames
from flor_trace.runtime.config import MAX_ENTRIES, REDACTED, configuration


def frame(names, module=None):
    return (frame.__code__, module if module is not None else {}, names, {})


def config(names, module=None, varying=()):
    return configuration([frame(names, module)], varying)


def test_parsed_arguments_give_their_values_whatever_they_are_called():
    parsed = argparse.Namespace(lr=0.1, hidden=128, layers=[1, 2], name="x", _private=1)

    assert config({"whatever": parsed}) == {"lr": 0.1, "hidden": 128, "name": "x"}


@dataclass
class Settings:
    lr: float = 0.5
    sizes: list[int] = field(default_factory=list)
    seed: int = 3


@dataclass(slots=True)
class Slotted:
    lr: float = 0.25
    late: int = field(init=False)


def test_dataclasses_give_their_scalar_fields():
    assert config({"s": Settings()}) == {"lr": 0.5, "seed": 3}


def test_dataclasses_with_slots_give_their_fields_too():
    assert config({"s": Slotted()}) == {"lr": 0.25}


def test_a_dataclass_that_is_a_class_is_no_configuration():
    assert config({"Settings": Settings}) == {}


@pytest.mark.parametrize("name", ["config", "CONFIG", "cfg", "hparams", "args"])
def test_dictionaries_are_read_when_their_name_says_configuration(name):
    values = {"lr": 0.1, 3: 4, "nested": {"a": 1}, "_x": 1}

    assert config({name: values}) == {"lr": 0.1}
    assert config({"history": values}) == {}


def test_large_dictionaries_are_data():
    assert config({"params": dict.fromkeys(map(str, range(MAX_ENTRIES + 1)), 1)}) == {}


def test_plain_scalars_are_configuration_unless_loops_store_them():
    names = {"lr": 0.1, "epoch": 3, "loss": 0.5, "_x": 1, "model": object(), "flag": True}

    assert config(names, varying={"epoch", "loss"}) == {"lr": 0.1, "flag": True}


def test_an_argument_called_as_a_variable_is_an_argument_all_the_same():
    names = {"args": argparse.Namespace(epochs=3), "epochs": 99}

    assert config(names, varying={"epochs"}) == {"epochs": 3}


@pytest.mark.parametrize("name", ["password", "API_KEY", "hf_token", "client_secret", "db_passwd"])
def test_secrets_are_not_written_down(name):
    names = {name: "hunter2", "args": argparse.Namespace(**{f"my_{name}": "hunter2"})}

    found = config(names)

    assert set(found.values()) == {REDACTED}
    assert "hunter2" not in str(found)


def test_a_secret_that_is_not_set_is_shown_as_such():
    assert config({"token": "", "password": 0}) == {"token": "", "password": 0}


def test_a_number_of_tokens_is_no_secret():
    assert config({"max_tokens": 256, "n_tokens": 3, "tokenizer": "bpe"}) == {
        "max_tokens": 256,
        "n_tokens": 3,
        "tokenizer": "bpe",
    }


def test_arguments_come_before_dataclasses_before_scalars_and_inner_before_outer():
    module = {"a": "module", "b": "module", "c": "module", "d": "module", "e": "module"}
    inner = {"a": "inner", "s": Settings(lr=1.0), "seed": "inner"}
    outer = {"a": "outer", "b": "outer", "args": argparse.Namespace(lr=2.0, d="args")}

    found = configuration([frame(inner, module), frame(outer, module)])

    assert found == {
        "lr": 2.0, "d": "args", "seed": 3, "a": "inner", "b": "outer", "c": "module", "e": "module",
    }  # fmt: skip


def test_the_globals_of_every_module_on_the_stack_are_seen():
    one, two = {"x": 1}, {"x": 2, "y": 3}

    assert configuration([frame({}, one), frame({}, two)]) == {"x": 1, "y": 3}


def test_a_program_is_read_as_it_stands():
    def main():
        lr, name = 0.125, "run"  # noqa: F841
        return configuration(frames({__file__}))

    found = main()

    assert (found["lr"], found["name"]) == (0.125, "run")
    assert found["MAX_ENTRIES"] == MAX_ENTRIES


def test_objects_that_pretend_are_not_asked():
    class Proxy:
        @property
        def __class__(self):
            raise AssertionError

        def __getattr__(self, name):
            raise AssertionError

    assert config({"p": Proxy(), "lr": 1}) == {"lr": 1}


def test_an_object_that_is_called_a_configuration_is_read():
    class Node:
        def __init__(self, **values):
            self.__dict__.update(values)

    names = {"config": Node(lr=0.5, model=Node(width=3)), "other": Node(x=1)}

    assert config(names) == {"lr": 0.5}
