"""A recorded program behaves as without us, and its record says what it did."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import time

import pytest
from harness import Project, environment

HAS_TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.torch

PROGRAM = """
import argparse
import random
import sys


def step(i, total):
    x = 0.0
    for j in range(5000):
        x += random.random() * j
    return total + x


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=0.5)
    args = parser.parse_args()
    total = 0.0
    for epoch in range(5):
        total = step(epoch, total) * args.rate
        name = f"epoch-{epoch}"
        print(epoch, total, file=sys.stderr)
    print("total", total)


main()
"""


@pytest.mark.torch
@pytest.mark.parametrize(
    "command",
    [
        ("digits.py", "--epochs", "3"),
        ("charlm.py", "--max-iters", "14"),
        ("scratch.py", "12"),
        ("partial_fit.py", "--epochs", "3"),
    ],
    ids=lambda command: command[0],
)
def test_an_example_prints_the_same_recorded_as_plain(
    examples: Project, command: tuple[str, ...]
) -> None:
    examples.pin(torch=command[0] in ("digits.py", "charlm.py"))
    plain = examples.plain(*command, text=False)

    recorded = examples.record(*command, text=False)

    assert recorded.stdout == plain.stdout
    assert recorded.stderr == plain.stderr
    assert plain.stdout


def test_streams_and_status_are_those_of_plain_python(project: Project) -> None:
    project.write("main.py", "import random; random.seed(3)\n" + PROGRAM)
    plain = project.plain("main.py", "--rate", "0.25")

    recorded = project.flor("main.py", "--rate", "0.25")

    assert (recorded.stdout, recorded.stderr) == (plain.stdout, plain.stderr)


@pytest.mark.parametrize(
    "program",
    [
        "import sys; sys.exit(7)",
        "import sys; sys.exit('no')",
        "raise ValueError('x')",
        "for i in range(3):\n    for j in [1, 2]:\n        if j == 2: raise KeyError(i)\n",
        "def f():\n    while True:\n        1 / 0\nf()\n",
        "if True print('x')",
        "import atexit; atexit.register(print, 'bye'); print(__name__, __file__ and 1, __spec__)",
        "import sys; print(sys.argv, sys.path[0], sys.stdin.read())",
        "import sys, os; sys.stdout.flush(); os._exit(3)",
        "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
        "raise KeyboardInterrupt",
        "import missing_module",
        "import warnings; warnings.warn('careful'); print(open('README').read())",
        "import pickle\nclass A: pass\nprint(pickle.dumps(A()))",
        pytest.param(
            "import inspect, sys; print(len(inspect.stack()), sorted(vars()))",
            marks=pytest.mark.native,
        ),
    ],
)
@pytest.mark.parametrize("how", ["script", "command"])
def test_every_way_to_end_looks_like_plain_python(project: Project, program: str, how: str) -> None:
    project.write("main.py", program)
    target = ("main.py", "a", "b") if how == "script" else ("-c", program, "a", "b")
    plain = project.plain(*target, check=False, input="typed")

    recorded = project.flor(*target, check=False, input="typed")

    assert recorded.stdout == plain.stdout
    assert recorded.stderr == plain.stderr
    assert recorded.returncode == plain.returncode


def test_a_module_runs_as_with_dash_m(project: Project) -> None:
    project.write("pkg/__init__.py", "")
    project.write(
        "pkg/part.py", "def double(x):\n    for _ in range(1):\n        x *= 2\n    return x\n"
    )
    project.write(
        "pkg/tool.py",
        "import sys\nfrom .part import double\n"
        "for i in range(3):\n    y = double(i)\n"
        "print(__name__, __package__, __spec__.name, sys.argv, y)\nraise SystemExit(4)\n",
    )
    plain = project.plain("-m", "pkg.tool", "x", check=False)

    recorded = project.flor("-m", "pkg.tool", "x", check=False)

    assert (recorded.stdout, recorded.stderr, recorded.returncode) == (
        plain.stdout,
        plain.stderr,
        4,
    )
    assert project.ls()[0]["program"] == "pkg.tool x"


def test_what_the_loops_compute_is_logged(project: Project) -> None:
    project.write("main.py", "import random; random.seed(3)\n" + PROGRAM)
    out = project.flor("--name", "first", "main.py", "--rate", "0.25").stdout

    rows = project.pivot("epoch", "total", "name", "rate")

    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["name"] for row in rows] == [f"epoch-{i}" for i in range(5)]
    assert {row["rate"] for row in rows} == {0.25}
    assert out == f"total {rows[-1]['total']!r}\n"
    (run,) = project.ls()
    assert (run["name"], run["status"], run["reached"]) == ("first", "finished", "epoch 4")


def test_log_options_choose_the_names(project: Project) -> None:
    project.write("main.py", PROGRAM)
    project.flor("--log", "name", "main.py")
    project.flor("--no-auto-log", "main.py")

    chosen, none = (run["run"] for run in project.ls())

    rows = project.pivot()
    assert [r["name"] for r in rows if r["runid"] == chosen] == [f"epoch-{i}" for i in range(5)]
    assert all(r.get("total") is None for r in rows)
    assert all(r["name"] is None for r in rows if r["runid"] == none)


def test_settings_come_from_pyproject_and_the_environment(project: Project) -> None:
    project.write("pyproject.toml", '[tool.flor_trace]\nname = "from-file"\nstore = "kept"\n')
    project.write("main.py", PROGRAM)
    project.flor("main.py")
    project.flor("main.py", env={"FLOR_TRACE_NAME": "from-env"})
    project.flor("--name", "from-line", "main.py", env={"FLOR_TRACE_NAME": "from-env"})

    assert [run["name"] for run in project.ls()] == ["from-file", "from-env", "from-line"]
    assert (project.path / "kept" / "store.json").is_file()


def test_switched_off_nothing_is_recorded(project: Project) -> None:
    project.write(
        "main.py", "import sys\nprint(sys.argv, sys.flags.dev_mode, 'flor_trace' in sys.modules)"
    )
    plain = project.plain("-X", "dev", "main.py", "x")

    off = project.run(
        sys.executable, "-X", "dev", "-m", "flor_trace", "--name", "n", "main.py", "x",
        env={"FLOR_TRACE": "0"},
    )  # fmt: skip

    assert off.stdout == plain.stdout
    assert not (project.path / ".flor_trace").exists()


def test_the_hash_seed_is_the_programs_own_affair(project: Project) -> None:
    project.write(
        "main.py",
        "import os, subprocess, sys\n"
        "print(os.environ.get('PYTHONHASHSEED'), sys.flags.hash_randomization)\n"
        "print(subprocess.run([sys.executable, '-c', 'import os; print(sorted(k for k in "
        'os.environ if k.startswith(("FLOR", "PYTHONHASH"))))\'], capture_output=True).stdout)\n',
    )

    assert project.flor("main.py").stdout == project.plain("main.py").stdout
    assert (
        project.flor("main.py", env={"PYTHONHASHSEED": "3"}).stdout
        == project.plain("main.py", env={"PYTHONHASHSEED": "3"}).stdout
    )


def test_a_killed_run_says_how_far_it_got(project: Project) -> None:
    project.write(
        "main.py",
        "import time\nfor epoch in range(1000):\n    loss = 1 / (epoch + 1)\n    time.sleep(0.1)\n",
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "flor_trace", "main.py"], cwd=project.path, env=environment()
    )
    deadline = time.monotonic() + 60
    while not any(r["reached"] not in ("", "epoch 0") for r in project.ls_or_nothing()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()

    (run,) = project.ls()

    assert run["status"] == "died"
    reached = int(run["reached"].split()[1])
    rows = project.pivot("epoch", "loss")
    assert [row["epoch"] for row in rows] == list(range(reached + 1))
    assert [row["loss"] for row in rows] == [1 / (i + 1) for i in range(reached + 1)]


def test_children_that_are_forked_change_nothing(project: Project) -> None:
    project.write(
        "main.py",
        "import os, sys, time\n"
        "for i in range(4):\n"
        "    time.sleep(0.01)\n"
        "    sys.stdout.flush()\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        for j in range(3): print('child', i, j)\n"
        "        sys.exit(0)\n"
        "    os.waitpid(pid, 0)\n"
        "print('parent')\n",
    )
    plain = project.plain("-W", "error", "main.py")

    recorded = project.run(
        sys.executable, "-W", "error", "-m", "flor_trace", "--overhead", "10000%", "main.py"
    )

    assert (recorded.stdout, recorded.stderr) == (plain.stdout, plain.stderr)
    (run,) = project.ls()
    assert (run["status"], run["reached"]) == ("finished", "i 3")


THREADS = """
import threading, time


