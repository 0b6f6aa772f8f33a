"""Run a suite in a process of its own, with bounds, plain and rewritten, and compare."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
MEMORY_KIB = 10_000_000
ADDRESS = re.compile(r"0x[0-9a-f]{6,}")

#: The one reason for which a loop that can be reached may be left alone.
ELSE_JUMPS_OUT = "its else clause has a break or continue that belongs to an outer loop"


class Cage:
    """Where the suites run, for one interpreter."""

    def __init__(self, folder, scratch):
        self.folder = folder
        self.scratch = scratch
        self.rows = []

    def run(self, name, job, *, seconds=900, options=()):
        """Return what the launcher reports; raises if it ended before that."""
        kind = "rewritten" if job["rewrite"] else "plain"
        place = self.scratch / f"{name}-{kind}-{time.monotonic_ns()}"
        home = place / "home"
        home.mkdir(parents=True)
        report, request = place / "report.json", place / "job.json"
        cache = self.folder / "cache"
        request.write_text(json.dumps({**job, "report": str(report), "cache": str(cache)}))
        limits = f'ulimit -v {MEMORY_KIB}; exec nice -n 19 "$@"'
        command = [sys.executable, *options, str(HERE / "soak_launch.py"), str(request)]
        began = time.perf_counter()
        with (place / "output").open("w") as output:
            done = subprocess.run(
                ["sh", "-c", limits, "sh", *command],
                cwd=job.get("cwd", home),
                env=environment(home),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                check=False,
            )
        said = (place / "output").read_text(errors="replace")
        assert report.exists(), f"{name}, {kind}, ended with {done.returncode}:\n{said[-4000:]}"
        result = json.loads(report.read_text())
        result["seconds"] = time.perf_counter() - began
        result["said"] = said
        return result

    def compare(self, name, job, *, expected=(), **options):
        """Run both ways; the outcome of each test is to be the same but for the expected."""
        plain = self.run(name, {**job, "rewrite": False}, **options)
        rewritten = self.run(name, {**job, "rewrite": True}, **options)
        different = differences(plain, rewritten)
        if different.keys() - set(expected):
            # A test that does not agree with itself says nothing about us.
            again = self.run(name, {**job, "rewrite": False}, **options)
            for unstable in differences(plain, again):
                different.pop(unstable, None)
        self.rows.append(row(name, plain, rewritten, different))
        unexpected = {k: v for k, v in different.items() if k not in expected}
        missing = [k for k in expected if k not in different]
        assert not unexpected, f"{unexpected}\n{excerpts(rewritten['said'], unexpected)}"
        assert not missing, f"these are expected to differ, and do not: {missing}"
        check_rewritten(rewritten)
        return plain, rewritten


def environment(home):
    """Return the environment of a suite: nothing of ours, and hashes that do not vary."""
    kept = {
        k: v for k, v in os.environ.items() if k in ("PATH", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
    }
    fixed = {"LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**kept, **fixed, "HOME": str(home), "TMPDIR": str(home)}


def outcomes(report):
    """Return the outcomes by name; addresses in names vary."""
    found = {}
    for name, shown in report["outcomes"].items():
        found.setdefault(ADDRESS.sub("0x", name), []).extend(shown)
    return {name: sorted(shown) for name, shown in found.items()}


def differences(one, other):
    """Return the tests whose outcomes are not the same in two reports."""
    first, second = outcomes(one), outcomes(other)
    return {
        name: (first.get(name), second.get(name))
        for name in sorted({*first, *second})
        if first.get(name) != second.get(name)
    }


def check_rewritten(report):
    """Make sure that everything of the project was rewritten and that its loops ran."""
    assert report["failures"] == []
    assert report["plain_modules"] == []
    assert {reason for _, reason in report["left_alone"]} <= {ELSE_JUMPS_OUT}
    assert report["iterations"] > 0
    assert report["boundaries"] >= report["iterations"] // 2


def row(name, plain, rewritten, different):
    """Return a line of the summary."""
    numbers = [len(plain["outcomes"]), rewritten["loops"], rewritten["entries"]]
    numbers += [rewritten["iterations"], len(rewritten["left_alone"]), len(different)]
    times = f"{plain['seconds']:8.1f} {rewritten['seconds']:9.1f}"
    return f"{name:24}" + "".join(f"{number:13,}" for number in numbers) + "  " + times


HEADER = f"{'suite':24}" + "".join(
    f"{title:>13}"
    for title in ("tests", "loops", "entries", "iterations", "left alone", "different")
)
HEADER += "  " + f"{'plain s':>8} {'rewritten':>9}"


def excerpts(said, names):
    """Return what a suite printed about some of its tests."""
    found = []
    for name in list(names)[:5]:
        at = said.find(name.rpartition(".")[2].rpartition("::")[2])
        if at >= 0:
            found.append(said[max(at - 200, 0) : at + 2000])
    return "\n....\n".join(found)[-8000:]
