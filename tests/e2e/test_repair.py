"""Checkpoints that were damaged or lost come back with the digests that were recorded."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from damage import Packs, digests_of, own_leaves, recorded_digests, states_of
from harness import Project

from flor_trace.replay.repairing import repair
from flor_trace.replay.surveying import Survey, survey
from flor_trace.state.closure import Soundness
from flor_trace.store.layout import open_store
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
        found = survey(self.store, [runid], Soundness(PackReader(self.store)))
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


PROBE = "size=float(abs(weights).sum())"


def asked(recorded: Recorded) -> tuple[dict[str, Any], list[float]]:
    """Ask at every epoch, and give the result and the values."""
    (document,) = recorded.project.replay(PROBE, "--force")
    values = [row["size"] for row in recorded.project.pivot("size")]
    for path in recorded.store.runs.glob("*/replay-*"):
        path.unlink()
    return document["results"][0], values


@pytest.fixture(scope="module")
def truth(plain: Recorded) -> list[float]:
    """What the probe gives while nothing is damaged."""
    result, values = asked(plain)
    assert (result["plan"], result["exact"], result["notes"]) == ("restore", 10, [])
    return values


@pytest.mark.parametrize("what", ["leaf", "manifest"])
def test_a_replay_goes_round_each_damaged_checkpoint_and_gives_the_same_values(
    plain: Recorded, truth: list[float], what: str
) -> None:
    for boundary in range(1, 11) if EVERYTHING else (1, 5, 10):
        plain.packs.flip(lost(plain, boundary, what))
        result, values = asked(plain)
        assert values == truth
        assert (result["exact"], result["failure"], result["difference"]) == (10, None, None)
        assert f"the checkpoint at boundary {boundary} of main.py" in result["notes"][0]
        plain.packs.restore()


@pytest.mark.parametrize("gone", [range(4), range(3, 9), range(0, 11, 2), range(11)])
def test_a_replay_goes_round_many_damaged_checkpoints_at_once(
    plain: Recorded, truth: list[float], gone: range
) -> None:
    states = states_of(plain.store)
    plain.packs.delete(states[boundary].manifest for boundary in gone)

    result, values = asked(plain)

    assert values == truth
    assert (result["exact"], result["failure"], result["difference"]) == (10, None, None)
    assert len(result["notes"]) == 1
    assert result["plan"] == ("rerun" if len(gone) == 11 else "re-execute")


def test_a_run_without_its_pack_is_executed_from_its_start(
    plain: Recorded, truth: list[float]
) -> None:
    for pack in plain.store.packs.iterdir():
        pack.unlink()

    result, values = asked(plain)

    assert values == truth
    assert (result["plan"], result["exact"], result["failure"]) == ("rerun", 10, None)


def test_damage_in_one_of_several_runs_is_no_matter_to_the_others(project: Project) -> None:
    project.write("main.py", PLAIN)
    for name in ("one", "two", "three"):
        project.record("--name", name, "main.py")
    (document,) = project.replay(PROBE)
    before = project.pivot("size")
    packs = open_store(project.path / ".flor_trace", create=False).packs
    _, pack, _ = sorted(packs.glob("*.pack"), key=lambda each: each.stat().st_mtime_ns)
    os.truncate(pack, pack.stat().st_size // 2)

    (document,) = project.replay(PROBE, "--force")

    assert [each["exact"] for each in document["results"]] == [10, 10, 10]
    assert [bool(each["notes"]) for each in document["results"]] == [False, True, False]
    assert project.pivot("size") == before
    done = project.flor("repair", "--jobs", "2")
    assert "run two, epoch" in done.stdout
    assert "run one" not in done.stdout


READING = """
import time
import numpy as np

data = np.loadtxt("data.txt")
total = np.zeros(500)
for epoch in range(4):
    total += data.sum() + epoch
    loss = float(total.mean())
    time.sleep(0.002)
