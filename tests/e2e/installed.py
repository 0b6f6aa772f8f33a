"""Environments of their own, where flor_trace is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from harness import PACKAGE, Project, environment


class Work(Project):
    """A project where ``python`` is that of another environment."""

    def flor(self, *arguments: str, **options: Any) -> Any:
        return self.run("python", "-m", "flor_trace", *arguments, **options)


def work_in(project: Project, scripts: Path) -> Work:
    """The project, with the environment of that bin directory."""
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    return Work(project.path, {"PATH": path, "PYTHONPATH": ""})


def make_environment(folder: Path, *paths: str) -> Path:
    """A virtual environment that has `paths` and all that this one has; its bin directory."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    paths = (*paths, sysconfig.get_path("purelib"))
    (site_of(folder) / "aa_first.pth").write_text("\n".join(paths) + "\n")
    return folder / "bin"


def site_of(folder: Path) -> Path:
    """The directory of an environment's packages."""
    (site,) = folder.glob("lib/python*/site-packages")
    return site


def copy_sources(copy: Path) -> Path:
    """A copy of what the package is built from, without the C extension."""
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(PACKAGE / "flor_trace", copy / "flor_trace", ignore=ignored)
    names = ("setup.py", "pyproject.toml", "README.md", "flor_trace_exec.py", "flor_trace_exec.pth")
    for name in names:
        shutil.copy(PACKAGE / name, copy)
    return copy


def build(tree: Path, kind: str, into: Path) -> Path:
    """Build a wheel, or that of an editable install."""
    code = f"from setuptools import build_meta as b; b.build_{kind}({str(into)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tree, env=_bare(), check=False, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    (wheel,) = into.glob("*.whl")
    return wheel


def pip(folder: Path, *arguments: str) -> None:
    """Run pip for an environment."""
    words = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*words, "--python", str(folder / "bin/python"), *arguments], check=True,
                   env=_bare())  # fmt: skip


def install(folder: Path, wheel: Path) -> Path:
    """Make an environment with that wheel; its bin directory."""
    scripts = make_environment(folder)
    pip(folder, "install", "--no-deps", "--no-index", "--ignore-installed", str(wheel))
    return scripts


def _bare() -> dict[str, str]:
    return {**environment(), "FLOR_TRACE_BUILD_NATIVE": "off", "PYTHONPATH": ""}
