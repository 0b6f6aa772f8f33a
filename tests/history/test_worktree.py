from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from flor_trace.errors import SnapshotError
from flor_trace.history.worktree import (
    find_repository,
    link_inputs,
    list_files,
    materialise,
    read_file,
)

Repo = Any  # see conftest.py


def tree(root: Path) -> dict[str, tuple[str, bytes]]:
    found: dict[str, tuple[str, bytes]] = {}
    for directory, names, files in os.walk(root):
        for name in [*files, *(n for n in names if Path(directory, n).is_symlink())]:
            path = Path(directory, name)
            if path.is_symlink():
                found[path.relative_to(root).as_posix()] = "link", os.fsencode(os.readlink(path))
            else:
                kind = "program" if path.stat().st_mode & stat.S_IXUSR else "file"
                found[path.relative_to(root).as_posix()] = kind, path.read_bytes()
    return found


def forge(repo: Repo, *entries: tuple[str, str, bytes]) -> str:
    """A commit with entries that git itself would not make."""
    raw = b""
    for mode, name, content in entries:
        kind = "tree" if mode == "40000" else "blob"
        made = subprocess.run(
            ["git", "hash-object", "-w", "-t", kind, "--literally", "--stdin"],
            cwd=repo.root, env=repo.env, input=content, capture_output=True, check=True,
        ).stdout.decode().strip()  # fmt: skip
        raw += mode.encode() + b" " + os.fsencode(name) + b"\0" + bytes.fromhex(made)
    whole = subprocess.run(
        ["git", "hash-object", "-w", "-t", "tree", "--literally", "--stdin"],
        cwd=repo.root, env=repo.env, input=raw, capture_output=True, check=True,
    ).stdout.decode().strip()  # fmt: skip
    return str(repo.git("commit-tree", "-m", "forged", whole).strip())


def test_a_snapshot_comes_back_as_it_was(repo: Repo, tmp_path: Path) -> None:
    repo.write(
        {
            "a.py": "print(1)\r\n",
            "deep/er/b.py": b"\xff\xfe",
            "new\nline": "x",
            "run.sh": "#!/bin/sh",
        }
    )
    (repo.root / "run.sh").chmod(0o755)
    os.symlink("../elsewhere", repo.root / "deep" / "link")
    os.symlink("deep", repo.root / "dir")
    with open(os.fsencode(repo.root) + b"/bad\xff.py", "wb") as file:
        file.write(b"y")
    vid = repo.snapshot().vid
    before = {name: content for name, content in tree(repo.root).items() if ".git" not in name}
    before = {name: content for name, content in before.items() if ".flor_trace" not in name}
    made = materialise(repo.root, vid, tmp_path / "scratch")
    assert tree(tmp_path / "scratch") == before
    assert (made.files, made.links) == (5, 2)


def test_no_filter_hook_or_conversion_runs(repo: Repo, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho x >> {ran}\ncat\n")
    program.chmod(0o755)
    raw = "x\n# $Id$ $Format:%H$\n"
    repo.write({"a.py": raw, ".gitattributes": "*.py filter=f text eol=crlf ident export-subst\n"})
    repo.git("config", "filter.f.smudge", str(program))
    repo.git("config", "filter.f.clean", str(program))
    shutil.copy(program, repo.root / ".git" / "hooks" / "post-checkout")
    shutil.copy(program, repo.root / ".git" / "hooks" / "reference-transaction")
    repo.git("config", "core.autocrlf", "true")
    vid = repo.snapshot().vid
    materialise(repo.root, vid, tmp_path / "scratch")
    assert (tmp_path / "scratch" / "a.py").read_text() == raw
    assert not ran.exists()
    assert repo.git("worktree", "list").count("\n") == 1


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("100644", ".."),
        ("100644", "."),
        ("100644", ".git"),
        ("100644", ".GIT"),
        ("100644", ".git "),
        ("100644", "git~1"),
        ("100644", ".g\u200cit"),
        ("100644", "../x"),
        ("100644", "a/../../x"),
        ("100644", "/etc/x"),
    ],
)
def test_names_that_lead_out_are_refused_before_anything_is_written(
    repo: Repo, tmp_path: Path, mode: str, name: str
) -> None:
    vid = forge(repo, ("100644", "a.py", b"x"), (mode, name, b"x"))
    with pytest.raises(SnapshotError, match="nothing was written"):
        materialise(repo.root, vid, tmp_path / "scratch")
    assert not (tmp_path / "scratch").exists()


