"""Bring runs with all that they need to a remote place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flor_trace.errors import JournalDamaged, SnapshotError, StoreError
from flor_trace.history.amendments import run_frames
from flor_trace.history.journal import read_journal
from flor_trace.remote.code import pack_commit
from flor_trace.remote.drive import Drive
from flor_trace.remote.listings import Listing, check_stamp, run_files, write_listing
from flor_trace.remote.packs import PART_BYTES, RemotePacks
from flor_trace.remote.reach import needed_by
from flor_trace.store import files
from flor_trace.store.encoding import frame
from flor_trace.store.framing import HEADER_SIZE, Key, address_of, parse_header
from flor_trace.store.layout import Store
from flor_trace.store.reader import PackReader
from flor_trace.types import RunId


@dataclass(slots=True)
class Pushed:
    """What became of one run."""

    runid: RunId
    chunks: int = 0  #: that were not there
    bytes: int = 0  #: of these, and of all else that was not there
    news: bool = False  #: whether the place did not have the run like this
    problem: str | None = None  #: why it was not pushed
    notes: list[str] = field(default_factory=list)


def push(
    store: Store, drive: Drive, runids: Sequence[RunId], *, dry_run: bool = False
) -> Iterator[Pushed]:
    """Push runs, one after the other, and give what became of each.

    A run is listed at the place when everything that it needs is there. What an interrupted push
    has left is found by the next and not sent again.

    Raises:
        RemoteError: if the place cannot be used.

    """
    check_stamp(drive, may_be_new=True, make=not dry_run)
    packs = RemotePacks(drive)
    with PackReader(store) as reader:
        for runid in runids:
            reader.prefer(runid)
            pushed = Pushed(runid)
            try:
                _Push(store, drive, packs, reader, pushed).run(dry_run=dry_run)
            except StoreError as error:
                pushed.problem = str(error)
            yield pushed


class _Push:
    """One run on its way."""

    def __init__(
        self, store: Store, drive: Drive, packs: RemotePacks, reader: PackReader, pushed: Pushed
    ) -> None:
        self._store = store
        self._drive = drive
        self._packs = packs
        self._reader = reader
        self._pushed = pushed
        self._waiting: dict[Key, tuple[bytes, bytes]] = {}
        self._size = 0
        self._used: set[str] = set()
        self._dry_run = False

    def run(self, *, dry_run: bool) -> None:
        self._dry_run = dry_run
        directory = self._store.run_dir(self._pushed.runid)
        contents = {file.name: whole_frames(file) for file in run_files(directory)}
        needs, header = self._needs(directory)
        for key in needs:
            self._add(key)
        files_at = {name: self._own(data) for name, data in contents.items()}
        code, vid = self._code(header)
        listing = Listing(
            runid=self._pushed.runid,
            name=None if header.get("name") is None else str(header["name"]),
            tstamp=str(header.get("tstamp", "")),
            files={name: address_of(key) for name, key in files_at.items()},
            needs=address_of(self._own(b"".join(needs))),
            packs=(),
            code=None if code is None else address_of(code),
            vid=vid,
        )
        self._send()
        if self._dry_run:
            self._pushed.news = self._pushed.bytes > 0
        else:
            # Last: what is listed is there.
            listed = _with_packs(listing, self._used)
            self._pushed.news = write_listing(self._drive, listed)

    def _needs(self, directory: Path) -> tuple[list[Key], dict[str, Any]]:
        frames = list(run_frames(directory))
        for replay in run_files(directory):
            if replay.name.startswith("replay-"):
                frames += (each for _, each in read_journal(replay))
        if not frames or frames[0].get("t") != "run":
            raise JournalDamaged(
                f"The journal of run {self._pushed.runid} does not say what was run: its process "
                f"was killed at the very start. It is left out; `flor_trace gc` removes it."
            )
        return needed_by(frames, self._reader), frames[0]

    def _code(self, header: dict[str, Any]) -> tuple[Key | None, str | None]:
        """Send the code of the run, where it is to be had."""
        vid = header.get("vid")
        if vid is None:
            return None, None
        try:
            data = pack_commit((Path(str(header.get("root"))), self._store.code), str(vid))
        except SnapshotError as error:
            self._pushed.notes.append(f"its code was not sent: {error}")
            return None, str(vid)
        return self._own(data), str(vid)

    def _add(self, key: Key) -> None:
        """Send a chunk of the store unless the place has it."""
        if not self._is_there(key):
            self._take(key, *self._reader.stored(key))

    def _own(self, data: bytes) -> Key:
        """Send bytes as a chunk unless the place has it; return its key."""
        framed = frame(data)
        key = parse_header(framed).key
        if not self._is_there(key):
            self._take(key, framed[:HEADER_SIZE], framed[HEADER_SIZE:])
        return key

    def _is_there(self, key: Key) -> bool:
        pack = self._packs.pack_of(key)
        if pack is not None:
            self._used.add(pack)
        return pack is not None or key in self._waiting

    def _take(self, key: Key, header: bytes, body: bytes) -> None:
        self._waiting[key] = header, b"" if self._dry_run else body
        self._size += len(body)
        self._pushed.chunks += 1
        self._pushed.bytes += len(header) + len(body)
        if self._size >= PART_BYTES:
            self._send()

    def _send(self) -> None:
        if self._waiting and not self._dry_run:
            name = self._packs.add(self._pushed.runid, list(self._waiting.values()))
            self._used.add(name)
            self._waiting = {}
        self._size = 0


def _with_packs(listing: Listing, packs: set[str]) -> Listing:
    return Listing(
        listing.runid,
        listing.name,
        listing.tstamp,
        listing.files,
        listing.needs,
        tuple(sorted(packs)),
        listing.code,
        listing.vid,
    )


def whole_frames(file: Path) -> bytes:
    """Return the bytes of a journal up to its last whole frame; raise `JournalDamaged`."""
    end = 0
    for end, _ in read_journal(file):  # noqa: B007 - the last one counts
        pass
    with files.reading(file) as fd:
        return files.read_exactly(fd, end, 0)
