from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flor_trace import settings

PACKAGE = Path(settings.__file__).parents[1]

#: Runs the command line, and says what was imported when the process wanted to start over.
PROBE = """
import sys
before = set(sys.modules)
import os
def execve(program, arguments, environ):
    print(*sorted(set(sys.modules) - before), sep="\\n")
    print("seed", environ["PYTHONHASHSEED"], environ["FLOR_TRACE_DRAWN_HASH_SEED"])
    print("same", arguments[1:] == sys.orig_argv[1:], environ["KEPT"])
    os._exit(7)
os.execve = execve
sys.argv[1:] = ["nowhere.py"]
from flor_trace.__main__ import main
sys.exit(main())
"""


def probe(**environ: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FLOR_TRACE", "PYTHONHASH"))}
    return subprocess.run(
        [sys.executable, "-c", PROBE],
        env={**kept, "PYTHONPATH": str(PACKAGE), "KEPT": "kept", **environ},
        capture_output=True,
        text=True,
    )


def test_next_to_nothing_is_imported_before_the_restart():
    done = probe()

    assert done.returncode == 7, done.stderr
    *imported, seed, same = done.stdout.splitlines()
    ours = {
        *(
            "flor_trace",
            "flor_trace.__main__",
            "flor_trace.cli",
            "flor_trace.cli.dispatch",
            "flor_trace.cli.restart",
        ),
        *("flor_trace.errors", "flor_trace.records", "flor_trace.settings", "flor_trace.startup"),
    }
    # What `python -m` imports in any case.
    given = {"__future__", "types", "importlib", "operator", "_operator", "warnings"}
    own = {name for name in imported if not name.startswith("importlib.")}
    assert own <= ours | given
    _, drawn, note = seed.split()
    assert note == f"{drawn}:"
    assert same == "same True kept"


@pytest.mark.parametrize("environ", [{"PYTHONHASHSEED": "3"}, {"FLOR_TRACE": "0"}])
def test_a_process_with_a_known_seed_or_nothing_to_record_goes_on(environ):
    assert probe(**environ).returncode != 7


def test_a_restarted_process_goes_on_and_knows_the_seed(monkeypatch):
    monkeypatch.setattr(settings, "_drawn", None)
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("it starts over again"))
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    for name, value in settings.environment_with_hash_seed(77).items():
        monkeypatch.setenv(name, value)

    from flor_trace.cli import restart

    restart.with_known_hash_seed()

    assert "PYTHONHASHSEED" not in os.environ
    assert settings.hash_seed() == 77
