"""The example for GitHub Actions, run as GitHub runs it, and what is left of it."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from harness import PACKAGE, Project
from installed import Work, build, copy_sources, install, work_in

yaml = pytest.importorskip("yaml")
pytest.importorskip("setuptools", minversion="77")

TRAIN = """
import argparse, time
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
args = parser.parse_args()
loss = 1.0
for epoch in range(args.epochs):
    loss /= 2
    token = "s3cr3t"
    time.sleep(0.003)
print("loss", loss)
"""

#: What its checkout has besides: what the steps start, and what only the job needs.
FILES = {
    "train.py": TRAIN,
    "evaluate.py": "import time\nfor fold in range(3):\n    score = fold / 4\n"
    "    time.sleep(0.003)\nprint(score)\n",
    "Makefile": "evaluate:\n\tpython evaluate.py\n",
    "nightly.sh": "python train.py --epochs 2\npython -c 'print(1)'\n",
    "requirements.txt": "numpy\n",
}


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    return yaml.safe_load((PACKAGE / "examples/github-actions.yml").read_text())


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin directory of an environment where the package is installed from a wheel."""
    folder = tmp_path_factory.mktemp("actions")
    return install(folder / "env", build(copy_sources(folder / "tree"), "wheel", folder))


@pytest.fixture
def runner(project: Project, scripts: Path) -> Work:
    """What actions/checkout makes of a repository: a clone with one commit."""
    for name, text in FILES.items():
        project.write(name, text)
    project.commit_all("second")
    project.git("clone", "-q", "--depth=1", f"file://{project.path}", str(project.path / "../run"))
    return work_in(Project(project.path.parent / "run"), scripts)


def filled_in(text: str, runner: Work) -> str:
    """The text with GitHub's expressions replaced, as GitHub does."""
    known = {"github.workspace": str(runner.path), "github.job": "train"}
    return re.sub(r"\$\{\{ (.*?) \}\}", lambda match: known[match[1]], text)


def run_job(workflow: dict[str, Any], runner: Work, page: Path) -> str:
    """Run the steps that are commands; all that they print."""
    (job,) = workflow["jobs"].values()
    env = {name: filled_in(value, runner) for name, value in job["env"].items()}
    env |= {"GITHUB_STEP_SUMMARY": str(page), "CI": "true", "PIP_NO_INDEX": "1"}
    printed = ""
    for step in job["steps"]:
        if "run" in step:
            script = runner.path.parent / "step.sh"
            script.write_text(filled_in(step["run"], runner))
            bash = ("bash", "--noprofile", "--norc", "-eo", "pipefail", str(script))
            printed += runner.run(*bash, env=env).stdout
    return printed


def test_the_commands_of_the_example_are_recorded_and_can_be_asked(
    workflow: dict[str, Any], runner: Work, scripts: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text("# what a step wrote\n")

    printed = run_job(workflow, runner, page)

    assert "loss 0.0625" in printed and "0.5" in printed and "loss 0.25" in printed
    assert [(row["name"], row["program"], row["status"]) for row in runner.ls()] == [
        ("train", "train.py --epochs 4", "finished"),
        ("train", "evaluate.py", "finished"),
        ("nightly", "train.py --epochs 2", "finished"),
        ("nightly", "-c", "finished"),
    ]
    text = page.read_text()
    assert text.startswith("# what a step wrote\n")
    assert text.count("### flor_trace run") == 4
    assert "| epoch | loss | 0.0625 |" in text and "| fold | score | 0.5 |" in text
    assert "s3cr3t" not in text and "--epochs" not in text

    # The artifact is all that is left, on another machine.
    artifact = tmp_path / "download" / "flor_trace"
    shutil.copytree(runner.path / ".flor_trace", artifact)
    shutil.rmtree(runner.path)
    home = work_in(Project(tmp_path / "download"), scripts)
    store = ("--store", str(artifact))
    first, *_ = json.loads(home.flor("ls", "--json", *store).stdout)
    (document,) = home.replay("half=loss / 2", *store, "--run", first["run"])
    assert document["results"][0]["failure"] is None
    rows = home.pivot("epoch", "half", "--store", str(artifact))
    assert [row["half"] for row in rows if row["half"] is not None] == [
        0.25,
        0.125,
        0.0625,
        0.03125,
    ]


def test_the_artifact_has_the_store(workflow: dict[str, Any]) -> None:
    (job,) = workflow["jobs"].values()
    last = job["steps"][-1]

    assert last["uses"].startswith("actions/upload-artifact@")
    # It begins with a dot: without this, nothing would be uploaded.
    assert last["with"] == {
        "name": "flor_trace", "path": ".flor_trace", "include-hidden-files": True,
    }  # fmt: skip
    assert all(step["if"] == "always()" for step in job["steps"][-2:])


@pytest.mark.parametrize("how", ["option", "variable", "no page"])
def test_there_is_no_summary_unless_there_is_a_page_and_it_is_wanted(
    project: Project, tmp_path: Path, how: str
) -> None:
    page = tmp_path / "page.md"
    project.write("train.py", TRAIN)
    options = ["--summary", "off"] if how == "option" else []
    env = {} if how == "no page" else {"GITHUB_STEP_SUMMARY": str(page)}
    env |= {"FLOR_TRACE_SUMMARY": "off"} if how == "variable" else {}

    done = project.flor(*options, "train.py", "--epochs", "2", env=env)

    assert (done.stdout, done.stderr) == ("loss 0.25\n", "")
    assert not page.exists()


def test_a_page_that_cannot_be_written_does_not_change_the_program(project: Project) -> None:
    project.write("train.py", TRAIN)

    done = project.flor(
        "train.py", "--epochs", "2", env={"GITHUB_STEP_SUMMARY": os.devnull + "/page"}
    )

    assert done.stdout == "loss 0.25\n"
    assert "not shown on the page" in done.stderr
    assert project.ls()[0]["status"] == "finished"
