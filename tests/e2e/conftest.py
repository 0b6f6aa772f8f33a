from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fidelity import Both, make_interpreter, run_all
from harness import EXAMPLES, Project


@pytest.fixture
def bare(tmp_path: Path) -> Project:
    """An empty directory that is in no git repository."""
    path = tmp_path / "project"
    path.mkdir()
    return Project(path)


@pytest.fixture
def project(bare: Project) -> Project:
    """A git repository with one commit."""
    bare.git("init", "-q", "-b", "main")
    bare.git("config", "user.name", "Ada")
    bare.git("config", "user.email", "ada@example.org")
    bare.write("README", "a project\n")
    bare.commit_all("first")
    return bare


@pytest.fixture
def examples(project: Project) -> Project:
    """A git repository with the examples committed."""
    for source in EXAMPLES.glob("*.py"):
        shutil.copy(source, project.path / source.name)
    project.commit_all("examples")
    return project


@pytest.fixture(scope="session")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A python that has flor_trace installed, whatever options it is started with."""
    return make_interpreter(tmp_path_factory.mktemp("interpreter") / "venv")


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, interpreter: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Both]:
    """Both outcomes of the module's CASES that are going to be looked at, by name."""
    chosen = {
        item.callspec.params["case"]
        for item in request.session.items
        if getattr(item, "module", None) is request.module and "case" in _parameters(item)
    }
    cases = {name: case for name, case in request.module.CASES.items() if name in chosen}
    return run_all(interpreter, tmp_path_factory.mktemp("cases"), cases)


def _parameters(item: pytest.Item) -> dict[str, object]:
    return item.callspec.params if hasattr(item, "callspec") else {}
