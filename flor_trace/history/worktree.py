"""Write the files of an old commit into a scratch directory, and link the inputs beside them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from flor_trace.errors import SnapshotError
from flor_trace.history.git import Git, open_repository
from flor_trace.history.inputs import LinkReport, link_inputs

__all__ = [
    "LinkReport",
    "Materialised",
    "TreeEntry",
    "find_repository",
    "link_inputs",
    "list_files",
    "materialise",
    "read_file",
]

_LINK = "120000"
_EXECUTABLE = "100755"
_FILES = ("100644", "100664", _EXECUTABLE, _LINK)
_SMALL_LINK = 4096  #: no target of a link is longer


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """A file of a commit."""

    path: str
    mode: str
    blob: str
    size: int


@dataclass(frozen=True, slots=True)
class Materialised:
    """What was written into a scratch directory."""

    target: Path
    files: int
    links: int
    bytes: int


def find_repository(vid: str, candidates: Sequence[Path]) -> Path:
    """The first of the repositories that has the commit.

    Raises:
        SnapshotError: if none of them has.

    """
    for repository in candidates:
        if repository.exists():
            done = open_repository(repository).finish(
                "cat-file", "-e", f"{_checked(vid)}^{{commit}}"
            )
            if done.status == 0:
                return repository
    looked = ", ".join(str(path) for path in candidates) or "nowhere"
    raise SnapshotError(
        f"no repository has the code {vid} (looked in {looked}); "
        "fetch the shadow branch from where the run was recorded"
    )


def list_files(repository: Path, vid: str) -> tuple[TreeEntry, ...]:
    """The files of a commit, in git's order.

    Raises:
        SnapshotError: if git has no such commit, or refuses.

    """
    out = open_repository(repository).run(
        "ls-tree", "-r", "-z", "-l", "--full-tree", f"{_checked(vid)}^{{commit}}"
    )
    return tuple(_entries(out))


def read_file(repository: Path, vid: str, path: str) -> bytes:
    """The bytes of one file of a commit.

    Raises:
        SnapshotError: if the commit has no such file.

    """
    for entry in list_files(repository, vid):
        if entry.path == path:
            return open_repository(repository).run("cat-file", "blob", entry.blob)
    raise SnapshotError(
        f"the code {vid} has no file {path!r}; it was left out of the snapshot, or did not exist"
    )


def materialise(repository: Path, vid: str, target: Path) -> Materialised:
    """Write the files of a commit below `target`, which must be empty or not exist yet.

    The bytes are those of the commit: no filter, no hook and no line-end conversion runs, and
    the repository does not learn of the directory.

    Raises:
        SnapshotError: if the commit is missing, or has names that cannot be written safely; then
            nothing is written.

    """
    entries = list_files(repository, vid)
    _refuse_bad_names(vid, entries)
    _make_empty(target)
    written = 0
    links: list[tuple[TreeEntry, bytes]] = []
    for entry, data in _contents(open_repository(repository), entries):
        if entry.mode == _LINK:
            links.append((entry, data))
        else:
            _write(target, entry, data)
        written += len(data)
    for entry, data in links:  # last, so that nothing is ever written through one of them
        _link(target, entry, data)
    return Materialised(target, len(entries) - len(links), len(links), written)


def _checked(vid: str) -> str:
    """`vid`, if it is the name of an object and not something git could take for an option."""
    if len(vid) < 7 or not all(letter in "0123456789abcdef" for letter in vid):
        raise SnapshotError(
            f"{vid!r} is not the name of a commit; flor_trace ls shows the versions"
        )
    return vid


def _entries(out: bytes) -> Iterator[TreeEntry]:
    for line in out.split(b"\0"):
        if not line:
            continue
        facts, _, path = line.partition(b"\t")
        mode, kind, blob, size = facts.decode("ascii").split()
        if size == "BAD":
            raise _missing(os.fsdecode(path), blob)
        if kind == "blob":
            yield TreeEntry(os.fsdecode(path), mode, blob, int(size))


def _missing(path: str, blob: str) -> SnapshotError:
    return SnapshotError(
        f"git no longer has the contents of {path!r} ({blob}); "
        "run git fsck there, or fetch the shadow branch again"
    )


def _refuse_bad_names(vid: str, entries: Sequence[TreeEntry]) -> None:
    bad = [entry.path for entry in entries if not _is_safe(entry)]
    directories = {
        entry.path[:cut]
        for entry in entries
        for cut, letter in enumerate(entry.path)
        if letter == "/"
    }
    bad += [entry.path for entry in entries if entry.path in directories]
    if bad:
        shown = ", ".join(repr(path) for path in bad[:5])
        raise SnapshotError(
            f"the code {vid} has names that could lead out of the scratch directory: {shown}; "
            "it was not made by flor_trace, and nothing was written"
        )


def _is_safe(entry: TreeEntry) -> bool:
    parts = entry.path.split("/")
    if entry.mode not in _FILES or (entry.mode == _LINK and entry.size > _SMALL_LINK):
        return False
    return not any(part in ("", ".", "..") or _is_git(part) for part in parts)


def _is_git(part: str) -> bool:
    """Whether some file system would take `part` for ``.git``."""
    plain = "".join(letter for letter in part.lower() if ord(letter) not in _IGNORED)
    return plain.rstrip(". ").partition(":")[0] in (".git", "git~1")


#: Characters that HFS+ does not see in names.
_IGNORED = {0xFEFF, *range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070)}


def _make_empty(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise SnapshotError(f"{target} is not empty; give a directory of its own to each version")


def _contents(git: Git, entries: Sequence[TreeEntry]) -> Iterator[tuple[TreeEntry, bytes]]:
    """The blobs, in order, from one git process; its input is a file so that neither waits."""
    with tempfile.TemporaryFile() as wanted:
        wanted.write(b"".join(b"%s\n" % entry.blob.encode() for entry in entries))
        wanted.seek(0)
        args = ("cat-file", "--batch", "--buffer")
        with git.stream(*args, stdin=wanted) as process:
            assert process.stdout is not None
            for entry in entries:
                yield entry, _blob(process.stdout, entry)


def _blob(out: IO[bytes], entry: TreeEntry) -> bytes:
    header = out.readline().split()
    if len(header) != 3 or header[1] != b"blob":
        raise _missing(entry.path, entry.blob)
    size = int(header[2])
    data = out.read(size + 1)
    if len(data) != size + 1:
        raise SnapshotError(f"git stopped in the middle of {entry.path!r}; run git fsck there")
    return data[:-1]


def _write(target: Path, entry: TreeEntry, data: bytes) -> None:
    path = target / entry.path
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o777 if entry.mode == _EXECUTABLE else 0o666
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, mode)
    except FileExistsError as error:
        raise SnapshotError(
            f"{entry.path!r} differs from another file only in a way this file system does not "
            "see; replay on a file system that distinguishes upper and lower case"
        ) from error
    with open(descriptor, "wb") as file:
        file.write(data)


def _link(target: Path, entry: TreeEntry, data: bytes) -> None:
    path = os.path.join(os.fsencode(target), os.fsencode(entry.path))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.symlink(data, path)
