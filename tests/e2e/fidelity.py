"""Run programs plainly and recorded, each in a place of its own, and compare all that shows."""

from __future__ import annotations

import difflib
import json
import os
import re
import signal
import site
import subprocess
import venv
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Case:
    """A program and how it is started: ``python OPTIONS COMMAND``."""

    text: str | bytes = ""  #: of main.py
    command: tuple[str, ...] = ("main.py",)
    options: tuple[str, ...] = ()
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    input: bytes | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    close: tuple[int, ...] = ()  #: descriptors that the program starts without
    ours: tuple[str, ...] = ()  #: options of ``flor_trace run``


@dataclass(frozen=True)
class Outcome:
    """What somebody who started the program sees of it."""

    status: int
    stdout: bytes
    stderr: bytes
    report: Any = None  #: what it wrote to the file $REPORT


def make_interpreter(folder: Path) -> Path:
    """An environment that has flor_trace without any help of the process environment.

    ``-I`` and ``-E`` ignore PYTHONPATH.
    """
    venv.create(folder, symlinks=True, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "ours.pth").write_text("\n".join([str(PACKAGE), *site.getsitepackages()]))
    command = folder / "bin" / "flor_trace"
    command.write_text(
        f"#!{folder / 'bin' / 'python'}\nimport sys\nfrom flor_trace.__main__ import console\n"
        "if __name__ == '__main__':\n    sys.exit(console())\n"
    )
    command.chmod(0o755)
    return folder / "bin" / "python"


@dataclass
class Place:
    """A directory in which one program is run in several ways."""

    python: Path
    folder: Path

    def run(self, case: Case, *command: str) -> Outcome:
        """Start `command`, after the files of the case are in place."""
        project, report = self.folder / "project", self.folder / "report.json"
        for name, text in {"main.py": case.text, **case.files}.items():
            file = project / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode() if isinstance(text, str) else text)
        report.unlink(missing_ok=True)
        done = subprocess.run(
            [*command],
            cwd=project,
            env={**self._environment(), "REPORT": str(report), **case.env},
            capture_output=True,
            timeout=120,
            check=False,
            preexec_fn=(lambda: [os.close(fd) for fd in case.close]) if case.close else None,
            **({"stdin": subprocess.DEVNULL} if case.input is None else {"input": case.input}),
        )
        text = (report.read_text() if report.exists() else "") or "null"
        return Outcome(done.returncode, done.stdout, done.stderr, json.loads(text))

    def _environment(self) -> dict[str, str]:
        kept = ("FLOR_TRACE_NATIVE", "LANG", "LC_ALL", "HOME", "LD_LIBRARY_PATH", "TMPDIR")
        return {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "PATH": f"{self.python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def plain(self, case: Case) -> Outcome:
        """Run under plain python."""
        return self.run(case, str(self.python), *case.options, *case.command)

    def recorded(self, case: Case) -> Outcome:
        """Run under ``python -m flor_trace``, the record lying elsewhere."""
        ours = ("-m", "flor_trace", "--store", str(self.folder / "records"), *case.ours)
        return self.run(case, str(self.python), *case.options, *ours, *case.command)


Both = tuple[Outcome, Outcome]


def run_all(python: Path, folder: Path, cases: Mapping[str, Case]) -> dict[str, Both]:
    """The plain and the recorded outcome of every case, by its name."""

    def both(numbered: tuple[int, Case]) -> Both:
        number, case = numbered
        place = Place(python, folder / str(number))
        return place.plain(case), place.recorded(case)

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return dict(zip(cases, pool.map(both, enumerate(cases.values())), strict=True))


def programs(name: str) -> dict[str, str]:
    """The programs of a text file beside this one, each under a line ``#: its name``."""
    parts = (Path(__file__).parent / name).read_text().split("#: ")[1:]
    return {name: text for name, _, text in (part.partition("\n") for part in parts)}


_ADDRESS = re.compile(rb"0x[0-9a-fA-F]{6,}")


def masked(text: bytes, *patterns: str) -> list[str]:
    """The lines, ends included, without addresses and what `patterns` match."""
    text = _ADDRESS.sub(b"0x", text)
    for pattern in patterns:
        text = re.sub(pattern.encode(), b"", text)
    return text.decode("utf-8", "backslashreplace").splitlines(keepends=True)


def differences(plain: Outcome, ours: Outcome, patterns: Iterable[str] = ()) -> list[str]:
    """Every line in which the two differ; an empty list when nothing does."""
    found = []
    if plain.status != ours.status:
        found.append(f"status: {_status(plain.status)} is {_status(ours.status)}")
    for name in ("stdout", "stderr"):
        a, b = (masked(getattr(each, name), *patterns) for each in (plain, ours))
        found += [f"{name}: {x}" for x in difflib.unified_diff(a, b, "plain", "recorded", n=1)]
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
