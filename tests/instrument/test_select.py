from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

import pytest

import flor_trace
from flor_trace.instrument.select import Project


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "project"
    root.mkdir()
    return root


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    return str(path)


def test_files_under_the_root_are_named_with_forward_slashes(project):
    path = touch(project / "src" / "pkg" / "train.py")
    assert Project(project).module_of(path) == "src/pkg/train.py"


@pytest.mark.parametrize(
    "folder", ["lib/site-packages/x", "dist-packages/x", "env/site-packages/x/y"]
)
def test_installed_packages_under_the_root_are_foreign(project, folder):
    assert Project(project).module_of(touch(project / folder / "m.py")) is None


def test_a_virtual_environment_under_the_root_is_foreign(project):
    touch(project / "env" / "pyvenv.cfg")
    assert Project(project).module_of(touch(project / "env" / "src" / "m.py")) is None
    assert Project(project).module_of(touch(project / "src" / "m.py")) == "src/m.py"


def test_files_elsewhere_the_standard_library_and_ourselves_are_foreign(project, tmp_path):
    at = Project(project)
    assert at.module_of(touch(tmp_path / "other" / "m.py")) is None
    assert at.module_of(touch(tmp_path / "project2" / "m.py")) is None
    assert at.module_of(os.__file__) is None
    ours = Path(flor_trace.__file__)
    assert Project(ours.parent.parent).module_of(str(ours)) is None


def test_a_root_above_the_interpreter_leaves_its_libraries_alone():
    library = sysconfig.get_paths()["stdlib"]
    top = Project(Path(sys.base_prefix))
    assert top.module_of(os.path.join(library, "argparse.py")) is None


def test_included_libraries_are_named_from_their_top_level_module(tmp_path, project):
    installed = tmp_path / "site-packages"
    touch(installed / "net" / "__init__.py")
    inner = touch(installed / "net" / "algorithms" / "x.py")
    single = touch(installed / "six.py")
    other = touch(installed / "other" / "net.py")
    touch(installed / "other" / "__init__.py")
    at = Project(project, include=("net", "six"))
    assert at.module_of(inner) == "~net/algorithms/x.py"
    assert at.module_of(single) == "~six.py"
    assert at.module_of(other) is None


def test_excluded_patterns_are_foreign(project):
    at = Project(project, exclude=("tests/*",))
    assert at.module_of(touch(project / "tests" / "m.py")) is None
    assert at.module_of(touch(project / "m.py")) == "m.py"


def test_links_are_followed_before_the_decision(project, tmp_path):
    real = touch(project / "m.py")
    link = tmp_path / "link"
    link.symlink_to(project)
    assert Project(project).module_of(str(link / "m.py")) == "m.py"
    assert Project(link).module_of(real) == "m.py"
