"""How much of a file system a run may fill."""

from __future__ import annotations

import os
from pathlib import Path

#: What checkpoints leave free for everybody: a share of the file system, and no more than so much.
_RESERVE = 0.05
_MOST_RESERVE = 1 << 30


def allowance(path: Path, wanted: float) -> int:
    """Return how many bytes may be written: `wanted` if it is 1 or more, else as a share.

    A share is of what is free where the path is.  Raises OSError.
    """
    return int(wanted) if wanted >= 1 else int(wanted * _room(path))


def has_room(path: Path, nbytes: int) -> bool:
    """Return whether so many bytes can be written and something is still free afterwards."""
    try:
        return nbytes <= _room(path)
    except OSError:
        return True  # writing will tell


def _room(path: Path) -> int:
    found = os.statvfs(path)
    reserve = min(_RESERVE * found.f_blocks * found.f_frsize, _MOST_RESERVE)
    return max(0, int(found.f_bavail * found.f_frsize - reserve))
