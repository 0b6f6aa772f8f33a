"""The soak: other people's programs, plain and rewritten; ``make soak`` says how much of it."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from soak_cage import HEADER, Cage

#: "all", "slice", or not set: then an ordinary run of the tests passes over this folder.
AMOUNT = os.environ.get("FLOR_SOAK", "")
collect_ignore_glob = [] if AMOUNT else ["test_*.py"]

FOLDER = Path(__file__).parents[2] / ".soak"
_CAGES = []


def pytest_collection_modifyitems(items):
    """In a slice leave out what is not marked for it."""
    if AMOUNT == "slice":
        items[:] = [item for item in items if item.get_closest_marker("soak_slice")]


def pytest_configure(config):
    config.addinivalue_line("markers", "soak_slice: a part of the soak that CI runs")


def pytest_terminal_summary(terminalreporter):
    lines = [line for cage in _CAGES for line in cage.rows]
    if lines:
        title = f"soak on Python {platform.python_version()}"
        terminalreporter.section(title)
        for line in (HEADER, *lines):
            terminalreporter.write_line(line)
        folder = FOLDER / "reports"
        folder.mkdir(exist_ok=True)
        name = f"{platform.python_version()}-{AMOUNT}.txt"
        (folder / name).write_text("\n".join((title, HEADER, *lines, "")))


@pytest.fixture(scope="session")
def cage(tmp_path_factory):
    _CAGES.append(Cage(FOLDER, tmp_path_factory.mktemp("soak")))
    return _CAGES[-1]


def pytest_runtest_logstart(nodeid):
    print(f"\n{nodeid}", end=" ", flush=True)
