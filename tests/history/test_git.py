from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flor_trace.errors import SnapshotError
from flor_trace.history import git as git_module
from flor_trace.history.git import Git, GitTooSlowError, open_repository

Repo = Any  # see conftest.py
ROOT = Path(git_module.__file__).parents[2]


def test_output_is_bytes_as_git_wrote_them(repo: Repo) -> None:
    git = Git(repo.root, env=repo.env)
    blob = git.run("hash-object", "-w", "--stdin", stdin=b"a\0b\r\n").decode().strip()
    assert git.run("cat-file", "blob", blob) == b"a\0b\r\n"


def test_input_may_be_a_file(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"text")
    git = Git(repo.root, env=repo.env)
    with (
        (tmp_path / "in").open("rb") as file,
        git.stream("hash-object", "--stdin", stdin=file) as process,
    ):
        assert process.stdout is not None
        out = process.stdout.read()
    assert len(out.strip()) == 40


def test_input_and_output_may_be_larger_than_a_pipe(repo: Repo) -> None:
    names = b"%s\n" % (b"0" * 40) * 50_000  # git answers while it still reads
    out = Git(repo.root, env=repo.env).run("cat-file", "--batch-check", stdin=names)
    assert out == b"%s missing\n" % (b"0" * 40) * 50_000


def test_a_command_may_end_without_reading_its_input(repo: Repo) -> None:
    git = Git(repo.root, env=repo.env)
    done = git.finish("rev-parse", "--git-dir", stdin=b"x" * 1_000_000)
    assert done.status == 0


def test_no_descriptor_is_left_open_by_commands_that_end_or_are_stopped(repo: Repo) -> None:
    git = Git(repo.root, env=repo.env)
    before = os.listdir("/proc/self/fd")
    git.finish("rev-parse", "--git-dir")
    with pytest.raises(GitTooSlowError, match=r"took longer than 0\.2 s"):
        git.finish("-c", "alias.wait=!sleep 20", "wait", timeout=0.2)
    with pytest.raises(SnapshotError, match="could not be started"):
        _with_program(Git(repo.root, env=repo.env), "/nowhere/git").run("version")
    assert os.listdir("/proc/self/fd") == before


def _with_program(git: Git, program: str) -> Git:
    git._program = program
    return git


_CLOSED = """
import os, sys
from pathlib import Path
from flor_trace.history.git import Git
for fd in map(int, sys.argv[2]):
    os.close(fd)
out = Git(Path(sys.argv[1])).run("hash-object", "--stdin", stdin=b"text")
os.write(3, out)
"""


@pytest.mark.parametrize("closed", ["0", "1", "2", "01", "12", "02", "012"])
def test_a_process_without_standard_streams_can_run_git(repo: Repo, closed: str) -> None:
    read, write = os.pipe()
    code = f"import os; os.dup2({write}, 3)\n" + _CLOSED
    subprocess.run(
        [sys.executable, "-c", code, repo.root, closed],
        pass_fds=[write],
        env={**os.environ, "PYTHONPATH": os.fspath(ROOT)},
        timeout=30,
    )
    os.close(write)
    with open(read, "rb") as file:
        assert file.read().strip() == b"f3a34851d44d6b97c90fbb99dd3d18c261b9a237"


def test_a_failing_command_is_an_error_with_what_git_said(repo: Repo) -> None:
    with pytest.raises(SnapshotError, match=r"git cat-file failed in .* with status 128: fatal"):
        Git(repo.root, env=repo.env).run("cat-file", "blob", "0" * 40)


def test_finish_gives_the_status_and_leaves_the_judgement_to_the_caller(repo: Repo) -> None:
    done = Git(repo.root, env=repo.env).finish("rev-parse", "--verify", "nothing")
    assert done.status == 128
    assert "fatal" in done.err


def test_no_git_is_an_error_that_tells_what_to_do(repo: Repo, tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="install git"):
        Git(repo.root, env={"PATH": str(tmp_path)}).run("version")


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"cannot change to .*; check that the directory"):
        Git(tmp_path / "nowhere").run("version")


def test_a_command_that_takes_too_long_is_stopped(repo: Repo, tmp_path: Path) -> None:
    slow = tmp_path / "bin"
    slow.mkdir()
    (slow / "git").write_text("#!/bin/sh\nexec sleep 30\n")
    (slow / "git").chmod(0o755)
    began = time.monotonic()
    git = Git(repo.root, env={"PATH": f"{slow}:/bin:/usr/bin"})
    with pytest.raises(GitTooSlowError, match=r"git status .* took longer than 0.2 s"):
        git.run("status", timeout=0.2)
    assert time.monotonic() - began < 10


def test_a_damaged_repository_is_not_taken_for_the_one_around_it(repo: Repo) -> None:
    repo.commit({"a.py": "x"})
    inner = repo.root / "inner"
    (inner / ".git").mkdir(parents=True)
    with pytest.raises(SnapshotError, match=r"not a git repository.*git fsck"):
        Git(inner, env=repo.env).run("ls-files")


def test_variables_of_a_surrounding_git_are_dropped(repo: Repo, tmp_path: Path) -> None:
    commit = repo.commit({"a.py": "x"})
    env = {**repo.env, "GIT_DIR": str(tmp_path), "GIT_INDEX_FILE": str(tmp_path / "i")}
    assert Git(repo.root, env=env).run("rev-parse", "HEAD").decode().strip() == commit


def test_configuration_cannot_bring_hooks_or_messages_in_other_languages(repo: Repo) -> None:
    repo.git("config", "core.hooksPath", "/somewhere")
    repo.git("config", "core.fsmonitor", "true")
    git = Git(repo.root, env={**repo.env, "LANG": "de_DE.UTF-8", "LANGUAGE": "de"})
    assert git.run("config", "core.hooksPath") == b"/dev/null\n"
    assert git.run("config", "core.fsmonitor") == b"false\n"
    assert "not a valid object name" in git.finish("cat-file", "-t", "nothing").err.lower()


def test_a_bare_repository_is_named_and_a_work_tree_is_found(repo: Repo, tmp_path: Path) -> None:
    bare = tmp_path / "code.git"
    repo.git("init", "-q", "--bare", str(bare))
    assert open_repository(repo.root, repo.env).run("rev-parse", "--is-bare-repository") == (
        b"false\n"
    )
    assert open_repository(bare, repo.env).run("rev-parse", "--is-bare-repository") == b"true\n"
