"""Advance a branch by one commit without touching HEAD, an index or a work tree."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from os import fsdecode
from pathlib import Path

from flor_trace.errors import SnapshotError
from flor_trace.history.git import IDENTITY, Finished, Git
from flor_trace.history.objects import Entry
from flor_trace.records import dataclass, replace

_BRANCH = re.compile(r"[A-Za-z0-9_][\w.+-]*(/[A-Za-z0-9_][\w.+-]*)*", re.ASCII)

_ALGORITHMS = {40: "sha1", 64: "sha256"}  #: by the length of an object's name


@dataclass(frozen=True, slots=True)
class Tip:
    """The newest commit of a branch."""

    commit: str
    tree: str
    parents: tuple[str, ...]
    checked_out: str = ""  #: the work tree that has the branch checked out, as `read_state` says


@dataclass(frozen=True, slots=True)
class State:
    """What a repository says before a snapshot."""

    algorithm: str
    head: str | None
    tip: Tip | None


def branch_ref(branch: str) -> str:
    """The full name of a branch.

    Raises:
        SnapshotError: if git would not allow the name.

    """
    bad = ".." in branch or branch.endswith((".", ".lock")) or ".lock/" in branch
    if bad or not _BRANCH.fullmatch(branch):
        raise SnapshotError(
            f"{branch!r} cannot be the name of a branch; "
            'set branch = "flor.shadow" or another plain name'
        )
    return f"refs/heads/{branch}"


def read_state(git: Git, ref: str) -> State:
    """Read the object format, HEAD and the tip of `ref`.

    Raises:
        SnapshotError: if git refuses.

    """
    head, tip = _resolve(git, ref, "HEAD")
    known = head or (tip.commit if tip is not None else "")
    algorithm = _ALGORITHMS.get(len(known)) or _object_format(git)
    if tip is not None and not git.bare:
        tip = replace(tip, checked_out=_checked_out(git, ref))
    return State(algorithm, head, tip)


def read_tip(git: Git, ref: str) -> Tip | None:
    """The newest commit of `ref`, or None while there is no such branch."""
    return _resolve(git, ref, ref)[1]


def _resolve(git: Git, ref: str, other: str) -> tuple[str | None, Tip | None]:
    """What `other` names, and the tip of `ref`, from one git process."""
    asked = (other, ref, f"{ref}^{{tree}}", f"{ref}^1", f"{ref}^2", ref)
    feed = "".join(f"{name}\n" for name in asked).encode()
    while True:
        out = git.run("cat-file", "--batch-check=%(objectname)", stdin=feed)
        # What is not there gives a line of several words.
        given = [None if " " in line else line for line in fsdecode(out).splitlines()]
        found, commit, tree, *parents, again = given
        if commit == again:  # else somebody advanced the branch, and these are of two commits
            break
    if commit is None or tree is None:
        return found, None
    return found, Tip(commit, tree, tuple(name for name in parents if name is not None))


def _object_format(git: Git) -> str:
    """The object format of a repository that has no commits yet."""
    about = ("rev-parse", "--show-object-format")
    answer = fsdecode(git.run(*about)).strip()
    if answer not in _ALGORITHMS.values():
        raise SnapshotError(
            f"git in {git.directory} names its objects by {answer!r}, which this release of "
            "flor_trace does not know; use a newer one"
        )
    return answer


def _checked_out(git: Git, ref: str) -> str:
    """The work tree that has the branch checked out, or nothing."""
    common = git.directory / ".git"
    plain = common.is_dir() and not (common / "reftable").exists()
    linked = plain and (common / "worktrees").exists()
    if plain and not linked and not (common / "HEAD").is_symlink():
        return str(git.directory) if (common / "HEAD").read_text("utf-8") == f"ref: {ref}\n" else ""
    return fsdecode(git.run("for-each-ref", "--format=%(worktreepath)", ref)).strip()


def make_commit(
    git: Git,
    ref: str,
    parents: Sequence[str],
    entries: Iterable[Entry],
    contents: Mapping[str, bytes],
    message: str,
) -> str | None:
    """Commit `entries` and advance `ref`, which must still be at the first parent.

    Returns:
        The name of the commit, or None if the repository lacks an object, or somebody else was
        quicker to advance `ref`.

    Raises:
        SnapshotError: if git cannot be run.

    """
    stream, mark = _stream(ref, parents, entries, contents, message)
    done = git.finish("fast-import", "--quiet", "--done", stdin=stream)
    if done.status == 0:
        return done.out.split(b"\n")[0].decode("ascii")
    _sweep(git, done)
    if "crash report" in done.err or _is_race(done):
        return None
    raise git.failure(("fast-import", mark), done)


def _is_race(done: Finished) -> bool:
    return any(
        word in done.err for word in ("Not updating", "cannot lock ref", "reference already")
    )


def _sweep(git: Git, done: Finished) -> None:
    """Remove the report that fast-import leaves in the repository when it stops."""
    where = git.finish("rev-parse", "--git-path", f"fast_import_crash_{done.pid}")
    if where.status == 0:
        (git.directory / fsdecode(where.out.rstrip(b"\n"))).unlink(missing_ok=True)


def _stream(
    ref: str,
    parents: Sequence[str],
    entries: Iterable[Entry],
    contents: Mapping[str, bytes],
    message: str,
) -> tuple[bytes, str]:
    """The commands for fast-import: everything is framed by length or quoted."""
    marks = {blob: b":%d" % number for number, blob in enumerate(contents, 1)}
    mark = b":%d" % (len(marks) + 1)
    parts: list[bytes] = []
    for blob, data in contents.items():
        parts += [b"blob\nmark ", marks[blob], b"\n", _data(data)]
    who = f"{IDENTITY} {int(time.time())} +0000\n".encode()
    parts += [b"commit ", ref.encode(), b"\nmark ", mark, b"\nauthor ", who, b"committer ", who]
    parts.append(_data(message.encode("utf-8", "replace")))
    for word, parent in zip((b"from ", *[b"merge "] * len(parents)), parents, strict=False):
        parts += [word, parent.encode(), b"\n"]
    parts.append(b"deleteall\n")
    for entry in entries:
        source = marks.get(entry.blob) or entry.blob.encode()
        parts += [b"M ", entry.mode, b" ", source, b" ", _quoted(entry.path), b"\n"]
    parts += [b"\nget-mark ", mark, b"\ndone\n"]
    return b"".join(parts), mark.decode()


def _data(data: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(data), data)


def _quoted(path: bytes) -> bytes:
    escaped = path.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"' + escaped + b'"'


def create_repository(git: Git, directory: Path, branch: str) -> None:
    """Make a bare repository whose HEAD is `branch`, unless there is one.

    Raises:
        SnapshotError: if it cannot be made.

    """
    if (directory / "HEAD").exists():
        return
    git.run(
        "init", "--quiet", "--bare", "--template=", f"--initial-branch={branch}", str(directory)
    )