def test_a_link_and_a_directory_of_one_name_are_refused(repo: Repo, tmp_path: Path) -> None:
    inner = b"100644 x\0" + bytes.fromhex(
        repo.git("hash-object", "-w", "--stdin", check=True).strip()
    )
    vid = forge(repo, ("120000", "a", str(tmp_path).encode()), ("40000", "a", inner))
    with pytest.raises(SnapshotError, match="lead out"):
        materialise(repo.root, vid, tmp_path / "scratch")
    assert not (tmp_path / "x").exists()


def test_a_directory_that_is_not_empty_is_refused(repo: Repo, tmp_path: Path) -> None:
    vid = repo.commit({"a.py": "x"})
    with pytest.raises(SnapshotError, match="not empty"):
        materialise(repo.root, vid, repo.root)


def test_a_missing_commit_says_where_to_get_it(repo: Repo, tmp_path: Path) -> None:
    vid = "1234567" * 5 + "12345"
    with pytest.raises(SnapshotError, match="git ls-tree failed"):
        materialise(repo.root, vid, tmp_path / "scratch")
    with pytest.raises(SnapshotError, match=r"no repository has the code .*fetch the shadow"):
        find_repository(vid, [repo.root, tmp_path / "missing"])


def test_what_is_no_commit_name_never_reaches_git(repo: Repo, tmp_path: Path) -> None:
    for vid in ("--help", "HEAD", "", "main", "abc", "12345678; rm"):
        with pytest.raises(SnapshotError, match="not the name of a commit"):
            list_files(repo.root, vid)


