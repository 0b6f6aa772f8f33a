"""Files that stay open while the program runs, where the program does not come across them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

#: Numbers from here up to the limit that most systems set; programs get the lowest free ones.
_HIGH = 960
_ROOM = 64


def aside(fd: int) -> int:
    """Move a descriptor to a high number and return that; it is not inherited by other programs.

    Where the process may not have such numbers it stays as it is.
    """
    try:
        limit = os.sysconf("SC_OPEN_MAX")
        lowest = _HIGH if limit < 0 else max(0, min(_HIGH, limit - _ROOM))
        moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)
    except (OSError, ValueError):
        return fd
    os.close(fd)
    return moved


class Kept:
    """A file that is appended to as long as the program runs.

    The program may close every descriptor that it finds, as daemons do, and open files of its own
    under the same numbers: so each use makes sure of the number, and opens the file again.
    """

    def __init__(self, path: Path, fd: int) -> None:
        """Take over the descriptor of a file that was just opened."""
        self._path = path
        self._fd = aside(fd)
        self._identity = _identity(self._fd)

    def number(self) -> int:
        """The descriptor; raises OSError if it was closed and the file cannot be opened again."""
        if not self._is_there():
            flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            fd = os.open(self._path, flags)
            if _identity(fd) != self._identity:
                os.close(fd)
                raise FileNotFoundError(f"{self._path} is another file now")
            self._fd = aside(fd)
        return self._fd

    def close(self) -> None:
        """Close the file, unless the program has done so."""
        if self._is_there():
            os.close(self._fd)
        self._fd = -1

    def _is_there(self) -> bool:
        with contextlib.suppress(OSError):
            return _identity(self._fd) == self._identity
        return False


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino
