"""Opening, writing and syncing files of a store, in the few ways that are safe for it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from flor_trace.descriptors import aside

#: So much is read of a file whose length nobody knows beforehand.
_LARGEST_OF_THE_SYSTEM = 1 << 18

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600

#: What a file system answers that cannot sync directories; it then orders them by itself.
_CANNOT_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES})

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def create(path: Path) -> int:
    """Return a descriptor of a new file that only appends; raise `FileExistsError` if it exists."""
    return aside(os.open(path, _NEW, FILE_MODE))


def open_appending(path: Path) -> int:
    """Return a descriptor of a regular file that only appends, made if needed; raise OSError."""
    flags = _NEW & ~os.O_EXCL | os.O_NONBLOCK
    return _regular(aside(os.open(path, flags, FILE_MODE)), path)


def open_regular(path: Path) -> int:
    """Return a descriptor for reading; raise OSError for links, pipes and devices.

    A store may come from somebody else: following a link would leave it, and opening a pipe would
    hang.
    """
    try:
        return _regular(aside(os.open(path, _READ)), path)
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
    # On a shared drive the name stood for a file that was replaced meanwhile: asked again, the
    # server says for which it stands now.
    return _regular(aside(os.open(path, _READ)), path)


def _regular(fd: int, path: Path) -> int:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return fd


@contextlib.contextmanager
def reading(path: Path) -> Iterator[int]:
    """Give a descriptor for reading and close it afterwards; raise as `open_regular` does."""
    fd = open_regular(path)
    try:
        yield fd
    finally:
        os.close(fd)


def of_the_system(path: Path) -> bytes:
    """Return what a file of /proc says; raise OSError."""
    with reading(path) as fd:
        return read_exactly(fd, _LARGEST_OF_THE_SYSTEM, 0)


def read_exactly(fd: int, length: int, offset: int) -> bytes:
    """Return `length` bytes from `offset`, or fewer where the file ends."""
    data = os.pread(fd, length, offset)
    if len(data) == length or not data:
        return data
    parts = [data]
    have = len(data)
    while have < length and (data := os.pread(fd, length - have, offset + have)):
        parts.append(data)
        have += len(data)
    return b"".join(parts)


def write_all(fd: int, parts: Sequence[bytes | memoryview]) -> None:
    """Write every part, in one system call where the kernel takes it all; raise OSError."""
    done = os.writev(fd, parts)
    for part in parts:
        if done >= len(part):
            done -= len(part)
            continue
        rest = memoryview(part)[done:]
        done = 0
        while rest:
            rest = rest[os.write(fd, rest) :]


def sync_data(fd: int) -> None:
    """Return when the file's bytes and length are on the disk; raise OSError."""
    getattr(os, "fdatasync", os.fsync)(fd)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable, where the file system has a call for that."""
    fd = aside(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(fd)


def publish(path: Path, parts: Sequence[bytes]) -> None:
    """Make a file appear with all of its contents at once; raise OSError and leave nothing behind.

    Two writers publishing the same name is harmless as long as they write the same contents.
    """
    temporary = path.with_name(f"{path.name}.{os.urandom(5).hex()}.tmp")
    fd = create(temporary)
    try:
        try:
            write_all(fd, parts)
            sync_data(fd)
        finally:
            os.close(fd)
        _rename(temporary, path, parts)
    finally:
        temporary.unlink(missing_ok=True)


def _rename(temporary: Path, path: Path, parts: Sequence[bytes]) -> None:
    """Give a file its name; raise OSError.

    On a shared drive the answer may get lost. The question is then put again, and answered by
    "there is no such file", because it has its new name already.
    """
    try:
        temporary.replace(path)
    except FileNotFoundError:
        if not _holds(path, b"".join(parts)):
            raise


def _holds(path: Path, data: bytes) -> bool:
    try:
        with reading(path) as fd:
            return read_exactly(fd, len(data) + 1, 0) == data
    except OSError:
        return False
