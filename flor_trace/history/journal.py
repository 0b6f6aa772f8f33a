"""The append-only file of frames that is the truth about one run.

The layout is described in ``docs/formats.md``, section Journal.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from flor_trace._speedups import digest
from flor_trace.descriptors import Kept, aside
from flor_trace.errors import JournalDamaged, StoreError
from flor_trace.hints import Any, BinaryIO
from flor_trace.history.columns import unpack_rows

VERSION = 1
_MAGIC = b"\x89flor_jnl\r\n\0"
_HEADER = struct.pack("<12sI", _MAGIC, VERSION)
_FRAME = struct.Struct("<I8s")
_LARGEST_FRAME = (1 << 32) - 1

#: What a file system answers that cannot sync directories; it then orders them by itself.
_CANNOT_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES})

#: A frame waits in memory only if it comes within so many seconds of the last write, and only
#: until there is so much: a slow loop gets every frame written at once, a fast one few writes.
FLUSH_BYTES = 64 * 1024
FLUSH_SECONDS = 0.5
#: What is kept for a full disk to become free again before frames are refused.
_KEPT_WHEN_FULL = 16 << 20

# Not ensure_ascii: of two lone surrogates in a row, its escapes would make one character.
_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False, ensure_ascii=False).encode


class JournalWriter:
    """Appends frames to one new journal.

    Any thread may call any method at any time, also from a signal handler. A forked child may call
    them too: they do nothing there.
    """

    def __init__(self, path: Path, *, alone: bool = False) -> None:
        """Make the file; raise `StoreError` if it exists or cannot be made.

        If nobody else makes files in its directory, say `alone`: an empty one is then taken for
        ours. A server of a shared drive says "it exists" where its first answer got lost.
        """
        self._path = path
        self._pid = os.getpid()
        # Reentrant, for a signal handler of the program that itself runs recorded code.
        self._lock = threading.RLock()
        self._frames: list[bytes] = []
        self._waiting = 0
        self._written_at = -math.inf
        self._end = 0
        self._torn = self._writing = self._sync_failed = self._name_is_durable = False
        try:
            fd = _create(path, alone)
        except OSError as error:
            raise self._failed("made", error) from error
        self._file: Kept | None = Kept(path.absolute(), fd)
        self._add(_HEADER)
        try:
            self.flush()
        except StoreError:
            self._file.close()
            path.unlink(missing_ok=True)
            raise

    def append(self, frame: Mapping[str, Any]) -> None:
        """Add a frame; it is in the file by the next `flush`, and after `sync` for good.

        Raises `StoreError` if the file cannot be written, and keeps the frame for a later attempt;
        `ValueError` or `TypeError` if JSON has no form for it, upon which nothing is added.
        """
        payload = _to_json(frame).encode("utf-8", "surrogatepass")
        if os.getpid() != self._pid:
            return
        if not 0 < len(payload) <= _LARGEST_FRAME:
            raise ValueError(f"a frame of {len(payload)} bytes is too long for a journal")
        with self._lock:
            if self._file is None or self._waiting > _KEPT_WHEN_FULL:
                why = "it is closed" if self._file is None else "too much is waiting to be written"
                raise StoreError(f"A frame was not added to the journal {self._path}: {why}.")
            self._add(_FRAME.pack(len(payload), digest(payload)[:8]) + payload)
            if self._waiting >= FLUSH_BYTES or _now() - self._written_at >= FLUSH_SECONDS:
                self.flush()

    def flush(self) -> None:
        """Hand everything to the operating system: the death of the process cannot lose it.

        Raises `StoreError` if that fails; the frames are kept and written by the next call.
        """
        if os.getpid() != self._pid:
            return
        with self._lock:
            # A signal handler that interrupts the writing only adds its frames.
            if not self._frames or self._file is None or self._writing:
                return
            self._writing = True
            try:
                self._write(self._file.number())
            except OSError as error:
                raise self._failed("written", error) from error
            finally:
                self._writing = False

    def sync(self) -> None:
        """Flush, and return when all of it will survive a power loss; raise `StoreError`.

        After a sync has failed it is never tried again, because the kernel might then report
        success for bytes that it has dropped: every further call raises.
        """
        if os.getpid() != self._pid:
            return
        with self._lock:
            self.flush()
            if self._file is None:
                return
            if self._sync_failed:
                raise StoreError(
                    f"The journal {self._path} could not be brought to the disk earlier, so "
                    f"nothing is promised for a power loss; check the disk and record anew."
                )
            try:
                self._sync_failed = True
                self._sync(self._file.number())
                self._sync_failed = False
            except OSError as error:
                raise self._failed("brought to the disk", error) from error

    def close(self) -> None:
        """Flush and close the file; further calls do nothing. Raises as `flush`, but closes."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            try:
                self.flush()
            finally:
                file, self._file = self._file, None
                if file is not None:
                    file.close()

    def let_go(self, action: Callable[[], object]) -> None:
        """Call `action` without the lock, if this thread holds it.

        So it is where a signal handler interrupts a call and waits for another thread, which may
        then do what the handler itself might.
        """
        held = 0
        with suppress(RuntimeError):  # it is not held any more
            while True:
                self._lock.release()
                held += 1
        try:
            action()
        finally:
            for _ in range(held):
                self._lock.acquire()

    def _add(self, data: bytes) -> None:
        self._frames.append(data)
        self._waiting += len(data)

    def _write(self, fd: int) -> None:
        """Write the waiting frames after the last good one, in one call where the disk allows."""
        if self._torn:
            os.ftruncate(fd, self._end)
        count = len(self._frames)
        data = b"".join(self._frames[:count])
        # Until all is known to be written, the next attempt begins by cutting off what there is.
        self._torn = True
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        length = len(data)
        self._written_at = _now()
        # No call from here on, so that no signal handler can come between.
        self._end += length
        self._waiting -= length
        del self._frames[:count]
        self._torn = False

    def _sync(self, fd: int) -> None:
        getattr(os, "fdatasync", os.fsync)(fd)
        if not self._name_is_durable:
            for directory in (self._path.parent, self._path.parent.parent):
                _sync_directory(directory)
            self._name_is_durable = True

    def _failed(self, what: str, error: OSError) -> StoreError:
        return StoreError(
            f"The journal {self._path} could not be {what}: {error.strerror or error}. Free some "
            f"space or allow writing there, or record to another place with `--store DIR`."
        )


