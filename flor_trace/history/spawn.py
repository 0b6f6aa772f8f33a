"""Run another program and take what it says: `subprocess` would cost more than a short git does."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import time

from flor_trace.records import dataclass, field

TYPE_CHECKING = False  # as in `typing`, which is slow to import
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PIECE = 1 << 16
#: What Python has the system ignore, and other programs expect not to be.
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)


class TooSlow(Exception):
    """A program took longer than it was given, and was killed."""


@dataclass(slots=True)
class Running:
    """A program that was started; `collect` waits for it."""

    pid: int
    waiting: memoryview  #: input that it has not taken yet
    feed: int | None  #: descriptor of its input, while there is more
    said: dict[int, list[bytes]] = field(default_factory=dict)  #: output, by open descriptor

    def collect(self, timeout: float) -> tuple[int, bytes, bytes]:
        """Wait for the end; return exit status, output and error output.

        Raises `TooSlow` after `timeout` seconds.
        """
        out, err = self.said.values()
        until = time.monotonic() + timeout
        try:
            poll = self._poll()
            while self.said or self.feed is not None:
                left = until - time.monotonic()
                if left <= 0:
                    raise TooSlow
                for fd, _ in poll.poll(left * 1000):
                    self._serve(fd, poll)
        except BaseException:
            os.kill(self.pid, signal.SIGKILL)
            raise
        finally:
            for fd in (*self.said, *([] if self.feed is None else [self.feed])):
                os.close(fd)
            status = self._wait()
        return status, b"".join(out), b"".join(err)

    def _poll(self) -> select.poll:
        poll = select.poll()
        for fd in self.said:
            poll.register(fd, select.POLLIN)
        if self.feed is not None:
            poll.register(self.feed, select.POLLOUT)
        return poll

    def _serve(self, fd: int, poll: select.poll) -> None:
        if fd == self.feed:
            if not self._give(fd):
                return
            self.feed = None
        elif data := os.read(fd, _PIECE):
            self.said[fd].append(data)
            return
        else:
            del self.said[fd]
        poll.unregister(fd)
        os.close(fd)

    def _give(self, fd: int) -> bool:
        """Write what the program takes without waiting; return whether that was all."""
        try:
            self.waiting = self.waiting[os.write(fd, self.waiting) :]
        except BlockingIOError:
            return False
        except BrokenPipeError:
            return True  # it ended without reading everything; its status tells why
        return not self.waiting

    def _wait(self) -> int:
        try:
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:
            return 0  # as in `subprocess`: who ignores SIGCHLD does not learn it


def start(program: str, args: Sequence[str], env: Mapping[str, str], feed: bytes) -> Running:
    """Start a program, with `feed` as its input; raises OSError."""
    inputs = _pipe() if feed else (_above(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)), None)
    out, err = _pipe(), _pipe()
    actions = [(os.POSIX_SPAWN_DUP2, inputs[0], 0)]
    actions += [(os.POSIX_SPAWN_DUP2, pipe[1], k) for k, pipe in enumerate((out, err), 1)]
    ours = [fd for fd in (out[0], err[0], inputs[1]) if fd is not None]
    try:
        pid = os.posix_spawn(
            program, [program, *args], env, file_actions=actions, setsigdef=_DEFAULT_SIGNALS
        )
    except BaseException:
        for fd in ours:
            os.close(fd)
        raise
    finally:
        for fd in (inputs[0], out[1], err[1]):
            os.close(fd)
    if inputs[1] is not None:
        os.set_blocking(inputs[1], False)
    return Running(pid, memoryview(feed), inputs[1], {out[0]: [], err[0]: []})


def _pipe() -> tuple[int, int]:
    read, write = os.pipe()
    return _above(read), _above(write)


def _above(fd: int) -> int:
    """Move a descriptor out of the way of the three that the program is given."""
    if fd > 2:
        return fd
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return moved
