"""Each of our own parts is made to fail: the program goes on, one line says so, so does the run."""

from __future__ import annotations

import os
import re

import pytest
from harness import PACKAGE, Project

PROGRAM = """
import sys, time
import helper

def main():
    best = ["none"]
    for epoch in range(4):
        total = 0.0
        for step in range(3):
            total += helper.share(step)
            time.sleep(0.001)
        time.sleep(0.03)
        label = f"epoch {epoch}"
        best.append(label)
        print("epoch", epoch, total)
    print(len(best), file=sys.stderr)
    raise LookupError("the program's own end")

main()
"""

HELPER = """
def share(step):
    share = 0.5
    for _ in range(step):
        share /= 2
    return share
"""

#: What is made to fail, by code that runs in the recorded process before everything else.
FAULTS = {
    "an iteration": (
        "from flor_trace.runtime.recorder import Recorder\n"
        "Recorder.iteration_over = lambda *args: [][1]"
    ),
    "the entry of a loop": (
        "from flor_trace.runtime.recorder import Recorder\nRecorder.entered = lambda *args: [][1]"
    ),
    "the end of a loop": (
        "from flor_trace.runtime.recorder import Recorder\nRecorder.left = lambda *args: [][1]"
    ),
    "a value": (
        "import flor_trace.runtime.recorder as recorder\nrecorder.read = lambda value: [][1]"
    ),
    "a state too large": (
        "import flor_trace.runtime.checkpoints as checkpoints\n"
        "from flor_trace.errors import CaptureError\n"
        "def capture(*args, **kwargs):\n"
        "    raise CaptureError('more than we can hold')\n"
        "checkpoints.capture = capture"
    ),
    "writing a checkpoint": (
        "import flor_trace.runtime.checkpoints as checkpoints\n"
        "checkpoints.encode = lambda *args: [][1]"
    ),
    "the disk of the packs": (
        "import errno\n"
        "import flor_trace.store.packs as packs\n"
        "def full(*args, **kwargs):\n"
        "    raise OSError(errno.ENOSPC, 'No space left on device')\n"
        "packs._OpenPack.append = full"
    ),
    "the disk of the journal": (
        "import errno\n"
        "from flor_trace.history.journal import JournalWriter\n"
        "write, count = JournalWriter._write, [0]\n"
        "def full(self, fd):\n"
        "    count[0] += 1\n"
        "    if count[0] > 4:\n"
        "        raise OSError(errno.ENOSPC, 'No space left on device')\n"
        "    write(self, fd)\n"
        "JournalWriter._write = full"
    ),
    "an opcode that nobody knows": (
        "import flor_trace.instrument.safecode as safecode\n"
        "safecode.Parts.__init__ = lambda *args: {}['UNHEARD_OF_OPCODE']"
    ),
    "a proof that fails": (
        "import flor_trace.instrument.rewrite as rewrite\n"
        "from flor_trace.errors import RewriteError\n"
        "def verify(code):\n"
        "    raise RewriteError('the depths do not agree')\n"
        "rewrite.verify = verify"
    ),
    "the table of a module": (
        "import flor_trace.instrument.compile as compile\n"
        "compile.find_loops = lambda *args, **kwargs: [][1]"
    ),
    "the session's answer to a module": (
        "from flor_trace.session.record import RecordSession\n"
        "RecordSession.module = lambda *args: [][1]"
    ),
    "the snapshot": (
        "import flor_trace.session.record as record\n"
        "from flor_trace.errors import SnapshotError\n"
        "def take_snapshot(*args, **kwargs):\n"
        "    raise SnapshotError('git is broken')\n"
        "record.take_snapshot = take_snapshot"
    ),
    "the state of the generators": (
        "import flor_trace.session.seeds as seeds\nseeds.initial_state = lambda *args: [][1]"
    ),
    "a thread that cannot start": (
        "import flor_trace.store.writer as writer\n"
        "from types import SimpleNamespace\n"
        "def start(*args):\n"
        "    raise RuntimeError('no new thread')\n"
        "writer._thread = SimpleNamespace(start_new_thread=start)"
    ),
    "the end of the run": (
        "from flor_trace.session.record import RecordSession\n"
        "RecordSession._finish = lambda *args: [][1]"
    ),
}

#: Faults of which the run's record alone tells: the code in question is simply left alone.
SILENT = {"an opcode that nobody knows", "a proof that fails", "the table of a module"}

#: Faults for which there is a way round: checkpoints are then written when the program has ended.
NOTHING_LOST = {"a thread that cannot start"}

#: Faults after which iterations are recorded as ever.
HARMLESS = {
    *("a state too large", "writing a checkpoint", "the disk of the packs", "the snapshot"),
    *("the state of the generators", "a thread that cannot start", "the end of the run"),
}


@pytest.fixture
def faulty(project: Project) -> Project:
    project.write("main.py", PROGRAM)
    project.write("helper.py", HELPER)
    project.env["PYTHONPATH"] = f"{project.path / '_fault' / 'site-packages'}{os.pathsep}{PACKAGE}"
    return project


def inject(project: Project, fault: str) -> None:
    lines = "\n".join("    " + line for line in FAULTS[fault].splitlines())
    project.write(
        "_fault/site-packages/sitecustomize.py",
        f"import sys\nif 'flor_trace' in sys.orig_argv:\n{lines}\n",
    )


def ours(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith("flor_trace: ")]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_program_goes_on_to_its_own_end(faulty: Project, fault: str) -> None:
    plain = faulty.plain("main.py", check=False)
    assert plain.returncode == 1
    inject(faulty, fault)

    recorded = faulty.record("main.py", check=False)

    told = ours(recorded.stderr)
    rest = "".join(
        line for line in recorded.stderr.splitlines(keepends=True) if line.rstrip("\n") not in told
    )
    assert (recorded.stdout, rest, recorded.returncode) == (plain.stdout, plain.stderr, 1)
    assert len(told) == (fault not in SILENT | NOTHING_LOST), told
    (run,) = faulty.ls()
    shown = faulty.flor("show", run["run"], check=False).stdout
    if fault not in ("the disk of the journal", "the end of the run"):
        named = re.search(r"lost|left alone|not recorded|incomplete", shown)
        assert bool(named) == (fault not in NOTHING_LOST), shown
    if fault in HARMLESS:
        rows = faulty.pivot("label", "total")
        assert {(row["epoch"], row["label"]) for row in rows} == {
            (epoch, f"epoch {epoch}") for epoch in range(4)
        }


def test_values_are_kept_when_no_checkpoint_can_be_taken(faulty: Project) -> None:
    inject(faulty, "a state too large")

    told = ours(faulty.record("main.py", check=False).stderr)

    assert "more than we can hold" in told[0]
    rows = faulty.pivot("total")
    assert [(row["epoch"], row["step"]) for row in rows] == [
        (epoch, step) for epoch in range(4) for step in range(3)
    ]


def test_a_module_whose_proof_fails_is_named_in_the_run(faulty: Project) -> None:
    inject(faulty, "a proof that fails")

    faulty.record("main.py", check=False)

    (run,) = faulty.ls()
    shown = faulty.flor("show", run["run"]).stdout
    assert "main" in shown
    assert "the depths do not agree" in shown
