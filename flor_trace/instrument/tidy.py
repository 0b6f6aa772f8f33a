"""Keep the directory of rewritten modules from growing without end."""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from pathlib import Path

#: More is never kept for long; a large project with its libraries takes a tenth of it.
MAX_ENTRIES = 8192
MAX_BYTES = 256 << 20
#: This share of the bounds is left, so that tidying is not due again at once.
LEFT = 0.75

#: An entry that is read gets a new time if its own is older than this: what is in use is young.
_FRESH_SECONDS = 24 * 3600.0
_NAME_LENGTH = 32


def is_due(entry: Path) -> bool:
    """Whether the writer of this new entry is to look after the directory: one in sixteen is."""
    return entry.name.startswith("0")


def tidy(directory: Path) -> None:
    """Delete what was not used for longest if there is too much; say nothing if that fails.

    Other processes may read, write and tidy at the same time: an entry that is gone is made again.
    """
    with suppress(OSError):
        found = sorted(_entries(directory), reverse=True)
        if len(found) > MAX_ENTRIES or sum(size for _, size, _ in found) > MAX_BYTES:
            _delete_old(found)


def _entries(directory: Path) -> list[tuple[int, int, str]]:
    """Time, size and path of every entry, and of files that writers have left behind."""
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                seen = entry.stat(follow_symlinks=False)
                ours = len(entry.name.partition(".")[0]) == _NAME_LENGTH
                if ours and stat.S_ISREG(seen.st_mode):
                    found.append((seen.st_mtime_ns, seen.st_size, entry.path))
    return found


def _delete_old(newest_first: list[tuple[int, int, str]]) -> None:
    total = 0
    for count, (_, size, path) in enumerate(newest_first, 1):
        total += size
        if count > LEFT * MAX_ENTRIES or total > LEFT * MAX_BYTES:
            with suppress(OSError):
                os.unlink(path)


def mark_used(entry: Path, written: float) -> None:
    """Make an entry young again that was read just now and last written at `written`."""
    if time.time() - written > _FRESH_SECONDS:
        with suppress(OSError):
            os.utime(entry)
