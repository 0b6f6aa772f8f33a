from __future__ import annotations

import hashlib
import os
import resource
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flor_trace.errors import SnapshotError
from flor_trace.history import listing as listing_module
from flor_trace.history.commits import read_tip
from flor_trace.history.git import Git
from flor_trace.history.snapshot import project_root, take_snapshot

Repo = Any  # see conftest.py

SHADOW = "refs/heads/flor.shadow"


def fingerprint(root: Path) -> dict[str, tuple[int, str]]:
    """Every file below `root` but what a snapshot may add."""
    found: dict[str, tuple[int, str]] = {}
    for directory, names, files in os.walk(root):
        names[:] = [name for name in names if name not in ("objects", ".flor_trace")]
        for name in files:
            path = Path(directory, name)
            inside = path.relative_to(root).as_posix()
            if inside.endswith("refs/heads/flor.shadow"):
                continue
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                content = os.readlink(path)
            elif stat.S_ISREG(mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                content = "special"
            found[inside] = mode, content
    return found


def clean(repo: Repo) -> None:
    """Nothing is changed."""


def dirty(repo: Repo) -> None:
    """Staged, unstaged, deleted and untracked changes at once."""
    repo.write({"train.py": "staged\n"})
    repo.git("add", "train.py")
    repo.write({"train.py": "later\n", "new.py": "new\n", "ignored.log": "x"})
    (repo.root / "lib" / "gone.py").unlink()


def detached(repo: Repo) -> None:
    repo.git("checkout", "-q", "--detach")
    repo.write({"train.py": "detached\n"})


def orphan(repo: Repo) -> None:
    repo.git("checkout", "-q", "--orphan", "fresh")


def conflict(repo: Repo) -> None:
    repo.git("checkout", "-q", "-b", "other")
    repo.commit({"train.py": "theirs\n"})
    repo.git("checkout", "-q", "main")
    repo.commit({"train.py": "ours\n"})
    repo.git("merge", "other", check=False)
    assert (repo.root / ".git" / "MERGE_HEAD").exists()


def rebasing(repo: Repo) -> None:
    repo.git("checkout", "-q", "-b", "other")
    repo.commit({"train.py": "theirs\n"})
    repo.git("checkout", "-q", "main")
    repo.commit({"train.py": "ours\n"})
    repo.git("rebase", "other", check=False)
    assert (repo.root / ".git" / "rebase-merge").exists()


def locked(repo: Repo) -> None:
    (repo.root / ".git" / "index.lock").touch()
    repo.write({"train.py": "locked\n"})


def packed(repo: Repo) -> None:
    repo.git("gc", "-q")
    repo.git("pack-refs", "--all")


def sparse(repo: Repo) -> None:
    repo.git("sparse-checkout", "set", "--no-cone", "/train.py", "/.gitignore")
    assert not (repo.root / "lib").exists()


def reflogs(repo: Repo) -> None:
    repo.git("config", "core.logAllRefUpdates", "always")


def intent_to_add(repo: Repo) -> None:
    repo.write({"soon.py": "soon\n"})
    repo.git("add", "-N", "soon.py")


STATES = [
    clean, dirty, detached, orphan, conflict, rebasing, locked, packed, sparse, reflogs,
    intent_to_add,
]  # fmt: skip


def populated(repo: Repo) -> str:
    return repo.commit(
        {
            "train.py": "print(1)\n",
            "lib/gone.py": "gone\n",
            "lib/kept.py": "kept\n",
            ".gitignore": "*.log\n.flor_trace/\n",
        }
    )


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_nothing_but_the_shadow_branch_changes(repo: Repo, state: Callable[[Repo], None]) -> None:
    populated(repo)
    state(repo)
    before = fingerprint(repo.root)
    status = repo.git("status", "--porcelain=v2", "--branch", "--untracked-files=all")
    on_disk = {
        name: (repo.root / name).read_bytes()
        for name in ("train.py", "new.py", "lib/kept.py", "lib/gone.py", ".gitignore", "soon.py")
        if (repo.root / name).exists()
    }
    snapshot = repo.snapshot()
    again = repo.snapshot()
    assert fingerprint(repo.root) == before
    assert repo.git("status", "--porcelain=v2", "--branch", "--untracked-files=all") == status
    assert snapshot.in_git
    assert snapshot.note is None
    assert repo.files(snapshot.vid) == on_disk
    assert repo.git("rev-parse", SHADOW).strip() == snapshot.vid == again.vid
    assert repo.git("rev-parse", f"{snapshot.vid}^{{tree}}").strip() == snapshot.tree
    assert snapshot.files == len(on_disk)
    assert repo.git("fsck", "--strict").strip() == ""
    assert not list((repo.root / ".git").rglob("fast_import_crash*"))


def test_a_repository_without_commits_is_saved(repo: Repo) -> None:
    repo.write({"train.py": "x\n"})
    before = fingerprint(repo.root)
    snapshot = repo.snapshot()
    assert fingerprint(repo.root) == before
    assert snapshot.head is None
    assert repo.files(snapshot.vid) == {"train.py": b"x\n"}
    assert repo.git("log", "-1", "--format=%P", snapshot.vid).strip() == ""
    assert repo.snapshot().vid == snapshot.vid


def test_the_parents_are_the_previous_snapshot_and_head(repo: Repo) -> None:
    head = populated(repo)
    first = repo.snapshot()
    assert first.head == head
    assert repo.git("log", "-1", "--format=%P", first.vid).split() == [head]
    repo.write({"train.py": "print(2)\n"})
    second = repo.snapshot()
    assert repo.git("log", "-1", "--format=%P", second.vid).split() == [first.vid, head]
    new_head = repo.commit({})
    third = repo.snapshot()
    assert third.tree == second.tree
    assert repo.git("log", "-1", "--format=%P", third.vid).split() == [second.vid, new_head]
    assert repo.snapshot().vid == third.vid


def test_commits_are_ours_whatever_identity_the_user_has(repo: Repo) -> None:
    populated(repo)
    env = {name: text for name, text in repo.env.items() if not name.startswith("GIT_")}
    vid = repo.snapshot(env=env).vid
    assert repo.git("log", "-1", "--format=%an %ae %cn %B", vid).split("\n")[0] == (
        "flor_trace flor_trace@localhost flor_trace flor_trace run test"
    )


def test_no_hook_filter_monitor_or_conversion_runs(repo: Repo, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    script = f"#!/bin/sh\necho $0 >> {ran}\ncat\n"
    program = tmp_path / "program"
    program.write_text(script)
    program.chmod(0o755)
    raw = b"print(1)\r\n# $Id$ $Format:%H$\r\n"
    repo.commit({"train.py": raw})
    repo.write({".gitattributes": "*.py filter=mark text eol=lf ident export-subst\n"})
    hooks = """
        pre-commit post-commit commit-msg prepare-commit-msg reference-transaction post-rewrite
        post-index-change post-checkout update pre-auto-gc fsmonitor-watchman
    """
    for hook in hooks.split():
        shutil.copy(program, repo.root / ".git" / "hooks" / hook)
    for name, value in {
        "filter.mark.clean": str(program),
        "filter.mark.smudge": str(program),
        "filter.mark.process": str(program),
        "core.fsmonitor": str(program),
        "core.autocrlf": "true",
        "commit.gpgSign": "true",
        "gpg.program": str(program),
        "core.pager": str(program),
    }.items():
        repo.git("config", name, value)
    ran.unlink(missing_ok=True)
    snapshot = repo.snapshot()
    repo.write({"other.py": raw})
    second = repo.snapshot()
    assert not ran.exists()
    assert repo.files(snapshot.vid)["train.py"] == raw
    assert repo.files(second.vid)["other.py"] == raw
    repo.git("status")
    assert ran.exists(), "the traps of this test do not work"


def test_inherited_git_variables_are_not_obeyed(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    populated(repo)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.hooksPath")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(tmp_path))
    monkeypatch.setenv("HOME", repo.env["HOME"])
    snapshot = repo.snapshot(env=None)
    assert snapshot.in_git
    assert "train.py" in repo.files(snapshot.vid)
    assert not (tmp_path / "elsewhere").exists()


def test_links_modes_and_strange_names_are_kept(repo: Repo) -> None:
    names = ["a b.py", "new\nline.py", 'quo"te.py', "back\\slash.py", "tab\t.py", "ünï.py", " .py"]
    repo.write(dict.fromkeys(names, "x"))
    os.symlink("../outside", repo.root / "link")
    os.symlink("a b.py", repo.root / "inner")
    (repo.root / "a b.py").chmod(0o755)
    raw = os.fsencode(repo.root) + b"/invalid\xff.py"
    with open(raw, "wb") as file:
        file.write(b"y")
    os.mkfifo(repo.root / "pipe")
    snapshot = repo.snapshot()
    listed = repo.git("ls-tree", "-r", "-z", snapshot.vid).split("\0")
    modes = {line.partition("\t")[2]: line.split(" ")[0] for line in listed if line}
    assert set(modes) == {*names, "link", "inner", "invalid\udcff.py"}
    assert modes["link"] == modes["inner"] == "120000"
    assert modes["a b.py"] == "100755"
    assert modes["tab\t.py"] == "100644"
    assert repo.files(snapshot.vid)["link"] == b"../outside"
    assert repo.git("rev-parse", f"{snapshot.vid}^{{tree}}").strip() == snapshot.tree


def test_directories_sort_as_git_sorts_them(repo: Repo) -> None:
    repo.write({"a/x.py": "1", "a.py": "2", "a-b.py": "3", "a0.py": "4", "a/b/c.py": "5"})
    snapshot = repo.snapshot()
    assert repo.git("rev-parse", f"{snapshot.vid}^{{tree}}").strip() == snapshot.tree
    assert repo.snapshot().vid == snapshot.vid


SECRETS = [
    ".env", ".env.local", "prod.env", "server.pem", "id_rsa", "id_ed25519.bak", ".netrc",
    "private.key", "credentials.json", "conf/credentials", ".aws/config", "secrets.yaml", ".pypirc",
]  # fmt: skip


def test_what_looks_like_a_secret_is_left_out_and_named(repo: Repo) -> None:
    repo.write({**dict.fromkeys(SECRETS, "hunter2"), "train.py": "x", "tokenizer.py": "y"})
    snapshot = repo.snapshot()
    assert set(repo.files(snapshot.vid)) == {"train.py", "tokenizer.py"}
    assert {item.path for item in snapshot.left_out} == set(SECRETS)
    stored = subprocess.run(
        ["git", "cat-file", "--batch-all-objects", "--batch"],
        cwd=repo.root, env=repo.env, capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert b"hunter2" not in stored


def test_large_and_binary_untracked_files_are_left_out_and_named(repo: Repo) -> None:
    repo.commit({"tracked.bin": b"\0" * 2_000, "model.npy": b"\0tracked"})
    repo.write(
        {"big.txt": "x" * 1001, "fits.txt": "x" * 1000, "data.dat": b"a\0b", "plot.png": b"p"}
    )
    snapshot = repo.snapshot(max_file=1000)
    assert set(repo.files(snapshot.vid)) == {"tracked.bin", "model.npy", "fits.txt"}
    assert {item.path: item.reason for item in snapshot.left_out} == {
        "big.txt": "larger than 1,000 bytes",
        "data.dat": "binary and not tracked",
        "plot.png": "binary and not tracked",
    }
    repo.write({"tracked.bin": b"\1" * 2_000})
    assert "tracked.bin" in {item.path for item in repo.snapshot(max_file=1000).left_out}


def test_code_is_taken_first_where_not_all_fits(repo: Repo) -> None:
    repo.write({"a.data": "x" * 600, "z.py": "y" * 600, "b.data": "z" * 100})
    snapshot = repo.snapshot(max_total=800)
    assert set(repo.files(snapshot.vid)) == {"z.py", "b.data"}
    assert [item.path for item in snapshot.left_out] == ["a.data"]


def test_an_ignored_script_is_taken_when_asked_for(repo: Repo) -> None:
    repo.commit({".gitignore": "scratch/\n.flor_trace/\n"})
    repo.write({"scratch/try.py": "x", "scratch/other.py": "y"})
    snapshot = repo.snapshot(extra=[repo.root / "scratch" / "try.py"])
    assert set(repo.files(snapshot.vid)) == {".gitignore", "scratch/try.py"}


def test_nested_repositories_and_submodules_are_stored_as_files(repo: Repo, tmp_path: Path) -> None:
    library = repo.at(tmp_path / "library")
    library.git("init", "-q")
    library.commit({"core.py": "core\n"})
    repo.commit({"train.py": "x\n", ".gitignore": ".flor_trace/\n"})
    repo.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library.root), "sub")
    inner = repo.at(repo.root / "nested")
    inner.git("init", "-q")
    inner.commit({"deep/tool.py": "tool\n"})
    inner.write({"loose.py": "loose\n"})
    before = fingerprint(repo.root)
    snapshot = repo.snapshot()
    assert fingerprint(repo.root) == before
    files = repo.files(snapshot.vid)
    assert set(files) == {
        ".gitignore", ".gitmodules", "train.py", "sub/core.py", "nested/deep/tool.py",
        "nested/loose.py",
    }  # fmt: skip
    assert files["sub/core.py"] == b"core\n"


def test_a_linked_worktree_is_saved_without_a_trace_in_either(repo: Repo, tmp_path: Path) -> None:
    populated(repo)
    linked = repo.at(tmp_path / "linked")
    repo.git("worktree", "add", "-q", str(linked.root))
    linked.write({"train.py": "in the linked one\n"})
    before = fingerprint(repo.root), fingerprint(linked.root)
    snapshot = linked.snapshot()
    assert (fingerprint(repo.root), fingerprint(linked.root)) == before
    assert snapshot.in_git
    assert repo.files(snapshot.vid)["train.py"] == b"in the linked one\n"


def test_a_shallow_clone_is_saved(repo: Repo, tmp_path: Path) -> None:
    populated(repo)
    repo.commit({"train.py": "second\n"})
    clone = repo.at(tmp_path / "clone")
    repo.git("clone", "-q", "--depth", "1", f"file://{repo.root}", str(clone.root))
    clone.write({"train.py": "third\n"})
    before = fingerprint(clone.root)
    snapshot = clone.snapshot()
    assert fingerprint(clone.root) == before
    assert clone.files(snapshot.vid)["train.py"] == b"third\n"


def test_a_repository_of_sha256_names_is_saved(plain: Repo) -> None:
    repo = plain
    repo.git("init", "-q", "--object-format=sha256")
    head = repo.commit({"lib/a.py": "1\n"})
    repo.write({"b.py": "2\n"})
    snapshot = repo.snapshot()
    assert len(snapshot.vid) == len(head) == 64
    assert repo.files(snapshot.vid) == {"lib/a.py": b"1\n", "b.py": b"2\n"}
    assert repo.snapshot().vid == snapshot.vid


def test_a_checked_out_shadow_branch_is_not_moved(repo: Repo) -> None:
    populated(repo)
    repo.git("checkout", "-q", "-b", "flor.shadow")
    repo.write({"train.py": "x\n"})
    before = fingerprint(repo.root), repo.git("rev-parse", "HEAD")
    snapshot = repo.snapshot()
    assert (fingerprint(repo.root), repo.git("rev-parse", "HEAD")) == before
    assert not snapshot.in_git
    assert "checked out" in str(snapshot.note)


def test_a_shadow_branch_checked_out_in_a_linked_worktree_is_not_moved(
    repo: Repo, tmp_path: Path
) -> None:
    populated(repo)
    linked = repo.at(tmp_path / "linked")
    repo.git("worktree", "add", "-q", "-b", "flor.shadow", str(linked.root))
    before = repo.git("rev-parse", "flor.shadow")
    repo.write({"train.py": "x\n"})
    snapshot = repo.snapshot()
    assert repo.git("rev-parse", "flor.shadow") == before
    assert not snapshot.in_git
    assert str(linked.root) in str(snapshot.note)


def test_a_damaged_index_sends_the_snapshot_to_the_store(repo: Repo) -> None:
    populated(repo)
    (repo.root / ".git" / "index").write_bytes(b"DIRC nonsense")
    before = fingerprint(repo.root)
    snapshot = repo.snapshot()
    assert fingerprint(repo.root) == before
    assert not snapshot.in_git
    assert "ls-files" in str(snapshot.note)
    assert snapshot.repository == repo.root / ".flor_trace" / "code.git"


def test_a_repository_that_refuses_sends_the_snapshot_to_the_store(repo: Repo) -> None:
    populated(repo)
    repo.write({"train.py": "new\n"})
    # Nobody can make the branch shadow/one beside a branch shadow, not even root.
    (repo.root / ".git" / "refs" / "heads" / "shadow").write_text(repo.git("rev-parse", "HEAD"))
    snapshot = repo.snapshot(branch="shadow/one")
    assert not snapshot.in_git
    assert snapshot.note


def test_outside_git_the_store_has_a_repository_of_its_own(plain: Repo) -> None:
    project = plain
    project.write(
        {
            "train.py": "x", "conf/a.yaml": "y", "data.csv": "1,2", "weights.bin": "z",
            "notes": "w", "venv/pyvenv.cfg": "", "venv/lib.py": "v", "node_modules/a.py": "u",
            "__pycache__/a.py": "t", ".env": "secret", "Makefile": "all:",
        }
    )  # fmt: skip
    os.symlink("train.py", project.root / "same.py")
    first = project.snapshot()
    assert not first.in_git
    assert first.note is None
    code = plain.at(first.repository)
    assert code.root == project.root / ".flor_trace" / "code.git"
    assert set(code.files(first.vid)) == {
        "train.py", "conf/a.yaml", "data.csv", "Makefile", "same.py"
    }  # fmt: skip
    assert [item.path for item in first.left_out] == [".env"]
    assert project.snapshot().vid == first.vid
    project.write({"train.py": "changed"})
    second = project.snapshot()
    assert code.git("log", "-1", "--format=%P", second.vid).strip() == first.vid
    assert sorted(path.name for path in (project.root / ".flor_trace").iterdir()) == [
        ".gitignore", "code.git"
    ], "no half-made repository, and no cache of files this young"  # fmt: skip


def test_the_walk_outside_git_is_bounded_and_says_so(
    plain: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_module, "_MAX_DIRECTORIES", 3)
    project = plain
    project.write({"train.py": "x", **{f"d{n}/e/f.py": "y" for n in range(5)}})
    snapshot = project.snapshot()
    assert "train.py" in plain.at(snapshot.repository).files(snapshot.vid)
    assert "too large to walk" in snapshot.left_out[-2].reason
    assert snapshot.left_out[-1].reason == "and 4 more paths"


def test_untracked_files_that_take_too_long_are_left_out(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    populated(repo)
    repo.write({"train.py": "changed\n", "new.py": "new\n"})
    monkeypatch.setattr(listing_module, "_UNTRACKED_SECONDS", 0.0)
    snapshot = repo.snapshot()
    assert repo.files(snapshot.vid)["train.py"] == b"changed\n"
    assert "new.py" not in repo.files(snapshot.vid)
    assert "too long" in snapshot.left_out[0].reason


def test_without_git_it_says_what_to_do(repo: Repo, tmp_path: Path) -> None:
    populated(repo)
    with pytest.raises(SnapshotError, match=r"git was not found on PATH.*install git"):
        repo.snapshot(env={"PATH": str(tmp_path / "empty")})


@pytest.mark.parametrize("branch", ["", "a..b", "-x", "a b", "x.lock", "a//b", "x~1", "refs/", "*"])
def test_a_bad_branch_name_is_refused(repo: Repo, branch: str) -> None:
    with pytest.raises(SnapshotError, match="cannot be the name of a branch"):
        repo.snapshot(branch=branch)


def test_unchanged_files_are_not_read_again(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    populated(repo)
    repo.write({"new.py": "new\n"})
    old = time.time() - 100
    first = repo.snapshot()
    cache = repo.root / ".flor_trace" / "snapshot-stat.json"
    assert not cache.exists(), "files this young may change unseen"
    for name in ("train.py", "new.py", ".gitignore", "lib/kept.py", "lib/gone.py"):
        os.utime(repo.root / name, (old, old))
    later = time.time_ns() + 10_000_000_000
    monkeypatch.setattr("flor_trace.history.statcache.time.time_ns", lambda: later)
    repo.snapshot()
    assert '"new.py"' in cache.read_text()
    read: list[bytes] = []
    real = os.open

    def spy(path: object, *args: object) -> int:
        read.append(os.fsencode(path))  # type: ignore[arg-type]
        return real(path, *args)  # type: ignore[arg-type]

    monkeypatch.setattr("flor_trace.history.objects.os.open", spy)
    again = repo.snapshot()
    assert not [path for path in read if path.endswith(b".py")]
    assert again.tree == first.tree
    repo.write({"new.py": "NEW\n"})
    assert repo.files(repo.snapshot().vid)["new.py"] == b"NEW\n"


def test_a_damaged_cache_is_ignored(repo: Repo) -> None:
    populated(repo)
    first = repo.snapshot()
    cache = repo.root / ".flor_trace" / "snapshot-stat.json"
    for text in (
        "",
        "{",
        "[]",
        '{"version": 1, "scope": 3}',
        '{"version":1,"scope":"x","files":3}',
    ):
        cache.write_text(text)
        assert repo.snapshot().vid == first.vid


def test_objects_that_git_threw_away_are_written_again(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    populated(repo)
    repo.write({"new.py": "new\n"})
    later = time.time_ns() + 10_000_000_000
    monkeypatch.setattr("flor_trace.history.statcache.time.time_ns", lambda: later)
    repo.snapshot()
    repo.git("update-ref", "-d", SHADOW)
    repo.git("prune", "--expire=now")
    snapshot = repo.snapshot()
    assert snapshot.in_git
    assert repo.files(snapshot.vid)["new.py"] == b"new\n"
    assert not list((repo.root / ".git").glob("fast_import_crash*"))


SNAPSHOT = """
import sys
from pathlib import Path
from flor_trace.history.snapshot import take_snapshot
root = Path(sys.argv[1])
store = Path(sys.argv[2])
extra = root / f"only-{sys.argv[3]}.py"
extra.write_text(sys.argv[3])
snapshot = take_snapshot(root, store / "code.git", message=sys.argv[3], cache=store / sys.argv[3])
print(snapshot.vid, snapshot.in_git)
"""


@pytest.mark.parametrize("in_git", [True, False])
def test_snapshots_taken_at_once_all_land(repo: Repo, tmp_path: Path, in_git: bool) -> None:
    populated(repo)
    root = repo.root
    if not in_git:
        shutil.rmtree(root / ".git")
    store = tmp_path / "store"
    store.mkdir()
    package = str(Path(take_snapshot.__code__.co_filename).parents[2])
    env = {**repo.env, "PYTHONPATH": package}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SNAPSHOT, str(root), str(store), str(number)],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(6)
    ]  # fmt: skip
    vids = []
    for number, process in enumerate(running):
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        vid, where = out.split()
        assert where == str(in_git)
        code = repo if in_git else repo.at(store / "code.git")
        assert code.files(vid)[f"only-{number}.py"] == str(number).encode()
        vids.append(vid)
    chain = code.git("rev-list", SHADOW).split()
    assert set(vids) <= set(chain)
    assert [path.name for path in store.iterdir() if path.name.startswith("code-")] == []


def test_threads_of_one_process_may_take_snapshots_at_once(repo: Repo) -> None:
    populated(repo)
    vids: list[str] = []

    def one(number: int) -> None:
        vids.append(repo.snapshot(cache=repo.root / ".flor_trace" / str(number)).vid)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(vids) == 4
    assert len(set(vids)) == 1, "the same files give the same snapshot"


def test_it_is_quick(repo: Repo) -> None:
    repo.commit({f"src/m{number}.py": f"x = {number}\n" * 50 for number in range(50)})
    repo.write({"src/m1.py": "changed\n"})
    took = []
    for number in range(5):
        repo.write({"src/m2.py": f"{number}\n"})
        began = cpu_seconds()
        repo.snapshot()
        took.append(cpu_seconds() - began)
    assert min(took) < 0.15, took


def cpu_seconds() -> float:
    """What this process and the git commands it has waited for have used."""
    uses = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


def test_the_project_is_the_work_tree_around_the_script(repo: Repo) -> None:
    repo.write({"src/deep/train.py": "", "src/pyproject.toml": ""})
    assert project_root(repo.root / "src" / "deep" / "train.py") == (repo.root, True)
    assert project_root(repo.root / "src" / "deep") == (repo.root, True)


def test_the_project_outside_git_has_a_marker_or_is_the_directory(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    assert project_root(deep / "train.py") == (deep, False)
    (tmp_path / "a" / "setup.py").touch()
    assert project_root(deep / "train.py") == (tmp_path / "a", False)
    (deep / ".git").mkdir()  # not a repository: git, too, would look further up
    assert project_root(deep / "train.py") == (tmp_path / "a", False)


def test_the_home_directory_is_not_a_project(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(repo.root))
    repo.write({"work/train.py": ""})
    assert project_root(repo.root / "work" / "train.py") == (repo.root / "work", False)


def test_a_store_elsewhere_in_the_project_is_not_saved(repo: Repo) -> None:
    repo.write({"train.py": "x", "out/store/packs/a.txt": "pack"})
    store = repo.root / "out" / "store"
    snapshot = take_snapshot(
        repo.root, store / "code.git", message="m", cache=store / "c.json", env=repo.env
    )
    assert set(repo.files(snapshot.vid)) == {"train.py"}


def test_a_tip_is_one_commit_even_when_the_branch_advances_meanwhile(repo: Repo) -> None:
    populated(repo)
    names = [repo.git("rev-parse", "HEAD").strip()]
    for number in range(2):
        repo.git("commit", "--quiet", "--allow-empty", "-m", str(number))
        names.append(repo.git("rev-parse", "HEAD").strip())
    repo.git("branch", "flor.shadow", names[0])
    first = read_tip(Git(repo.root, env=repo.env), "refs/heads/flor.shadow")

    class Advancing(Git):
        turns = 0

        def run(self, *arguments: str, **options: Any) -> bytes:
            if self.turns == 0 and arguments[0] == "cat-file":
                type(self).turns = 1
                lines = super().run(*arguments, **options).split(b"\n")
                lines[1] = names[2].encode()  # read before the others: the commit before
                return b"\n".join(lines)
            return super().run(*arguments, **options)

    tip = read_tip(Advancing(repo.root, env=repo.env), "refs/heads/flor.shadow")
    assert tip == first
    assert tip is not None
    assert tip.commit == names[0]
