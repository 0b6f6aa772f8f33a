from __future__ import annotations

import random

import numpy as np
import pytest

from flor_trace.replay.protecting import undisturbed


def test_the_random_states_are_put_back():
    states = random.getstate(), np.random.get_state()[1].tolist()

    with undisturbed():
        random.random()
        np.random.rand(3)

    assert (random.getstate(), np.random.get_state()[1].tolist()) == states


def test_they_are_put_back_after_an_error_too():
    state = random.getstate()

    def probe():
        with undisturbed():
            random.random()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        probe()

    assert random.getstate() == state


@pytest.mark.torch
class TestTorch:
    @pytest.fixture(autouse=True)
    def torch(self):
        return pytest.importorskip("torch")

    def test_torchs_generator_and_grad_mode_are_put_back(self, torch):
        state = torch.get_rng_state()

        with undisturbed():
            torch.rand(3)
            torch.set_grad_enabled(False)

        assert torch.equal(torch.get_rng_state(), state)
        assert torch.is_grad_enabled()

    def test_modes_of_modules_are_put_back_one_by_one(self, torch):
        model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.BatchNorm1d(2))
        model[1].eval()

        with undisturbed({"model": model}):
            model.eval()
        assert (model.training, model[0].training, model[1].training) == (True, True, False)

        with undisturbed({}, {"model": model}):
            model.train()
        assert model[1].training is False

    def test_a_module_held_by_an_object_is_found(self, torch):
        class Trainer:
            def __init__(self):
                self.model = torch.nn.Dropout()

        trainer = Trainer()
        with undisturbed({"self": trainer}):
            trainer.model.eval()

        assert trainer.model.training

    def test_strange_objects_in_a_scope_are_not_touched(self, torch):
        class Touchy:
            __slots__ = ()

            def __getattr__(self, name):
                raise RuntimeError(name)

        with undisturbed({"x": Touchy(), "y": None, "z": torch.zeros(2), "t": type}):
            pass
