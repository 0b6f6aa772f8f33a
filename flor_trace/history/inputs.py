"""Link the files that a program may have read, and that its snapshot does not hold."""

from __future__ import annotations

import os
import stat
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from flor_trace.history.listing import LeftOut
from flor_trace.history.names import SKIPPED_DIRECTORIES

_MAX_REASONS = 1_000


@dataclass(slots=True)
class LinkReport:
    """What was linked into a scratch directory, and what was not."""

    linked: int = 0
    whole: list[str] = field(default_factory=list)  #: directories linked as one, being too large
    left_out: list[LeftOut] = field(default_factory=list)
    unnamed: int = 0  #: not linked beyond those that are named

    def refuse(self, path: str, reason: str) -> None:
        """Note that `path` was not linked."""
        if len(self.left_out) < _MAX_REASONS:
            self.left_out.append(LeftOut(path, reason))
        else:
            self.unnamed += 1


@dataclass(slots=True)
class _Linking:
    root: Path
    target: Path
    before: float
    room: int
    store: Path | None
    report: LinkReport = field(default_factory=LinkReport)


def link_inputs(
    root: Path,
    target: Path,
    *,
    before: float,
    max_files: int = 20_000,
    store: Path | None = None,
) -> LinkReport:
    """Link what lies below `root` and is not in the scratch tree `target` yet.

    Directories are made for real, so that outputs land in the scratch tree; files become
    symbolic links to the originals.  A file changed at or after `before` (the time, in seconds
    since the epoch, at which the recorded run reached its first watched loop) is an output of
    that run or a later change, and is not linked.  A directory with more files than `max_files`
    leaves room for is linked as one.

    Returns:
        What was linked, and what was not and why.

    """
    real = Path(os.path.realpath(root))
    linking = _Linking(
        real, Path(os.path.realpath(target)), before, max_files, store and store.resolve()
    )
    waiting = deque([""])
    while waiting:
        waiting.extend(_directory(linking, waiting.popleft()))
    return linking.report


def _directory(linking: _Linking, directory: str) -> list[str]:
    """Link the files of one directory; return those in it that are to be entered."""
    try:
        with os.scandir(linking.root / directory) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        linking.report.refuse(directory or ".", f"cannot be listed: {error.strerror}")
        return []
    here = linking.target / directory
    if len(entries) > linking.room and not here.exists():
        os.symlink(linking.root / directory, here, target_is_directory=True)
        linking.report.whole.append(directory)
        return []
    here.mkdir(exist_ok=True)
    inner = []
    for entry in entries:
        path = os.path.join(directory, entry.name)
        if entry.is_dir(follow_symlinks=False):
            inner += [path] if _worth_entering(linking, entry) else []
        else:
            _file(linking, entry, path)
    return inner


def _worth_entering(linking: _Linking, entry: os.DirEntry[str]) -> bool:
    if entry.name in SKIPPED_DIRECTORIES:
        return False
    if Path(entry.path) in (linking.target, linking.store):
        return False
    if (linking.target / os.path.relpath(entry.path, linking.root)).is_symlink():
        return False  # the snapshot has a link there
    return not os.path.exists(os.path.join(entry.path, "pyvenv.cfg"))


def _file(linking: _Linking, entry: os.DirEntry[str], path: str) -> None:
    there = linking.target / path
    if os.path.lexists(there):
        if entry.is_symlink() and there.is_symlink():
            _mend_link(linking, entry, there)
        return
    reason = _refusal(linking, entry)
    if reason is not None:
        linking.report.refuse(path, reason)
        return
    os.symlink(entry.path, there)
    linking.report.linked += 1
    linking.room -= 1


def _refusal(linking: _Linking, entry: os.DirEntry[str]) -> str | None:
    if entry.name == ".git":
        return "it belongs to git"
    if linking.room <= 0:
        return "more files than a replay links"
    try:
        seen = entry.stat()
        changed = max(seen.st_mtime, entry.stat(follow_symlinks=False).st_mtime)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not (stat.S_ISREG(seen.st_mode) or stat.S_ISDIR(seen.st_mode)):
        return "neither a file nor a directory"
    if not stat.S_ISDIR(seen.st_mode) and changed >= linking.before:
        return "changed after the run had begun"
    return None


def _mend_link(linking: _Linking, entry: os.DirEntry[str], there: Path) -> None:
    """Let a relative link of the snapshot that leaves the project lead where it led."""
    leads = os.readlink(there)
    if os.path.isabs(leads) or leads != os.readlink(entry.path):
        return
    meant = os.path.normpath(os.path.join(os.path.dirname(entry.path), leads))
    if not Path(meant).is_relative_to(linking.root):
        there.unlink()
        os.symlink(meant, there)