def read_journal(path: Path, offset: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give each whole frame with the offset behind it, up to the first that is not whole.

    `offset` is 0 or one that was given before; reading goes on from there. Raises `JournalDamaged`
    if the file cannot be opened or does not begin as a journal does. A file that is cut off
    within its header has no frames: its process was killed at the very start.
    """
    with _open(path) as file:
        length = os.fstat(file.fileno()).st_size
        if not _check_header(path, file.read(len(_HEADER))):
            return
        position = max(offset, len(_HEADER))
        file.seek(position)
        while (frame := _read_frame(file, length - position)) is not None:
            position = file.tell()
            yield position, frame


def is_torn(path: Path, offset: int = 0) -> bool:
    """Return whether bytes that are no whole frame follow the last one after `offset`.

    That is so while a frame is being written, after its process was killed, and where the file is
    damaged. Raises as `read_journal`.
    """
    end = max(offset, len(_HEADER))
    for end, _ in read_journal(path, offset):  # noqa: B007 - the last one counts
        pass
    return end != path.stat().st_size


def _open(path: Path) -> BinaryIO:
    """Open a journal for reading; raise `JournalDamaged` for anything but a regular file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _damaged(path, f"it cannot be opened ({error.strerror or error})") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _damaged(path, "it is not a regular file")
    return os.fdopen(fd, "rb")


def _check_header(path: Path, header: bytes) -> bool:
    """Return whether the header is whole; raise `JournalDamaged` if it is not one of ours."""
    if header == _HEADER:
        return True
    if _HEADER.startswith(header):
        return False
    if len(header) == len(_HEADER) and header.startswith(_MAGIC):
        version = int.from_bytes(header[len(_MAGIC) :], "little")
        raise _damaged(path, f"it has format {version}, and this release reads {VERSION}")
    raise _damaged(path, "it does not begin as a journal does")


def _read_frame(file: BinaryIO, left: int) -> dict[str, Any] | None:
    """Return the frame at the file's position, or None if no whole one is there."""
    head = file.read(_FRAME.size)
    if len(head) < _FRAME.size:
        return None
    length, expected = _FRAME.unpack(head)
    if not 0 < length <= left - _FRAME.size:
        return None
    payload = file.read(length)
    if len(payload) < length or digest(payload)[:8] != expected:
        return None
    try:
        frame = _decode(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(frame, dict):
        return None
    if frame.get("t") == "rows":
        with suppress(ValueError, LookupError, TypeError, AttributeError):  # its reader names it
            unpack_rows(frame)
    return frame


def _decode(payload: bytes) -> object:
    """Return what the JSON says; raise ValueError or RecursionError if it is none."""
    text = payload.decode("utf-8", "surrogatepass")
    try:
        return json.loads(text)
    except ValueError:
        # The recorded program may have lifted Python's limit on the digits of an int; decimals
        # have none.
        from decimal import Decimal  # noqa: PLC0415

        return json.loads(text, parse_int=lambda digits: int(Decimal(digits)))


def _create(path: Path, alone: bool) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags | os.O_EXCL, 0o600)
    except FileExistsError:
        if not alone or os.lstat(path).st_size:
            raise
    return os.open(path, flags, 0o600)


def _sync_directory(path: Path) -> None:
    fd = aside(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(fd)


def _damaged(path: Path, why: str) -> JournalDamaged:
    return JournalDamaged(
        f"The journal {path} cannot be read: {why}. The run it belongs to is left out; "
        f"restore the file from a copy, or remove the run with `flor_trace gc`."
    )


def _now() -> float:
    # Not time.monotonic: libraries that freeze time for tests replace it wherever it is imported.
    return time.clock_gettime(time.CLOCK_MONOTONIC)
