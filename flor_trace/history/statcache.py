"""Remember which blob an unchanged file gave, so that it need not be read again."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path

_VERSION = 1

#: A file changed more recently than this may change again without its times showing it.
_SETTLED_NS = 2_000_000_000

Key = tuple[int, int, int, int]


class StatCache:
    """Maps (path, size, times, inode) to the name of a blob; a damaged file counts as empty.

    Args:
        file: where it is kept; it saves time only, so it is never required.
        scope: what the blobs belong to: names of blobs of another repository are not used.

    """

    def __init__(self, file: Path, scope: str) -> None:
        self._file = file
        self._scope = scope
        self._known = _read(file, scope)
        self._fresh: dict[str, tuple[Key, str]] = {}
        self._now = time.time_ns()

    def get(self, path: bytes, stat: os.stat_result) -> str | None:
        """The blob of an unchanged file; an empty string for one that is not to be stored."""
        name = os.fsdecode(path)
        known = self._known.get(name)
        if known is None or known[0] != _key(stat):
            return None
        self._fresh[name] = known
        return known[1]

    def put(self, path: bytes, stat: os.stat_result, blob: str) -> None:
        """Remember the blob, unless the file was changed so lately that it may change again."""
        if max(stat.st_mtime_ns, stat.st_ctime_ns) + _SETTLED_NS < self._now:
            self._fresh[os.fsdecode(path)] = (_key(stat), blob)

    def save(self) -> None:
        """Write what was used or added since the cache was read."""
        if self._fresh == self._known:
            return
        document = {"version": _VERSION, "scope": self._scope, "files": self._fresh}
        waiting = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        # A store that cannot be written is reported by those who must write it.
        with suppress(OSError):
            waiting.write_text(json.dumps(document), encoding="ascii")
            waiting.replace(self._file)


def _key(stat: os.stat_result) -> Key:
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _read(file: Path, scope: str) -> dict[str, tuple[Key, str]]:
    try:
        document = json.loads(file.read_bytes())
        if document["version"] != _VERSION or document["scope"] != scope:
            return {}
        return {
            path: ((int(key[0]), int(key[1]), int(key[2]), int(key[3])), str(blob))
            for path, (key, blob) in document["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return {}  # missing, torn or foreign: every file is read again
