from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

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
