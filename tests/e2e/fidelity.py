"""Run a program plainly and recorded, in turn and in the same place, and compare all that shows."""

from __future__ import annotations

import difflib
import json
import os
import re
import signal
import site
import subprocess
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Outcome:
    """What somebody who started the program sees of it."""

    status: int
    stdout: bytes
    stderr: bytes
    report: Any = None


def make_interpreter(folder: Path) -> Path:
    """An environment that has flor_trace without any help of the process environment.

    ``-I`` and ``-E`` ignore PYTHONPATH.
    """
    venv.create(folder, symlinks=True, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "ours.pth").write_text("\n".join([str(PACKAGE), *site.getsitepackages()]))
    return folder / "bin" / "python"


@dataclass
class Twins:
    """A directory in which programs are run both ways."""

    python: Path
    folder: Path
    records: Path
    env: dict[str, str] = field(default_factory=dict)

    def write(self, name: str, text: str | bytes) -> Path:
        """Write a file, and the folders it lies in."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return file

    def environment(self) -> dict[str, str]:
        """A small environment, the same for both."""
        kept = ("FLOR_TRACE_NATIVE", "LANG", "LC_ALL", "HOME", "LD_LIBRARY_PATH", "TMPDIR")
        return {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "PATH": f"{self.python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "REPORT": str(self.records.parent / "report.json"),
            **self.env,
        }

    def run(self, command: Sequence[str], **options: Any) -> Outcome:
        """Run a command; what it writes to the file $REPORT is its report."""
        report = self.records.parent / "report.json"
        report.unlink(missing_ok=True)
        env = {**self.environment(), **options.pop("env", {})}
        options.setdefault("stdin", subprocess.DEVNULL)
        if "input" in options:
            del options["stdin"]
        done = subprocess.run(
            command,
            cwd=options.pop("cwd", self.folder),
            env=env,
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=options.pop("stderr", subprocess.PIPE),
            timeout=60,
            check=False,
            **options,
        )
        text = report.read_text() if report.exists() else "null"
        return Outcome(done.returncode, done.stdout or b"", done.stderr or b"", json.loads(text))

    def both(
        self, target: Sequence[str], options: Sequence[str] = (), **how: Any
    ) -> tuple[Outcome, Outcome]:
        """Run ``python OPTIONS TARGET`` and ``python OPTIONS -m flor_trace TARGET``."""
        plain = self.run([str(self.python), *options, *target], **how)
        ours = ["-m", "flor_trace", "--store", str(self.records), *target]
        return plain, self.run([str(self.python), *options, *ours], **how)


_ADDRESS = re.compile(rb"0x[0-9a-fA-F]{6,}")


def masked(text: bytes) -> list[str]:
    """The lines without addresses."""
    return _ADDRESS.sub(b"0x", text).decode("utf-8", "backslashreplace").splitlines()


def differences(plain: Outcome, ours: Outcome) -> list[str]:
    """Every line in which the two differ; an empty list when nothing does."""
    found = []
    if plain.status != ours.status:
        found.append(f"status: {_status(plain.status)} is {_status(ours.status)}")
    for name in ("stdout", "stderr"):
        a, b = getattr(plain, name), getattr(ours, name)
        if masked(a) != masked(b) or len(masked(a)) == 0 != len(masked(b)):
            lines = difflib.unified_diff(masked(a), masked(b), "plain", "ours", n=1, lineterm="")
            found += [f"{name}: {line}" for line in lines]
    return found + compared(plain.report, ours.report, "report")


def compared(plain: Any, ours: Any, where: str) -> list[str]:
    """Every place in which two JSON values differ."""
    if isinstance(plain, Mapping) and isinstance(ours, Mapping):
        found = [f"{where}.{k}: only plain" for k in plain if k not in ours]
        found += [f"{where}.{k}: only recorded" for k in ours if k not in plain]
        for key in plain:
            if key in ours:
                found += compared(plain[key], ours[key], f"{where}.{key}")
        return found
    return [] if plain == ours else [f"{where}: {plain!r} is {ours!r}"]


def _status(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else str(status)
