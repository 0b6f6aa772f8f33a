"""Checkpoints that were damaged or lost come back with the digests that were recorded."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from damage import Packs, digests_of, own_leaves, recorded_digests, states_of
from harness import Project

from flor_trace.replay.repairing import repair
from flor_trace.replay.surveying import Survey, survey
from flor_trace.store.reader import PackReader
from flor_trace.types import Address, RunId

#: All boundaries of the torch program, too, and not only a few.
EVERYTHING = bool(os.environ.get("REPAIR_EVERYTHING"))

PLAIN = """
import time
import numpy as np

weights = np.random.standard_normal(2000)
history = []
began = time.time()
for epoch in range(10):
    weights += np.random.standard_normal(2000)
    loss = float(abs(weights).mean())
    history.append(loss)
    took = [time.time() - began for _ in range(100)]
    time.sleep(0.002)
print(loss)
"""

TORCH = """
import torch
from torch import nn

model = nn.Sequential(nn.Linear(20, 30), nn.Dropout(0.2), nn.Linear(30, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
inputs, labels = torch.randn(64, 20), torch.randint(0, 2, (64,))
for epoch in range(10):
    for batch in range(4):
        chosen = torch.randperm(64)[:16]
        loss = nn.functional.cross_entropy(model(inputs[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scheduler.step()
    value = loss.item()
print(value)
"""


class Recorded:
    """A recorded program whose packs can be damaged over and over."""

    def __init__(self, project: Project, text: str) -> None:
        self.project = project
        project.write("main.py", text)
        project.record("--name", "mine", "main.py", timeout=120)
        self.packs = Packs(project.path)
        self.store = self.packs.store
        self.digests = recorded_digests(self.store)
        assert digests_of(self.store) == self.digests
        assert sorted(self.digests) == list(range(11))

    def repair(self) -> Survey:
        """Repair everything that is broken."""
        notices: list[str] = []
        runid = RunId(next(self.store.runs.iterdir()).name)
        found = survey(self.store, [runid], PackReader(self.store))
        repair(self.store, found, notices.append)
        return found

    def whole(self) -> None:
        """Every checkpoint can be read again, and is what was recorded."""
        assert digests_of(self.store) == self.digests


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return Recorded(_project(tmp_path_factory), PLAIN)


@pytest.fixture(scope="module")
def torch(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    pytest.importorskip("torch")
    return Recorded(_project(tmp_path_factory), TORCH)


def _project(factory: pytest.TempPathFactory) -> Project:
    path = factory.mktemp("repair") / "project"
    path.mkdir()
    project = Project(path)
    project.git("init", "-q", "-b", "main")
    project.git("config", "user.name", "Ada")
    project.git("config", "user.email", "ada@example.org")
    return project


@pytest.fixture(autouse=True)
def _as_before(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for name in ("plain", "torch"):
        if name in request.fixturenames:
            request.getfixturevalue(name).packs.restore()


def lost(recorded: Recorded, boundary: int, what: str) -> list[Address]:
    """The chunks of a checkpoint that are to be damaged."""
    manifest = states_of(recorded.store)[boundary].manifest
    leaves = own_leaves(recorded.store, boundary)
    assert leaves
    return {"leaf": leaves[:1], "manifest": [manifest], "both": [manifest, *leaves]}[what]


@pytest.mark.parametrize("how", ["flip", "delete"])
@pytest.mark.parametrize("what", ["leaf", "manifest", "both"])
def test_each_checkpoint_in_turn_comes_back_as_it_was(plain: Recorded, what: str, how: str) -> None:
    for boundary in range(11):
        getattr(plain.packs, how)(lost(plain, boundary, what))
        found = plain.repair()
        assert [(each.what, each.how) for each in found.broken] == [
            (f"epoch {boundary}", "executed")
        ]
        plain.whole()
        assert plain.repair().broken == []
        plain.packs.restore()


@pytest.mark.torch
@pytest.mark.parametrize("what", ["leaf", "both"])
def test_each_checkpoint_of_a_torch_program_comes_back_as_it_was(
    torch: Recorded, what: str
) -> None:
    for boundary in range(11) if EVERYTHING else (0, 7):
        torch.packs.flip(lost(torch, boundary, what))
        found = torch.repair()
        assert [each.how for each in found.broken] == ["executed"], found.broken[0].why
        torch.whole()
        torch.packs.restore()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_a_pack_that_was_cut_off_is_made_good(plain: Recorded, share: float) -> None:
    plain.packs.truncate(share)

    found = plain.repair()

    assert [each.why for each in found.broken if each.how is None] == []
    plain.whole()


@pytest.mark.torch
def test_all_of_a_torch_program_comes_back_without_its_pack(torch: Recorded) -> None:
    for pack in torch.store.packs.iterdir():
        pack.unlink()

    found = torch.repair()

    assert len([each for each in found.broken if each.state is not None]) == 11
    assert {each.how for each in found.broken} == {"copied", "executed"}
    torch.whole()
