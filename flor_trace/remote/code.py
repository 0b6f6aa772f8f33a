"""The code of a run as one git pack: its commit with all files, and nothing of the history."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from flor_trace.errors import SnapshotError
from flor_trace.history.commits import create_repository
from flor_trace.history.git import Git, open_repository
from flor_trace.history.worktree import find_repository
from flor_trace.store import files

#: Keeps git from removing what was pulled.
_REF = "refs/flor_trace/pulled/"
_OBJECT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def pack_commit(repositories: Sequence[Path], vid: str) -> bytes:
    """Return a git pack with a commit and its files; raise `SnapshotError`."""
    git = open_repository(find_repository(vid, repositories))
    objects = git.run("rev-list", "--objects", "--no-walk", vid)
    return git.run("pack-objects", "--quiet", "--stdout", "--threads=1", stdin=objects)


def unpack_commit(repository: Path, vid: str, data: bytes, branch: str) -> None:
    """Bring a commit from a pack into the repository of a store, made if there is none.

    Raises:
        SnapshotError: if git does not want it, or the pack does not have all of it.

    """
    if not _OBJECT.fullmatch(vid):
        raise SnapshotError(f"{vid[:80]!r} is not the name of a commit")
    git = Git(repository, bare=True)
    create_repository(git, repository, branch)
    if git.finish("rev-parse", "--verify", "--quiet", _REF + vid).status == 0:
        return
    git.run("unpack-objects", "-q", stdin=data)
    try:
        _note_shallow(repository, vid)
    except OSError as error:
        raise SnapshotError(f"{repository} cannot be written: {error}") from error
    # Fails where the commit, or anything in it, is not there; names are hashes of contents.
    git.run("rev-list", "--objects", "--no-walk", "--quiet", f"{vid}^{{commit}}")
    git.run("update-ref", _REF + vid, vid)


def _note_shallow(repository: Path, vid: str) -> None:
    """Tell git that the commits before this one are not there."""
    shallow = repository / "shallow"
    known = set(shallow.read_text("ascii").split()) if shallow.exists() else set()
    if vid not in known:
        text = "".join(f"{each}\n" for each in sorted({*known, vid}))
        files.publish(shallow, [text.encode()])
