"""Nothing of the user's is touched, neither by recording nor by replaying."""

from __future__ import annotations

import pytest
from harness import Project

PROGRAM = """
import pathlib
import random
import time

out = pathlib.Path("out")
out.mkdir(exist_ok=True)
here = pathlib.Path(__file__).parent
values = []
for epoch in range(4):
    values.append(random.random())
    time.sleep(0.002)
    (out / f"epoch-{epoch}.txt").write_text(str(values))
    with open(here / "last.txt", "w") as file:
        file.write(str(values[-1]))
    with open("log.txt", "a") as file:
        file.write(f"{epoch}\\n")
print(sum(values))
"""


def neutral(project: Project) -> tuple[object, ...]:
    return (
        project.files(),
        project.git_files(),
        project.git("status", "--porcelain=v2", "--branch"),
        project.git("stash", "list"),
    )


def test_git_and_files_are_the_same_on_a_dirty_tree(project: Project) -> None:
    project.write("main.py", PROGRAM)
    project.write("kept.txt", "one\n")
    project.commit_all()
    project.write("kept.txt", "two\n")
    project.git("add", "kept.txt")
    project.write("kept.txt", "three\n")
    project.write("untracked.txt", "new\n")
    project.plain("main.py")
    hook = project.write(".git/hooks/reference-transaction", "#!/bin/sh\ntouch HOOK_RAN\n")
    hook.chmod(0o755)
    status = project.git("status", "--porcelain=v2", "--branch")
    git_before = project.git_files()

    project.record("main.py")

    after_record = project.files()
    assert project.git_files() == git_before
    assert project.git("status", "--porcelain=v2", "--branch") == status
    assert "HOOK_RAN" not in after_record
    git_before = project.git_files()

    (document,) = project.replay("v=values[-1]")

    assert document["results"][0]["exact"] == 4
    assert project.files() == after_record
    assert project.git_files() == git_before
    assert project.git("status", "--porcelain=v2", "--branch") == status


def test_a_replay_leaves_saved_files_alone_even_when_it_executes(project: Project) -> None:
    project.write("main.py", PROGRAM)
    project.flor("--overhead", "0", "main.py")
    before = project.files()

    (document,) = project.replay("v=values[-1]")

    assert document["results"][0]["plan"] == "rerun"
    assert document["results"][0]["failure"] is None
    assert project.files() == before


def test_an_absolute_path_outside_is_not_written(project: Project, tmp_path: object) -> None:
    target = project.path.parent / "precious.txt"
    target.write_text("before")
    project.write(
        "main.py",
        "import time\nfor i in range(3):\n    time.sleep(0.002)\n"
        f"    open({str(target)!r}, 'w').write(str(i))\n",
    )
    project.flor("--overhead", "0", "main.py")
    target.write_text("mine again")

    done = project.flor("replay", "--yes", "--probe", "j=i * 2", check=False)

    assert target.read_text() == "mine again"
    assert done.returncode == 1
    assert "leaves the user's files alone" in done.stderr


@pytest.mark.torch
def test_torch_save_in_a_replay_leaves_the_saved_model_alone(examples: Project) -> None:
    examples.write(".gitignore", "*.pt\n")
    examples.commit_all()
    examples.flor("--overhead", "0", "digits.py", "--epochs", "2")
    before = examples.files()
    assert "digits.pt" in before

    (document,) = examples.replay("w=float(model.layers[0].weight.sum())")

    assert document["results"][0]["failure"] is None
    assert examples.files() == before


def test_it_works_with_a_detached_head_and_on_an_unborn_branch(
    project: Project, bare: Project
) -> None:
    project.write("main.py", PROGRAM)
    project.commit_all()
    project.git("checkout", "-q", "--detach")
    project.record("main.py")
    assert project.git("rev-parse", "--abbrev-ref", "HEAD").strip() == "HEAD"
    assert project.replay("v=values[-1]")[0]["results"][0]["exact"] == 4

    project.git("checkout", "-q", "--orphan", "empty")
    status = project.git("status", "--porcelain=v2", "--branch")
    project.record("main.py")
    assert project.git("status", "--porcelain=v2", "--branch") == status
    assert project.replay("v=values[-1]")[0]["results"][0]["exact"] == 4


def test_it_works_outside_of_git(bare: Project) -> None:
    bare.write("main.py", PROGRAM)
    bare.record("main.py")
    (bare.path / "main.py").write_text("changed since\n")

    (document,) = bare.replay("v=values[-1]")

    assert document["results"][0]["exact"] == 4
    assert not (bare.path / ".git").exists()


def test_inputs_that_git_ignores_are_there_in_a_replay(project: Project) -> None:
    project.write(".gitignore", "data/\n")
    project.write("data/numbers.txt", "1 2 3 4")
    project.write(
        "main.py",
        "import time\nnumbers = open('data/numbers.txt').read().split()\ns = 0\n"
        "for n in numbers:\n    s += int(n)\n    time.sleep(0.002)\n",
    )
    project.commit_all()
    project.flor("--overhead", "0", "main.py")

    (document,) = project.replay("twice=s * 2")

    assert document["results"][0]["failure"] is None
    assert [row["twice"] for row in project.pivot("n", "twice")] == [2, 6, 12, 20]
