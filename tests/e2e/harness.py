"""Run programs plainly, recorded and replayed, in a project of their own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PACKAGE = Path(__file__).resolve().parents[2]

#: Seeds the generators of a program that does not do so itself, as it imports the libraries.
PINNED = """
import random, sys
random.seed(11)
try:
    import numpy
    numpy.random.seed(12)
    _default_rng = numpy.random.default_rng
    numpy.random.default_rng = lambda seed=None: _default_rng(13 if seed is None else seed)
except ImportError:
    pass
if {torch!r}:
    import torch
    torch.manual_seed(14)
"""


@dataclass
class Project:
    """A directory with programs, in git or not."""

    path: Path
    env: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, check: bool = True, **options: Any) -> Any:
        """Run a command in the project."""
        done = subprocess.run(
            arguments,
            cwd=options.pop("cwd", self.path),
            env={**environment(), **self.env, **options.pop("env", {})},
            capture_output=True,
            text=options.pop("text", True),
            timeout=options.pop("timeout", 300),
            **options,
        )
        if check:
            assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done

    def plain(self, *arguments: str, **options: Any) -> Any:
        """Run under plain python."""
        return self.run(sys.executable, *arguments, **options)

    def flor(self, *arguments: str, **options: Any) -> Any:
        """Run ``flor_trace ...``."""
        return self.run(sys.executable, "-m", "flor_trace", *arguments, **options)

    def record(self, *arguments: str, **options: Any) -> Any:
        """Record with a checkpoint at every boundary."""
        return self.flor("--overhead", "10000%", *arguments, **options)

    def replay(self, probe: str, *arguments: str, **options: Any) -> list[dict[str, Any]]:
        """Replay without asking; the documents that ``--json`` prints."""
        done = self.flor("replay", "--yes", "--json", "--probe", probe, *arguments, **options)
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    def pivot(self, *names: str, **options: Any) -> list[dict[str, Any]]:
        """The rows of ``flor_trace pivot --json``."""
        done = self.flor("pivot", "--json", *names, **options)
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    def ls(self) -> list[dict[str, Any]]:
        """The rows of ``flor_trace ls --json``."""
        return json.loads(self.flor("ls", "--json").stdout)  # type: ignore[no-any-return]

    def ls_or_nothing(self) -> list[dict[str, Any]]:
        """The runs, or none while there is no store yet."""
        done = self.flor("ls", "--json", check=False)
        return json.loads(done.stdout) if done.returncode == 0 else []

    def git(self, *arguments: str) -> str:
        """Run git."""
        return str(self.run("git", *arguments).stdout)

    def write(self, name: str, text: str) -> Path:
        """Write a file."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def commit_all(self, message: str = "work") -> None:
        """Commit everything, as a user would."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def pin(self, *, torch: bool) -> None:
        """Make every program of the project start from the same random states."""
        self.write("_pin/sitecustomize.py", PINNED.format(torch=torch))
        self.env["PYTHONPATH"] = f"{self.path / '_pin'}{os.pathsep}{PACKAGE}"
        self.env["PYTHONHASHSEED"] = "5"

    def files(self) -> dict[str, str]:
        """Digest of every file of the user: all but the store and git's own."""
        found = {}
        for path in sorted(self.path.rglob("*")):
            parts = path.relative_to(self.path).parts
            if (
                path.is_file()
                and parts[0] not in (".git", ".flor_trace")
                and "__pycache__" not in parts
            ):
                found[str(path.relative_to(self.path))] = digest(path)
        return found

    def git_files(self) -> dict[str, str]:
        """Digest of every file in .git but objects and the shadow branch."""
        found = {}
        for path in sorted((self.path / ".git").rglob("*")):
            name = str(path.relative_to(self.path / ".git"))
            if path.is_file() and not name.startswith("objects/") and "flor.shadow" not in name:
                found[name] = digest(path)
        return found


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def environment() -> dict[str, str]:
    ours = ("FLOR_TRACE_", "GIT_", "PYTEST_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    for name in ("PYTHONHASHSEED", "GITHUB_STEP_SUMMARY", "FLOR_TRACE"):
        kept.pop(name, None)
    native = os.environ.get("FLOR_TRACE_NATIVE")
    return {
        **kept,
        **({"FLOR_TRACE_NATIVE": native} if native else {}),
        "PYTHONPATH": str(PACKAGE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
