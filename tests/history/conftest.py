from __future__ import annotations

import os
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flor_trace.history.journal import JournalWriter
from flor_trace.history.snapshot import Snapshot, take_snapshot


@dataclass
class Repo:
    """A real git repository, driven as its user would."""

    root: Path
    env: dict[str, str]

    def git(self, *args: str, check: bool = True, **kw: str) -> str:
        done = subprocess.run(
            ["git", *args],
            cwd=self.root,
            env={**self.env, **kw},
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"git {args}: {done.stderr}")
        return done.stdout

    def at(self, root: Path) -> Repo:
        """Another directory, driven in the same way."""
        root.mkdir(exist_ok=True)
        return Repo(root, self.env)

    def write(self, files: dict[str, str | bytes]) -> None:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())

    def commit(self, files: dict[str, str | bytes], message: str = "work") -> str:
        self.write(files)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    def files(self, commit: str) -> dict[str, bytes]:
        listed = self.git("ls-tree", "-r", "-z", "--name-only", commit).split("\0")
        return {
            name: subprocess.run(
                ["git", "cat-file", "blob", f"{commit}:{name}"],
                cwd=self.root,
                env=self.env,
                capture_output=True,
                check=True,
            ).stdout
            for name in listed
            if name
        }

    def snapshot(self, **kw: object) -> Snapshot:
        store = self.root / ".flor_trace"
        store.mkdir(exist_ok=True)
        (store / ".gitignore").write_text("*")
        arguments = {
            "message": "flor_trace run test",
            "cache": store / "snapshot-stat.json",
            "env": self.env,
            **kw,
        }
        return take_snapshot(self.root, store / "code.git", **arguments)  # type: ignore[arg-type]


@pytest.fixture
def git_env(tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {
        **kept,
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Ann",
        "GIT_AUTHOR_EMAIL": "ann@example.org",
        "GIT_COMMITTER_NAME": "Ann",
        "GIT_COMMITTER_EMAIL": "ann@example.org",
        "GIT_OPTIONAL_LOCKS": "0",
        "LC_ALL": "C",
    }


@pytest.fixture
def repo(tmp_path: Path, git_env: dict[str, str]) -> Repo:
    root = tmp_path / "project"
    root.mkdir()
    repo = Repo(root, git_env)
    repo.git("init", "-q", "-b", "main")
    return repo


@pytest.fixture
def plain(tmp_path: Path, git_env: dict[str, str]) -> Repo:
    """A directory that is in no repository."""
    root = tmp_path / "plain"
    root.mkdir()
    return Repo(root, git_env)


@dataclass
class Journals:
    """Writes journals as the runtime does."""

    root: Path

    def open(self, runid: str, name: str = "journal") -> JournalWriter:
        directory = self.root / "runs" / runid
        directory.mkdir(parents=True, exist_ok=True)
        return JournalWriter(directory / name)

    def header(self, runid: str, **fields: Any) -> dict[str, Any]:
        return {
            "t": "run", "format": 1, "runid": runid, "projid": "proj", "name": None,
            "tstamp": "2026-11-23T15:45:01.123456+00:00", "filename": "train.py",
            "argv": ["--lr", "0.1"], "host": "elsewhere", "pid": 1, "pidstart": 1, "vid": "abc",
            **fields,
        }  # fmt: skip

    def run(self, runid: str, *frames: dict[str, Any], **fields: Any) -> Path:
        with closing(self.open(runid)) as journal:
            for frame in (self.header(runid, **fields), *frames):
                journal.append(frame)
        return self.root / "runs" / runid / "journal"

    def replay(self, runid: str, number: int, *frames: dict[str, Any]) -> Path:
        name = f"replay-{number}.journal"
        with closing(self.open(runid, name)) as journal:
            journal.append({"t": "replay", "format": 1, "runid": runid, "probe": {}})
            for frame in frames:
                journal.append(frame)
        return self.root / "runs" / runid / name

    @staticmethod
    def loop(number: int, key: str, dim: str, nth: int = 0) -> dict[str, Any]:
        return {"t": "loop", "id": number, "key": key, "dim": dim, "line": 1, "nth": nth}

    @staticmethod
    def rows(loop: int, outer: list[Any], first: int, value: list[Any], **cols: Any) -> Any:
        return {
            "t": "rows", "loop": loop, "outer": outer, "first": first, "value": value, "cols": cols
        }  # fmt: skip

    @staticmethod
    def value(name: str, coords: list[Any], value: Any, verdict: str = "exact") -> dict[str, Any]:
        return {"t": "value", "coords": coords, "name": name, "value": value, "verdict": verdict}


@pytest.fixture
def journals(tmp_path: Path) -> Journals:
    root = tmp_path / "store"
    root.mkdir()
    return Journals(root)
