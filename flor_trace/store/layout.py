"""The directory of a store: its parts, its format number, who may use it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from pathlib import Path

from flor_trace.errors import StoreFormatError, StoreNotWritable, UsageError
from flor_trace.records import dataclass
from flor_trace.store import files
from flor_trace.types import RunId

FORMAT = 1

_STAMP = "store.json"
_IGNORE = ".gitignore"
_DIRECTORIES = ("packs", "runs", "cache")
_LARGEST_STAMP = 4096
_RUN_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,79}", re.ASCII)

#: The files at the top, also while `files.publish` is writing them.
_OWN_FILE = re.compile(rf"({re.escape(_IGNORE)}|{re.escape(_STAMP)})(\.[0-9a-f]{{10}}\.tmp)?")

_ELSEWHERE = "choose another place with `--store DIR`"


@dataclass(frozen=True, slots=True)
class Store:
    """Where the parts of an opened store are; holds no open files and may be shared freely."""

    path: Path  #: its directory

    @property
    def packs(self) -> Path:
        """The directory of packs."""
        return self.path / "packs"

    @property
    def runs(self) -> Path:
        """The directory with one directory for each run."""
        return self.path / "runs"

    @property
    def catalog(self) -> Path:
        """The SQLite file over all journals."""
        return self.path / "catalog.sqlite"

    @property
    def cache(self) -> Path:
        """The directory of rewritten bytecode."""
        return self.path / "cache"

    @property
    def code(self) -> Path:
        """The git repository that keeps snapshots of projects that are in none."""
        return self.path / "code.git"

    @property
    def snapshot_stat(self) -> Path:
        """The file that remembers what the last snapshot saw."""
        return self.path / "snapshot-stat.json"

    def run_dir(self, runid: RunId) -> Path:
        """Return the directory of a run; raise `UsageError` for what cannot be a run's id."""
        if not _RUN_NAME.fullmatch(runid):
            raise UsageError(
                f"{runid[:80]!r} is not the id of a run (letters, digits, '-' and '_'); "
                f"`flor_trace ls` lists them"
            )
        return self.runs / runid


def open_store(path: Path, *, create: bool) -> Store:
    """Return the store in a directory, making it first if `create` is set and nothing is there.

    With `create`, the store is also known to be writable. Raises `StoreNotWritable` if it cannot be
    made or written, `StoreFormatError` if there is none, if the directory is something else, if
    it has another format, or if anybody may write it and it is not ours.
    """
    try:
        if create:
            _make(path)
        _check(path)
    except OSError as error:
        raise _not_usable(path, error, create=create) from error
    if create and not all(
        os.access(path / part, os.W_OK | os.X_OK) for part in (".", *_DIRECTORIES)
    ):
        raise StoreNotWritable(
            f"The store {path} cannot be written: its directories do not allow it. "
            f"Make them writable, or {_ELSEWHERE}."
        )
    return Store(path)


def _make(path: Path) -> None:
    """Make what is missing of a store, unless the directory already holds something else."""
    stamp = path / _STAMP
    if stamp.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=files.DIRECTORY_MODE)
    _refuse_foreign(path)
    for part in _DIRECTORIES:
        (path / part).mkdir(mode=files.DIRECTORY_MODE, exist_ok=True)
    files.publish(path / _IGNORE, [b"*\n"])
    about = {"format": FORMAT, "about": "store of flor_trace; the format is in docs/formats.md"}
    # Last: a directory with this file is a whole store, whenever the making was cut off.
    files.publish(stamp, [json.dumps(about).encode() + b"\n"])
    files.sync_directory(path)
    files.sync_directory(path.parent)


def _refuse_foreign(path: Path) -> None:
    """Raise `StoreFormatError` if a directory without a stamp holds anything we did not put there.

    A store whose making was cut off, or is under way in another process, holds only our names.
    """
    for name in sorted(os.listdir(path)):
        if name not in _DIRECTORIES and not _OWN_FILE.fullmatch(name):
            raise StoreFormatError(
                f"{path} is not a store of flor_trace but holds other files, such as {name!r}. "
                f"Nothing was changed; name an empty or new directory with `--store DIR`."
            )


def _check(path: Path) -> None:
    """Raise `StoreFormatError` unless the directory is a store of this format that we may trust."""
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise StoreFormatError(f"{path} is a file, but a store is a directory; {_ELSEWHERE}.")
    if status.st_uid != os.geteuid() and status.st_mode & stat.S_IWOTH:
        raise StoreFormatError(
            f"The store {path} belongs to another user (uid {status.st_uid}) and everybody may "
            f"write it, so nothing in it can be trusted. Copy it to a directory of your own, or "
            f"{_ELSEWHERE}."
        )
    found = _read_format(path)
    if found != FORMAT:
        raise StoreFormatError(
            f"The store {path} has format {found!r}; this release of flor_trace reads format "
            f"{FORMAT}. Use the release that made it, or {_ELSEWHERE}."
        )
    for part in _DIRECTORIES:
        if not stat.S_ISDIR((path / part).lstat().st_mode):
            raise StoreFormatError(
                f"{path / part} is not a directory of the store itself (links are not followed). "
                f"Put it back, or {_ELSEWHERE}."
            )


def _read_format(path: Path) -> object:
    """Return the format number in the stamp; raise `StoreFormatError` if there is no stamp."""
    try:
        with files.reading(path / _STAMP) as fd:
            about = json.loads(files.read_exactly(fd, _LARGEST_STAMP, 0))
        return about["format"]
    except FileNotFoundError as error:
        raise StoreFormatError(
            f"{path} is not a store of flor_trace: it has no {_STAMP}. Record a run first, or "
            f"say where the store is with `--store DIR`."
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreFormatError(
            f"{path / _STAMP} cannot be read ({type(error).__name__}). If the rest of the store is "
            f'whole, a file with {{"format": {FORMAT}}} in its place opens it again.'
        ) from error


def _not_usable(path: Path, error: OSError, *, create: bool) -> StoreNotWritable | StoreFormatError:
    """Return the error to raise for what the operating system said."""
    where = f" ({error.filename})" if error.filename not in (None, str(path)) else ""
    reason = f"{error.strerror or error}{where}"
    if create:
        return StoreNotWritable(
            f"The store {path} cannot be made or written: {reason}. "
            f"Free the way or the space, or {_ELSEWHERE}."
        )
    if isinstance(error, FileNotFoundError) and not path.exists():
        return StoreFormatError(
            f"There is no store at {path}. Record a run first (`python -m flor_trace script.py`), "
            f"or say where the store is with `--store DIR`."
        )
    return StoreFormatError(
        f"The store {path} cannot be read: {reason}. Put right what is missing "
        f"or forbidden, or {_ELSEWHERE}."
    )
