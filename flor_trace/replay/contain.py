"""Keep what a replayed program writes inside its scratch directory."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

#: Where any program may write without changing anything of the user's.
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/shm", "/dev/pts", "/proc/self")

_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

#: Audit events that change the file system, with the positions of the paths they change.
_CHANGES = {
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.mkdir": (0,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.utime": (0,),
    "os.link": (1,),
    "os.symlink": (1,),
    "shutil.rmtree": (0,),
    "shutil.move": (0, 1),
    "shutil.copyfile": (1,),
    "sqlite3.connect": (0,),
}

#: Those that change what a link leads to, and not the link.
_FOLLOWING = ("os.truncate", "os.chmod", "os.chown", "os.utime", "sqlite3.connect")


class Containment:
    """Refuses writes outside of `allowed`; makes links to inputs private before they are written.

    Python's own file operations are stopped by an audit hook, with a message.  Where the kernel
    has Landlock, everything else in the process and its children is stopped as well.
    """

    def __init__(self, scratch: Path, allowed: tuple[Path, ...]) -> None:
        self._scratch = os.path.realpath(scratch)
        self._allowed = tuple(os.path.realpath(each) for each in (scratch, *allowed))
        self._inside = False

    def begin(self) -> str:
        """Switch containment on for the rest of the process; say how far it reaches."""
        sys.addaudithook(self._audit)
        if _landlock([*self._allowed, *filter(os.path.exists, _DEVICES)]):
            return "the whole process, by Landlock"
        return "Python's own file operations, by an audit hook"

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._inside:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = flags & _WRITE_FLAGS if isinstance(flags, int) else _writes(mode)
            if writes and not isinstance(path, int):
                self._check(path, truncates=bool(isinstance(flags, int) and flags & os.O_TRUNC))
        elif event in _CHANGES:
            for position in _CHANGES[event]:
                if position < len(arguments):
                    self._check(arguments[position], follow=event in _FOLLOWING)

    def _check(self, path: Any, *, truncates: bool = False, follow: bool = True) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        self._inside = True
        try:
            text = os.path.abspath(os.fsdecode(path))
            if follow and os.path.islink(text) and self._is_inside(os.path.dirname(text)):
                _make_private(text, keep=not truncates)
            place = text if not follow else os.path.realpath(text)
            place = os.path.join(os.path.realpath(os.path.dirname(place)), os.path.basename(place))
        finally:
            self._inside = False
        if not self._holds(place) and not place.startswith(_DEVICES):
            raise PermissionError(
                f"flor_trace replay: the program wants to change {text}, which lies outside of the "
                f"replay's own directory {self._scratch}; a replay leaves the user's files alone"
            )

    def _is_inside(self, path: str) -> bool:
        return self._holds(os.path.realpath(path))

    def _holds(self, real: str) -> bool:
        return any(real == each or real.startswith(each + os.sep) for each in self._allowed)


def _writes(mode: Any) -> bool:
    return isinstance(mode, str) and any(letter in mode for letter in "wax+")


def _make_private(link: str, *, keep: bool) -> None:
    """Replace a link to one of the user's files by a file of its own."""
    source = os.path.realpath(link)
    os.unlink(link)
    if keep and os.path.isfile(source):
        with open(source, "rb") as old, open(link, "wb") as new:
            while block := old.read(1 << 20):
                new.write(block)


# -- Landlock (Linux 5.13+): linux/landlock.h; the rights that change something ------------------

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULE_PATH_BENEATH = 1
_WRITE_FILE = 1 << 1
_CHANGE_ENTRIES = sum(1 << bit for bit in range(4, 13))  # remove and make whatever kind of entry
_MOVE = 1 << 13  # into another directory, from ABI 2 on; never possible unless it is allowed
_TRUNCATE = 1 << 14  # from ABI 3 on
_ASK_VERSION = 1
_PR_SET_NO_NEW_PRIVS = 38


class _RulesetAttribute(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def _landlock(writable: list[str]) -> bool:
    """Forbid this process and its children to write anywhere but below `writable`."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))
    files = _WRITE_FILE | (_TRUNCATE if version >= 3 else 0)
    directories = _CHANGE_ENTRIES | (_MOVE if version >= 2 else 0)
    attribute = _RulesetAttribute(files | directories)
    ruleset = libc.syscall(
        _CREATE_RULESET, ctypes.byref(attribute), ctypes.sizeof(attribute), ctypes.c_uint32(0)
    )
    if ruleset < 0:
        return False
    try:
        for path in writable:
            _allow(libc, ruleset, path, files | (directories if os.path.isdir(path) else 0))
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            return False
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)) == 0)
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _PathBeneath(rights, handle)
        libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), ctypes.c_uint32(0))
    finally:
        os.close(handle)
