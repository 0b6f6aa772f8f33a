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
from flor_trace.history.journal import read_journal
from flor_trace.records import replace
from flor_trace.replay.checking import Checked, _read
from flor_trace.replay.recorded import RecordedRun
from flor_trace.store.layout import open_store
from flor_trace.store.reader import PackReader
from flor_trace.types import Address

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
        "    total.append(random.random())\n    held = open('main.py') if epoch < 1 else held\n",
    )

    done = flor(tmp_path, "doctor", "--state", "mine", "--checkpoints", "first,1")

    assert done.returncode == 1
    assert "epoch 0: exact" in done.stdout
    assert "epoch 1: OPAQUE\n  cannot be captured: main.py::held" in done.stdout
    assert "run mine: 2 checkpoints, 1 exact, 1 opaque" in done.stdout


def test_a_program_that_is_not_the_same_twice_is_found_out(tmp_path):
    record(tmp_path, "    total.append(random.SystemRandom().random())\n")

    done = flor(tmp_path, "doctor", "--state", "mine", "--checkpoints", "1", "--continue")

    assert done.returncode == 1
    assert "epoch 1: DIVERGED" in done.stdout
    assert "total" in done.stdout


def test_a_damaged_checkpoint_is_found_out(tmp_path):
    record(tmp_path, "    total.append(random.random())\n")
    store = tmp_path / ".flor_trace"
    (journal,) = store.glob("runs/*/journal")
    run = RecordedRun(frame for _, frame in read_journal(journal))
    manifest = run.outermost[0].states[2].manifest.encode()
    elsewhere = manifest[:-4] + (b"0000" if manifest[-4:] != b"0000" else b"1111")
    each = run.outermost[0].states[2]
    reader = PackReader(open_store(store, create=False))
    checked = Checked(run.outermost[0], replace(each, manifest=Address(elsewhere.decode())))

    _read(reader, checked)

    assert checked.finding == "damaged"
    assert elsewhere.decode() in checked.difference


def test_its_options_need_a_run():
    with pytest.raises(UsageError, match="name a run"):
        doctor.main(["--continue"])