def train(name):
    for step in range(20):
        loss = 1 / (step + 1)
        time.sleep(0.002)


threads = [threading.Thread(target=train, args=(name,), name=name) for name in ("a", "b")]
for thread in threads:
    thread.start()
for epoch in range(3):
    score = epoch * 10
    time.sleep(0.02)
for thread in threads:
    thread.join()
print([thread.name for thread in threading.enumerate()])
"""


def test_loops_of_other_threads_are_logged_under_their_names(project: Project) -> None:
    project.write("main.py", THREADS)
    plain = project.plain("main.py")

    recorded = project.record("main.py")

    assert (recorded.stdout, recorded.stderr) == (plain.stdout, plain.stderr)
    losses = [row["loss"] for row in project.pivot("loss")]
    assert sorted(losses) == sorted([1 / (step + 1) for step in range(20)] * 2)
    assert [row["score"] for row in project.pivot("score")] == [0, 10, 20]
    (document,) = project.replay("twice=score * 2")
    assert document["results"][0]["failure"] is None
    assert [row["twice"] for row in project.pivot("twice")] == [0, 20, 40]
    refused = project.flor(
        "replay", "--yes", "--probe", "half=loss / 2", "--at", "step", check=False
    )
    assert refused.returncode == 2
    assert "that loop ran on other threads than the main one (a, b)" in refused.stderr
