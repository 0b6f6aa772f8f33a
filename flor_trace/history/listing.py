"""Find the files that belong in a snapshot of the code, and say why the others do not."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

from flor_trace.errors import SnapshotError
from flor_trace.history.git import Git, GitTooSlowError
from flor_trace.history.names import SKIPPED_DIRECTORIES, is_code, is_secret
from flor_trace.records import dataclass, field

_UNTRACKED_SECONDS = 10.0
_MAX_NESTED = 16
_MAX_FILES = 20_000
_MAX_DIRECTORIES = 2_000
_WALK_SECONDS = 5.0
_MAX_REASONS = 1_000


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A path that is not in the snapshot, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """A file or symbolic link of the project."""

    path: bytes  #: relative to the root, with forward slashes
    stat: os.stat_result
    tracked: str | None  #: the name of the object that git's index has for it

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self.stat.st_mode)

    @property
    def mode(self) -> bytes:
        """The mode git gives it."""
        if self.is_link:
            return b"120000"
        return b"100755" if self.stat.st_mode & 0o100 else b"100644"


@dataclass(slots=True)
class Listing:
    """What was found below one root."""

    root: Path
    store: Path | None  #: the store's directory, which is never part of the project
    found: dict[bytes, Found] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    unnamed: int = 0  #: left out beyond those that are named

    def leave_out(self, path: bytes | str, reason: str) -> None:
        """Note that `path` is not part of the snapshot."""
        if len(self.left_out) < _MAX_REASONS:
            self.left_out.append(LeftOut(os.fsdecode(path), reason))
        else:
            self.unnamed += 1

    def consider(self, path: bytes, tracked: str | None = None) -> bool:
        """Take `path` if it is a file or link that belongs in a snapshot.

        Returns:
            False if it is a directory, which the caller has to look into.

        """
        if self._foreign(path):
            return True
        if is_secret(path):
            self.leave_out(path, "its name looks like that of a secret")
            return True
        try:
            seen = os.lstat(os.path.join(os.fsencode(self.root), path))
        except (FileNotFoundError, NotADirectoryError):
            return True  # deleted in the work tree: not part of the project as it is
        except OSError as error:
            self.leave_out(path, f"cannot be read: {error.strerror}")
            return True
        return self._take(path, seen, tracked)

    def _take(self, path: bytes, seen: os.stat_result, tracked: str | None) -> bool:
        if stat.S_ISDIR(seen.st_mode):
            return False
        if not (stat.S_ISREG(seen.st_mode) or stat.S_ISLNK(seen.st_mode)):
            self.leave_out(path, "neither a file nor a link")
        elif len(self.found) >= _MAX_FILES and path not in self.found:
            self.leave_out(path, f"more than {_MAX_FILES} files")
        else:
            self.found[path] = Found(path, seen, tracked)
        return True

    def _foreign(self, path: bytes) -> bool:
        """Whether `path` is git's or ours."""
        parts = path.lower().split(b"/")
        if b".git" in parts or b".flor_trace" in parts:
            return True
        if self.store is None:
            return False
        return Path(os.fsdecode(path)).is_relative_to(self.store)

    def finish(self) -> tuple[LeftOut, ...]:
        """Everything that was left out, the unnamed rest as one entry."""
        if self.unnamed:
            rest = LeftOut("…", f"and {self.unnamed} more paths")
            return (*self.left_out, rest)
        return tuple(self.left_out)


def new_listing(root: Path, store: Path) -> Listing:
    """An empty listing of `root` that will not enter `store`."""
    inside = store != root and store.is_relative_to(root)
    return Listing(root, store.relative_to(root) if inside else None)


def list_work_tree(listing: Listing, git: Git) -> None:
    """Find what git tracks, and what it neither tracks nor ignores, as it is on disk now.

    Raises:
        SnapshotError: if git does not want to list the work tree.

    """
    nested = [0]
    _list_repository(listing, git, b"", nested)


def _list_repository(listing: Listing, git: Git, prefix: bytes, nested: list[int]) -> None:
    for path, tracked in _git_files(listing, git, prefix):
        whole = prefix + path.rstrip(b"/")
        if not listing.consider(whole, None if prefix else tracked):
            _enter_nested(listing, git, whole, nested)


def _enter_nested(listing: Listing, git: Git, path: bytes, nested: list[int]) -> None:
    """Take the files of a submodule or of a repository inside the work tree as plain files."""
    directory = listing.root / os.fsdecode(path)
    if not (directory / ".git").exists():
        return
    nested[0] += 1
    if nested[0] > _MAX_NESTED:
        listing.leave_out(path, f"more than {_MAX_NESTED} repositories inside this one")
        return
    try:
        _list_repository(listing, git.at(directory), path + b"/", nested)
    except SnapshotError as error:
        listing.leave_out(path, f"a repository of its own that git could not list: {error}")


def _git_files(listing: Listing, git: Git, prefix: bytes) -> Iterator[tuple[bytes, str | None]]:
    tagged = ("ls-files", "-z", "-t", "-s", "--cached")
    try:
        out = git.run(*tagged, "--others", "--exclude-standard", timeout=_UNTRACKED_SECONDS)
    except GitTooSlowError:
        listing.leave_out(prefix or b".", "untracked files: git took too long to find them")
        out = git.run(*tagged)
    for entry in out.split(b"\0"):
        if entry.startswith(b"? "):
            yield entry[2:], None
        elif entry:
            facts, _, path = entry[2:].partition(b"\t")
            _, name, stage = facts.split(b" ")
            yield path, name.decode() if stage == b"0" else None


def list_plain(listing: Listing) -> None:
    """Find source text and configuration by walking the root, nearest directories first."""
    until = monotonic() + _WALK_SECONDS
    waiting = deque([b""])
    entered = 0
    while waiting:
        directory = waiting.popleft()
        entered += 1
        if entered > _MAX_DIRECTORIES or monotonic() > until:
            listing.leave_out(directory or b".", "the project is too large to walk")
            listing.unnamed += len(waiting)
            return
        waiting.extend(_list_directory(listing, directory))


def _list_directory(listing: Listing, directory: bytes) -> list[bytes]:
    """Take the files of one directory; return the directories in it that should be entered."""
    inner = []
    try:
        with os.scandir(os.path.join(os.fsencode(listing.root), directory)) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = os.path.join(directory, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    inner += [path] if _worth_entering(entry) else []
                elif is_code(path) or entry.is_symlink() or is_secret(path):
                    listing.consider(path)
    except OSError as error:
        listing.leave_out(directory or b".", f"cannot be listed: {error.strerror}")
    return inner


def _worth_entering(entry: os.DirEntry[bytes]) -> bool:
    name = os.fsdecode(entry.name)
    if name in SKIPPED_DIRECTORIES or name.startswith("."):
        return False
    return not os.path.exists(os.path.join(entry.path, b"pyvenv.cfg"))
