"""Whatever checkpoint a program goes on from, it prints the same and ends in the same state.

Some checkpoints of each program are tried; with ``FLOR_TRACE_ZOO=all`` every one of them, also
with two threads of torch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from zoo_harness import DIVERGED, EXACT, LEAVING, OPAQUE, PACKAGE, record, sample

ALL = os.environ.get("FLOR_TRACE_ZOO") == "all"

PLAIN = (
    "annealing.py", "bandit.py", "dataclass_enum.py", "fails_at_the_end.py",
    "files_and_logging.py", "mcmc.py", "numpy_momentum.py", "pandas_features.py", "project",
    "raw_socket.py", "with_and_try.py",
)  # fmt: skip
SKLEARN = ("forest_grid.py", "sklearn_partial_fit.py")
TORCH = (
    "accumulation.py", "autocast_bf16.py", "callbacks.py", "early_stopping.py",
    "ema_swa.py", "function_mlp.py", "gan.py", "infinite_generator.py", "iter_in_self.py",
    "kfold.py", "lazy_unfreeze.py",
    "nested_closures.py", "recurrent_carry.py", "rl_replay.py", "schedulers.py",
    "stream_in_local.py", "trainer_class.py", "unseeded.py", "workers.py",
)  # fmt: skip

#: Programs that cannot be continued exactly, and what doctor says of them.
NOT_EXACT = {
    "best_on_disk.py": "prints",  # files that the skipped iterations wrote are not there
    "entropy.py": "state",  # its generator is seeded by the operating system
}
#: The same, with torch.
NOT_EXACT_TORCH = {
    "compiled.py": "cannot be made",  # it is compiled inside of the loop
}


def come_out(name: str, at: Path, *, threads: int = 1, few: int) -> None:
    specimen = record(name, at, threads=threads)
    checkpoints = specimen.checkpoints
    assert checkpoints, specimen.error.decode()
    chosen = checkpoints if ALL else sample(checkpoints, few)
    whole = specimen.from_start()

    found = list(specimen.tried(whole, chosen))

    assert [each for each in found if each[1] == DIVERGED] == []
    assert [why for _, how, why in found if how == LEAVING and why] == []
    assert all(why for _, how, why in found if how == OPAQUE)
    assert any(how == EXACT for _, how, _ in found)


@pytest.mark.parametrize("name", PLAIN)
def test_a_program_goes_on_as_if_it_had_never_stopped(name: str, tmp_path: Path) -> None:
    come_out(name, tmp_path / "project", few=4)


@pytest.mark.parametrize("name", SKLEARN)
def test_a_program_with_estimators_goes_on_too(name: str, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    come_out(name, tmp_path / "project", few=3)


@pytest.mark.torch
@pytest.mark.parametrize("name", TORCH)
def test_a_program_with_torch_goes_on_too(name: str, tmp_path: Path) -> None:
    come_out(name, tmp_path / "project", few=1)


@pytest.mark.torch
@pytest.mark.parametrize("name", TORCH if ALL else ["gan.py"])
def test_it_goes_on_with_two_threads_if_it_had_two(name: str, tmp_path: Path) -> None:
    come_out(name, tmp_path / "project", threads=2, few=2)


def doctor(at: Path) -> tuple[int, list[dict[str, object]]]:
    done = subprocess.run(
        [sys.executable, "-m", "flor_trace", "doctor", "--json", "--state", "zoo",
         "--continue", "--checkpoints", "first,last,5"],
        cwd=at, env={**os.environ, "PYTHONPATH": str(PACKAGE)}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr.decode()
    return done.returncode, json.loads(done.stdout)


def reported(name: str, at: Path, word: str) -> None:
    record(name, at, options=("--name", "zoo"))

    status, found = doctor(at)

    assert status == 1
    told = [str(each["difference"]) for each in found if each["finding"] == DIVERGED]
    assert any(word in text for text in told), found


@pytest.mark.parametrize("name", NOT_EXACT)
def test_what_cannot_go_on_exactly_is_reported(name: str, tmp_path: Path) -> None:
    reported(name, tmp_path / "project", NOT_EXACT[name])


@pytest.mark.torch
@pytest.mark.parametrize("name", NOT_EXACT_TORCH)
def test_what_cannot_go_on_exactly_with_torch_is_reported(name: str, tmp_path: Path) -> None:
    reported(name, tmp_path / "project", NOT_EXACT_TORCH[name])