def test_missing_contents_are_an_error(repo: Repo, tmp_path: Path) -> None:
    vid = repo.commit({"a.py": "only here"})
    blob = repo.git("rev-parse", f"{vid}:a.py").strip()
    (repo.root / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(SnapshotError, match="no longer has the contents"):
        materialise(repo.root, vid, tmp_path / "scratch")


def test_single_files_can_be_listed_and_read(repo: Repo) -> None:
    repo.write({"train.py": "x = 1\n", "lib/a.py": "y"})
    vid = repo.snapshot().vid
    assert [(entry.path, entry.size) for entry in list_files(repo.root, vid)] == [
        ("lib/a.py", 1),
        ("train.py", 6),
    ]
    assert read_file(repo.root, vid, "train.py") == b"x = 1\n"
    with pytest.raises(SnapshotError, match=r"has no file 'other\.py'"):
        read_file(repo.root, vid, "other.py")


def test_the_repository_that_has_the_code_is_found(repo: Repo, plain: Repo) -> None:
    repo.write({"a.py": "x"})
    plain.write({"b.py": "y"})
    ours, other = repo.snapshot(), plain.snapshot()
    places = [repo.root, other.repository]
    assert find_repository(ours.vid, places) == repo.root
    assert find_repository(other.vid, places) == other.repository
    assert read_file(other.repository, other.vid, "b.py") == b"y"


# -- inputs ------------------------------------------------------------------------------------

OLD = 1_000_000_000.0


def project(repo: Repo, tmp_path: Path, files: dict[str, str]) -> Path:
    """A project whose snapshot holds train.py, in a scratch directory; everything else ignored."""
    repo.write({"train.py": "x", ".gitignore": "*\n!train.py\n!.gitignore\n"})
    vid = repo.snapshot().vid
    repo.write(files)
    for directory, _, names in os.walk(repo.root):
        for name in names:
            path = Path(directory, name)
            if not path.is_symlink():
                os.utime(path, (OLD, OLD))
    scratch = tmp_path / "scratch"
    materialise(repo.root, vid, scratch)
    return scratch


def test_old_files_are_linked_in_real_directories(repo: Repo, tmp_path: Path) -> None:
    scratch = project(repo, tmp_path, {"data/a.csv": "1", "data/deep/b.bin": "2"})
    (repo.root / "out").mkdir()
    report = link_inputs(repo.root, scratch, before=OLD + 1)
    assert (report.linked, report.left_out, report.whole) == (2, [], [])
    assert (scratch / "data" / "a.csv").readlink() == repo.root / "data" / "a.csv"
    assert (scratch / "data" / "deep" / "b.bin").read_text() == "2"
    for directory in ("data", "data/deep", "out"):
        assert (scratch / directory).is_dir()
        assert not (scratch / directory).is_symlink()
    (scratch / "data" / "new.txt").write_text("output")
    assert not (repo.root / "data" / "new.txt").exists()


def test_files_of_the_snapshot_are_not_replaced(repo: Repo, tmp_path: Path) -> None:
    scratch = project(repo, tmp_path, {})
    (repo.root / "train.py").write_text("later")
    os.utime(repo.root / "train.py", (OLD, OLD))
    assert link_inputs(repo.root, scratch, before=time.time()).linked == 0
    assert (scratch / "train.py").read_text() == "x"
    assert not (scratch / "train.py").is_symlink()


def test_outputs_and_later_changes_are_not_linked_and_named(repo: Repo, tmp_path: Path) -> None:
    scratch = project(repo, tmp_path, {"in.csv": "1", "out.csv": "2", "same.csv": "3"})
    os.utime(repo.root / "out.csv", (OLD + 10, OLD + 10))
    os.utime(repo.root / "same.csv", (OLD + 5, OLD + 5))
    report = link_inputs(repo.root, scratch, before=OLD + 5)
    assert [item.path for item in report.left_out] == ["out.csv", "same.csv"]
    assert "after the run had begun" in report.left_out[0].reason
    assert not (scratch / "out.csv").exists()
    assert (scratch / "in.csv").exists()


def test_environments_caches_and_the_store_are_not_linked(repo: Repo, tmp_path: Path) -> None:
    files = ["venv/pyvenv.cfg", "env/pyvenv.cfg", "env/lib/x.py", "__pycache__/a.pyc",
             "node_modules/a.js", "st/packs/1.pack", "kept/a.txt"]  # fmt: skip
    scratch = project(repo, tmp_path, dict.fromkeys(files, "x"))
    report = link_inputs(repo.root, scratch, before=OLD + 1, store=repo.root / "st")
    assert report.linked == 1
    assert sorted(path.name for path in scratch.iterdir()) == [".gitignore", "kept", "train.py"]


def test_a_scratch_tree_inside_the_project_is_not_linked_into_itself(repo: Repo) -> None:
    scratch = project(repo, repo.root, {"a.txt": "x"})
    assert link_inputs(repo.root, scratch, before=OLD + 1).linked == 1
    assert not (scratch / "scratch").exists()


def test_links_and_specials_are_handled(repo: Repo, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "big.bin").write_text("x")
    os.utime(outside / "big.bin", (OLD, OLD))
    scratch = project(repo, tmp_path, {})
    os.symlink(outside, repo.root / "data")
    os.symlink("missing", repo.root / "broken")
    os.symlink(outside / "big.bin", repo.root / "one.bin")
    os.mkfifo(repo.root / "pipe")
    report = link_inputs(repo.root, scratch, before=time.time() + 10)
    assert (scratch / "data" / "big.bin").read_text() == "x"
    assert (scratch / "one.bin").read_text() == "x"
    assert [item.path for item in report.left_out] == ["broken", "pipe"]


def test_a_relative_link_of_the_snapshot_that_leaves_the_project_still_leads_there(
    repo: Repo, tmp_path: Path
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "a.txt").write_text("shared")
    os.symlink("../shared", repo.root / "data")
    os.symlink("train.py", repo.root / "same.py")
    repo.write({"train.py": "x"})
    vid = repo.snapshot().vid
    scratch = tmp_path / "far" / "away"
    materialise(repo.root, vid, scratch)
    link_inputs(repo.root, scratch, before=time.time() + 10)
    assert (scratch / "data" / "a.txt").read_text() == "shared"
    assert os.readlink(scratch / "same.py") == "train.py"


def test_a_directory_with_too_many_files_is_linked_as_one(repo: Repo, tmp_path: Path) -> None:
    files = {f"data/images/{n}.png": "x" for n in range(30)}
    scratch = project(repo, tmp_path, {**files, "a.txt": "x"})
    report = link_inputs(repo.root, scratch, before=OLD + 1, max_files=10)
    assert report.whole == ["data/images"]
    assert len(list((scratch / "data" / "images").iterdir())) == 30
    assert (scratch / "a.txt").exists()


def test_beyond_the_limit_single_files_are_named(repo: Repo, tmp_path: Path) -> None:
    scratch = project(repo, tmp_path, {f"{n}.txt": "x" for n in range(5)})
    report = link_inputs(repo.root, scratch, before=OLD + 1, max_files=3)
    assert report.linked == 3
    assert [item.reason for item in report.left_out] == ["more files than a replay links"] * 2


def test_the_project_is_left_as_it_was(repo: Repo, tmp_path: Path) -> None:
    scratch = project(repo, tmp_path, {"data/a.csv": "1"})
    before = tree(repo.root)
    link_inputs(repo.root, scratch, before=OLD + 1)
    shutil.rmtree(scratch)
    assert tree(repo.root) == before
