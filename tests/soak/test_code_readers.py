"""Libraries that read, compile or wrap functions do with recorded code what they do with plain."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from soak_cage import environment

HERE = Path(__file__).parent
NEEDED = {
    "numba": ("numba",),
    "numba classes": ("numba",),
    "jax": ("jax",),
    "wrappers": ("beartype", "typeguard", "pydantic", "attrs"),
    "hooked": ("typeguard",),
}


def run(place, *command):
    return subprocess.run(
        ["nice", "-n", "19", sys.executable, *command],
        cwd=place,
        env=environment(place),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.parametrize("part", NEEDED)
def test_what_they_make_of_functions_with_loops_is_the_same(part, tmp_path):
    for name in NEEDED[part]:
        pytest.importorskip(name)
    for name in ("soak_readers.py", "soak_functions.py", "soak_hooked.py"):
        shutil.copy(HERE / name, tmp_path)
    plain = run(tmp_path, "soak_readers.py", part)
    assert plain.returncode == 0, plain.stderr
    assert len(plain.stdout.splitlines()) > 1
    recorded = run(tmp_path, "-m", "flor_trace", "--overhead", "10000%", "soak_readers.py", part)
    assert recorded.stderr == plain.stderr
    assert recorded.stdout.splitlines() == plain.stdout.splitlines()
    (journal,) = (tmp_path / ".flor_trace" / "runs").glob("*/journal")
    text = journal.read_text(errors="replace")
    assert '"t":"lost"' not in text
    assert "soak_readers.py" in re.findall('"t":"module","module":"([^"]+)"', text)
