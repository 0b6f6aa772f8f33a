"""Debuggers, profilers, test runners and picklers work on a recorded program as on a plain one."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from fidelity import Both, Case, differences, programs

from flor_trace._speedups import NATIVE

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(not NATIVE, reason="without the C extension frames of ours are seen"),
]

COVER = """
import os, coverage
cover = coverage.Coverage(branch=True, data_file=None)
cover.start()
import main
cover.stop()
data = cover.get_data()
for file in sorted(data.measured_files()):
    print(os.path.basename(file), sorted(data.lines(file)), sorted(data.arcs(file)))
"""
TESTED = """
import pytest
import mod

def test_a():
    for i in range(3):
        assert mod.total(i) == 0, "why"

@pytest.mark.parametrize("n", [1, 2])
def test_b(n):
    x = [n for i in range(3)]
    assert x == [1, 1, 1]

def test_c():
    with pytest.raises(ZeroDivisionError):
        for i in range(2):
            1 / i
"""
TOTAL = "def total(n):\n    t = 0\n    for i in range(n): t += i\n    return t\n"

#: How a program of fidelity_tools.txt is started, where that is not ``python main.py``.
HOW: dict[str, dict[str, Any]] = {
    "a breakpoint in a loop": {"input": b"p i, total\nn\nn\nn\nl\nbt\nu\nd\nc\n"},
    "pdb, until the loop is over": {"input": b"n\nuntil\nuntil\nc\n"},
    "pdb, a jump backwards": {"input": b"b 5\nc\np j\nj 2\nn\nc\nc\n"},
    "pdb, after an exception": {"input": b"p i\nw\nu\nl\nq\n"},
    "pdb, as a module": {
        "command": ("-m", "pdb", "main.py"),
        "input": b"n\nn\nn\nb 3\nc\nc\nw\nq\n",
    },
    "coverage, its API": {"command": ("-c", COVER)},
    "coverage, as a module": {
        "command": ("-m", "coverage", "run", "--branch", "--data-file=data", "main.py")
    },
    "trace, as a module": {"command": ("-m", "trace", "--trace", "main.py")},
    "doctest, as a module": {"command": ("-m", "doctest", "-v", "main.py")},
    "unittest, as a module": {"command": ("-m", "unittest", "main.py")},
}


def _cases() -> dict[str, Case]:
    texts = programs("fidelity_tools.txt")
    found = {}
    for name in texts:
        if "/" not in name:
            files = {k.partition("/")[2]: v for k, v in texts.items() if k.startswith(f"{name}/")}
            ours = ("--overhead", "10000%")
            found[name] = Case(texts[name], files=files, ours=ours, **HOW.get(name, {}))
    return found


CASES = {
    **_cases(),
    "pytest, as a module": Case(
        command=("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"),
        files={"test_x.py": TESTED, "mod.py": TOTAL},
    ),
    "timeit, as a module": Case(
        command=("-m", "timeit", "-n1", "-r1", "-s", "print('s')", "for i in range(3): print(i)")
    ),
}

#: Durations.
TIMES = (r"\d+\.\d+ ?s\b", r"\d+(\.\d+)? ?(nsec|usec|msec|sec)\b")
OPTIONAL = ("coverage", "cloudpickle", "dill")


@pytest.mark.parametrize("case", CASES)
def test_the_tool_shows_what_it_shows_of_a_plain_program(
    outcomes: dict[str, Both], case: str
) -> None:
    tool = case.partition(",")[0]
    if tool in OPTIONAL:
        pytest.importorskip(tool)
    if tool == "sys.monitoring" and not hasattr(sys, "monitoring"):
        pytest.skip("new in 3.12")

    plain, recorded = outcomes[case]

    assert plain.stdout or plain.stderr or case == "coverage, as a module"
    assert differences(plain, recorded, TIMES) == []


@pytest.mark.parametrize("case", ["cloudpickle", "dill"])
def test_what_is_pickled_does_not_need_the_recorder(outcomes: dict[str, Both], case: str) -> None:
    pytest.importorskip(case)

    lines = outcomes[case][1].stdout.split(b"\n")

    assert lines[0].startswith(b"10 12 2 1 [0, 1]")
