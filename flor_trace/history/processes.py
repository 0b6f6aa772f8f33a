"""Tell whether the process that records a run is still there."""

from __future__ import annotations

import os
from pathlib import Path


def host_name() -> str:
    """The name of this machine, as runs have it."""
    return os.uname().nodename


def process_start(pid: int) -> int | None:
    """When the process started, in clock ticks since boot: tells a reused pid from the same one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[19])


def is_alive(host: str, pid: int, started: int | None) -> bool | None:
    """Whether the process lives; None if that cannot be told from this host."""
    if host != host_name():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is there, and another user's
    except OverflowError:
        return False
    now = process_start(pid)
    return now is None or started is None or now == started
