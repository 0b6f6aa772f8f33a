"""What does recording cost?  Ratios against plain python, measured in turns, in CPU time.

    python benchmarks/instrument.py [--quick] [--json] [--python PATH ...] [--part PART ...]

Parts: loops (one iteration, one entry, one import; native and Python twin; beside coverage.py, a
trace function and monitoring), start-up, tight, values, suite (needs pytest, and the network once).
Without --part all but the suite.  Each --python is an interpreter that can import flor_trace's
dependencies; without one it is this one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import programs
from measuring import Row, environment

PARTS = ("loops", "start-up", "tight", "values", "suite")
LOOPS = Path(__file__).with_name("loops.py")


def loops(python: str, directory: Path, quick: bool, twins: Iterable[str]) -> Iterator[Row]:
    """The rows of loops.py for these twins."""
    size = ("--iterations", "1000", "--rounds", "3", "--files", "3") if quick else ()
    for twin in twins:
        command = (python, str(LOOPS), "--cache", str(directory / "cache"), *size)
        done = subprocess.run(
            command,
            env=environment(FLOR_TRACE_NATIVE=str(int(twin == "native"))),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"{command} failed:\n{done.stderr[-2000:]}")
        yield from json.loads(done.stdout)


def facts_of(python: str) -> Row:
    """Its version, and the twin that it uses by default."""
    code = (
        "import json, sys; from flor_trace._speedups import NATIVE\n"
        "print(json.dumps({'python': '%d.%d' % sys.version_info[:2],"
        " 'twin': 'native' if NATIVE else 'python'}))"
    )
    command = (python, "-c", code)
    done = subprocess.run(command, env=environment(), capture_output=True, check=True)
    facts: Row = json.loads(done.stdout)
    return facts


def measure(options: argparse.Namespace) -> list[Row]:
    """Everything that was asked for."""
    rows: list[Row] = []
    for python in options.python or [sys.executable]:
        facts = facts_of(python)
        with tempfile.TemporaryDirectory(prefix="flor_trace-bench-") as folder:
            if "loops" in options.part:
                twins = ("native", "python") if facts["twin"] == "native" else ("python",)
                rows += loops(python, Path(folder), options.quick, twins)
            setting = programs.Setting(python, Path(folder) / "project", options.rounds)
            found = programs.measure(setting, options.quick, set(options.part), options.suite)
            rows += ({**facts, **row} for row in found)
    return rows


def table(rows: Iterable[Row]) -> Iterator[str]:
    """One line for each row: what it is, then its numbers."""
    for row in rows:
        numbers = [f"{k} {_short(v)}" for k, v in row.items() if isinstance(v, int | float)]
        where = f"{row['python']:<5} {row['twin']:<7} {row['subject']:<12} {row['way']:<22}"
        yield where + "  ".join(numbers)


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--python", action="append", metavar="PATH", help="an interpreter")
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--rounds", type=int, help="how often each program is run")
    parser.add_argument("--suite", type=Path, help="an unpacked sdist instead of a download")
    options = parser.parse_args()
    options.part = options.part or [part for part in PARTS if part != "suite"]
    options.rounds = options.rounds or (1 if options.quick else 9)
    rows = measure(options)
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
