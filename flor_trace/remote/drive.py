"""The few things that are asked of a remote file system, and what is done about its failures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from flor_trace.errors import FlorTraceError, RemoteError, UsageError
from flor_trace.store.files import sync_directory

#: How many files are asked for at a time where the file system can fetch several.
_AT_ONCE = 64


class Drive:
    """A directory at a URL.

    Files are written whole and never again, under names that nobody else takes.

    Args:
        url: as fsspec has it: ``s3://bucket/runs``, ``file:///mnt/runs``, ``memory://runs``.
        filesystem: the file system, if the caller has one; `url` is then a path in it.

    Raises:
        UsageError: if the URL cannot be, or what it needs is not installed.

    """

    def __init__(self, url: str, filesystem: Any = None) -> None:
        self.url = url.rstrip("/")
        if filesystem is None:
            filesystem, path = _open(url)
        else:
            path = url
        self._fs = filesystem
        self._root = path.rstrip("/")

    def files(self, folder: str) -> dict[str, int]:
        """Names and lengths of the files in a directory; none if it is not there."""
        with _Told(self.url, "listed"):
            try:
                found = self._fs.ls(self._path(folder), detail=True, refresh=True)
            except (FileNotFoundError, NotADirectoryError):
                return {}
            return {
                str(each["name"]).rpartition("/")[2]: int(each["size"] or 0)
                for each in found
                if each["type"] == "file"
            }

    def folders(self, folder: str) -> list[str]:
        """Names of the directories in a directory, in order."""
        with _Told(self.url, "listed"):
            try:
                found = self._fs.ls(self._path(folder), detail=True, refresh=True)
            except (FileNotFoundError, NotADirectoryError):
                return []
            names = {
                str(each["name"]).rstrip("/").rpartition("/")[2]
                for each in found
                if each["type"] == "directory"
            }
            return sorted(names)

    def read(self, name: str, largest: int) -> bytes:
        """The contents of a file; raise `RemoteError` if it has more bytes than `largest`."""
        return self.read_part(name, 0, largest + 1, largest)

    def read_all(self, names: Sequence[str], largest: int) -> dict[str, bytes]:
        """The contents of several files, several at a time; those that are too long are left out.

        `names` must have been listed with no more than that length each.
        """
        found: dict[str, bytes] = {}
        for first in range(0, len(names), _AT_ONCE):
            some = {self._path(name): name for name in names[first : first + _AT_ONCE]}
            with _Told(self.url, "read"):
                contents = self._fs.cat_ranges(
                    list(some), [0] * len(some), [largest + 1] * len(some), on_error="raise"
                )
            pairs = zip(some.values(), map(bytes, contents), strict=True)
            found.update((name, data) for name, data in pairs if len(data) <= largest)
        return found

    def read_part(self, name: str, start: int, end: int, largest: int | None = None) -> bytes:
        """The bytes of a file between two offsets; fewer where it ends."""
        with _Told(self.url, "read"):
            data = bytes(self._fs.cat_file(self._path(name), start=start, end=end))
        if len(data) > (end - start if largest is None else largest):
            raise RemoteError(
                f"{self.url}/{name} gives more bytes than it may have. Nothing of it was used; "
                f"push the runs again to another place."
            )
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write a file that is not there; on a local disk it is durable on return."""
        path = self._path(name)
        with _Told(self.url, "written"):
            # Where directories have to be made, paths begin at a root; buckets are never made.
            if self._fs.root_marker == "/":
                self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(path, data)
            if "file" in _protocols(self._fs):
                _bring_to_disk(Path(path))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


class _Told:
    """Turns whatever a file system raises into a `RemoteError` that says what to do."""

    def __init__(self, url: str, what: str) -> None:
        self._url = url
        self._what = what

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, FlorTraceError):
            raise RemoteError(
                f"{self._url} could not be {self._what}: {type(error).__name__}: {error}. Check "
                f"the address, what you are allowed to do there, and the network; then give the "
                f"command again: it goes on with what is missing."
            ) from error


def _open(url: str) -> tuple[Any, str]:
    try:
        import fsspec  # noqa: PLC0415 - few need it
    except ImportError as error:
        raise UsageError(
            "push and pull need fsspec: pip install 'flor_trace[remote]', and for s3:// also s3fs"
        ) from error
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UsageError(f"{url} cannot be opened: {error}") from error
    return filesystem, str(path)


def _protocols(filesystem: Any) -> tuple[str, ...]:
    said = filesystem.protocol
    return (said,) if isinstance(said, str) else tuple(said)


def _bring_to_disk(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    sync_directory(path.parent)
    sync_directory(path.parent.parent)