print(loss)
"""


def broken_at(project: Project, boundary: int) -> Packs:
    packs = Packs(project.path)
    packs.flip([*own_leaves(packs.store, boundary), states_of(packs.store)[boundary].manifest])
    return packs


def test_a_program_whose_inputs_changed_repairs_nothing_and_says_where_it_diverged(
    project: Project,
) -> None:
    data = project.write("data.txt", "1.0\n2.0\n")
    project.write(".gitignore", "data.txt\n")
    project.write("main.py", READING)
    before = data.stat()
    project.record("--name", "mine", "main.py")
    packs = broken_at(project, 0)
    for boundary in range(1, 5):
        packs.flip([states_of(packs.store)[boundary].manifest])
    data.write_text("1.0\n3.0\n")
    os.utime(data, ns=(before.st_atime_ns, before.st_mtime_ns))

    done = project.flor("repair", check=False)

    assert done.returncode == 1
    assert "CANNOT be repaired" in done.stdout
    assert "the program diverged from the recorded run" in done.stdout
    assert "0 repaired, 5 not" in done.stdout
    assert not list(packs.store.packs.glob("repair-*"))
    assert not list(packs.store.runs.glob("*/repaired*"))


def test_where_the_code_is_gone_nothing_is_executed(bare: Project) -> None:
    bare.write("main.py", PLAIN)
    bare.record("--name", "mine", "main.py")
    broken_at(bare, 5)
    shutil.rmtree(bare.path / ".flor_trace" / "code.git")

    done = bare.flor("repair", check=False)

    assert done.returncode == 1
    assert "run mine, epoch 5: CANNOT be repaired" in done.stdout


def test_what_lies_behind_a_damaged_header_is_copied_and_nothing_is_executed(
    project: Project,
) -> None:
    project.write("main.py", PLAIN)
    project.record("--name", "mine", "main.py")
    packs = Packs(project.path)
    digests = recorded_digests(packs.store)
    (pack,) = packs.store.packs.glob("*.pack")
    pack.with_suffix(".idx").unlink()
    data = bytearray(pack.read_bytes())
    data[5] ^= 1  # as if the pack were none
    pack.write_bytes(data)

    done = project.flor("repair")

    assert "executing" not in done.stdout
    assert "13 repaired" in done.stdout
    assert digests_of(packs.store) == digests


def test_nothing_of_the_users_is_touched_and_damaged_data_stays(project: Project) -> None:
    project.write("main.py", PLAIN + "open('result.txt', 'w').write(str(loss))\n")
    project.record("--name", "mine", "main.py")
    packs = broken_at(project, 5)
    before = project.files(), project.git_files()
    kept = {path: path.read_bytes() for path in packs.store.packs.iterdir()}

    planned = json.loads(project.flor("repair", "--dry-run", "--json").stdout)
    assert {path: path.read_bytes() for path in packs.store.packs.iterdir()} == kept
    done = json.loads(project.flor("repair", "mine", "--json").stdout)

    assert planned["broken"][0]["would"] == "by executing 1 iterations from the checkpoint 4"
    assert [(b["boundary"], b["repaired"]) for b in done["broken"]] == [(5, "executed")]
    assert (project.files(), project.git_files()) == before
    assert all(path.read_bytes() == data for path, data in kept.items())
    again = project.flor("repair")
    assert "all 11 checkpoints can be read; nothing to repair" in again.stdout
    assert "5: exact" in project.flor("doctor", "--state", "mine").stdout


def test_a_program_that_writes_elsewhere_is_stopped_and_repairs_what_comes_before(
    project: Project, tmp_path: Any
) -> None:
    outside = tmp_path / "outside.txt"
    project.write(
        "main.py",
        PLAIN.replace(
            "    time.sleep", f"    open({str(outside)!r}, 'a').write('x')\n    time.sleep"
        ),
    )
    project.record("main.py")
    assert outside.read_text() == "x" * 10
    broken_at(project, 5)

    done = project.flor("repair", check=False)

    assert done.returncode == 1
    assert "PermissionError" in done.stdout
    assert outside.read_text() == "x" * 10
