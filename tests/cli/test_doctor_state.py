"""What ``doctor --state`` finds in runs that were really recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flor_trace.cli import doctor
from flor_trace.errors import UsageError

PACKAGE = Path(__file__).resolve().parents[2]


def flor(at, *arguments):
    ours = {k: v for k, v in os.environ.items() if not k.startswith("FLOR_TRACE")}
    native = {k: v for k, v in os.environ.items() if k == "FLOR_TRACE_NATIVE"}
    return subprocess.run(
        [sys.executable, "-m", "flor_trace", *arguments],
        cwd=at, env={**ours, **native, "PYTHONPATH": str(PACKAGE)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def record(at, body):
    (at / "main.py").write_text(
        f"import random, time\ntotal = []\nfor epoch in range(4):\n{body}    time.sleep(0.002)\n"
        "    print(epoch, sum(total))\n"
    )
    done = flor(at, "--overhead", "10000%", "--name", "mine", "main.py")
    assert done.returncode == 0, done.stderr


def test_every_checkpoint_is_tried_and_goes_on_as_recorded(tmp_path):
    record(tmp_path, "    total.append(random.random())\n")

    done = flor(tmp_path, "doctor", "--state", "mine", "--continue", "--json")

    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert [each["boundary"] for each in found] == [0, 1, 2, 3, 4]
    assert {(each["finding"], each["continued"]) for each in found} == {("exact", True)}


def test_people_are_told_what_cannot_be_captured(tmp_path):
    record(
        tmp_path,
        "    total.append(random.random())\n    held = memoryview(bytearray(b'ab'))[::-1].cast\n",
    )

    done = flor(tmp_path, "doctor", "--state", "mine", "--checkpoints", "first,last")

    assert "run mine: 2 checkpoints" in done.stdout
    if done.returncode:
        assert "cannot be captured: main.py::held" in done.stdout


def test_a_program_that_is_not_the_same_twice_is_found_out(tmp_path):
    record(tmp_path, "    total.append(random.SystemRandom().random())\n")

    done = flor(tmp_path, "doctor", "--state", "mine", "--checkpoints", "1", "--continue")

    assert done.returncode == 1
    assert "epoch 1: DIVERGED" in done.stdout
    assert "total" in done.stdout


def test_a_damaged_checkpoint_is_found_out(tmp_path):
    record(tmp_path, "    total.append(random.random())\n")
    for pack in (tmp_path / ".flor_trace" / "packs").glob("*.pack"):
        data = bytearray(pack.read_bytes())
        for at in range(len(data) // 3, len(data), 40):
            data[at] ^= 0xFF
        pack.chmod(0o600)
        pack.write_bytes(data)

    done = flor(tmp_path, "doctor", "--state", "mine", "--json")

    assert done.returncode != 0
    if done.stdout:
        assert any(each["finding"] != "exact" for each in json.loads(done.stdout))


def test_its_options_need_a_run():
    with pytest.raises(UsageError, match="name a run"):
        doctor.main(["--continue"])
