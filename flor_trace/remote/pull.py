"""Bring runs with all that they need from a remote place."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flor_trace.errors import (
    ChunkDamaged,
    ChunkMissing,
    FlorTraceError,
    RemoteError,
    SnapshotError,
)
from flor_trace.history.amendments import run_frames
from flor_trace.history.journal import read_journal
from flor_trace.remote.code import unpack_commit
from flor_trace.remote.drive import Drive
from flor_trace.remote.listings import Listing, check_stamp, read_listings, run_files
from flor_trace.remote.merge import merge
from flor_trace.remote.packs import PART_BYTES, RemotePacks, damaged
from flor_trace.remote.push import whole_frames
from flor_trace.remote.reach import needed_by
from flor_trace.store import files
from flor_trace.store.framing import KEY_SIZE, Key, address_of, key_of, parse_header, unframe
from flor_trace.store.layout import Store
from flor_trace.store.packs import PackWriter
from flor_trace.store.reader import PackReader, memory_bytes
from flor_trace.types import Address, RunId

#: So often chunks are looked for again that were removed while they were not yet listed here.
_ATTEMPTS = 3


@dataclass(slots=True)
class Pulled:
    """What became of one run."""

    runid: RunId
    chunks: int = 0  #: that were not here
    bytes: int = 0  #: of these
    news: bool = False  #: whether the store did not have the run like this
    problem: str | None = None  #: why it was not pulled
    notes: list[str] = field(default_factory=list)


def pull(
    store: Store, drive: Drive, runids: Sequence[RunId], branch: str, *, dry_run: bool = False
) -> Iterator[Pulled]:
    """Pull runs, one after the other, and give what became of each.

    Nothing is believed: every chunk has the digest by which it is named, and the run appears in
    the store when all that its journals name is there, and durable.

    Args:
        store: where to.
        drive: where from.
        runids: which.
        branch: of a repository of the store, if one has to be made for the code.
        dry_run: only say what is missing here.

    Raises:
        RemoteError: if the place cannot be used.

    """
    check_stamp(drive)
    for runid in runids:
        pulled = Pulled(runid)
        try:
            with PackReader(store) as reader:
                _Pull(store, drive, reader, pulled, branch).run(dry_run=dry_run)
        except FlorTraceError as error:
            pulled.problem = str(error)
        yield pulled


class _Pull:
    """One run on its way."""

    def __init__(
        self, store: Store, drive: Drive, reader: PackReader, pulled: Pulled, branch: str
    ) -> None:
        self._store = store
        self._drive = drive
        self._reader = reader
        self._pulled = pulled
        self._branch = branch
        self._directory = store.run_dir(pulled.runid)
        reader.prefer(pulled.runid)

    def run(self, *, dry_run: bool) -> None:
        listings = read_listings(self._drive, self._pulled.runid)
        if not listings:
            raise RemoteError(
                f"{self._drive.url} has no whole listing of run {self._pulled.runid}; push it again"
            )
        copies, needs = [], []
        for listing in listings:
            packs = RemotePacks(self._drive, listing.packs)
            copies.append({name: self._content(packs, at) for name, at in listing.files.items()})
            keys = _keys(self._content(packs, listing.needs))
            needs.append((packs, keys))
            self._bring(packs, keys, dry_run=dry_run)
        changed = merge(self._here(), copies)
        self._pulled.news = bool(changed)
        if dry_run:
            return
        vid = self._check(changed)
        self._publish(changed)
        self._hold(needs)
        for listing in listings:
            self._bring_code(listing, vid)

    def _here(self) -> dict[str, bytes]:
        if not self._directory.is_dir():
            return {}
        return {file.name: whole_frames(file) for file in run_files(self._directory)}

    def _content(self, packs: RemotePacks, address: Address) -> bytes:
        """Return the contents of a chunk that needs no other."""
        key = key_of(address)
        ((head, body),) = packs.read([key])
        return self._verified(key, head, body)

    def _verified(self, key: Key, head: bytes, body: bytes) -> bytes:
        try:
            header = parse_header(head)
            if header.key != key:
                raise ChunkDamaged(f"another chunk, {header.address}, is there")
            if header.raw_length > memory_bytes():
                raise ChunkDamaged("it has more bytes than this machine has memory")
            return unframe(header, body, self._reader.fetch)
        except ChunkDamaged as error:
            raise damaged(self._drive.url, key, error) from error

    def _bring(self, packs: RemotePacks, keys: Sequence[Key], *, dry_run: bool) -> None:
        """Store the chunks that are not here; each comes after those it needs."""
        missing = [key for key in keys if not self._is_here(key)]
        self._pulled.chunks += len(missing)
        if dry_run:
            self._pulled.bytes += sum(map(packs.length_of, missing))
            return
        writer = PackWriter(self._store, self._pulled.runid, limit=PART_BYTES)
        try:
            since = 0
            for key, (head, body) in zip(missing, packs.read(missing), strict=True):
                self._verified(key, head, body)
                writer.copy(head, body)
                self._pulled.bytes += len(head) + len(body)
                since += len(body)
                if since >= PART_BYTES:
                    writer.flush()
                    since = 0
        finally:
            # Also when it was interrupted: what has come so far need not come again.
            writer.close()

    def _is_here(self, key: Key) -> bool:
        """Whether the store has a chunk for good; it is read, as nobody else may have since."""
        try:
            return self._reader.is_durable(address_of(key)) and bool(self._reader.stored(key))
        except (ChunkMissing, ChunkDamaged):
            return False

    def _check(self, changed: dict[str, bytes]) -> str | None:
        """Raise an error unless the files are of this run and all that they name is here.

        Returns the commit of the run's code.
        """
        with tempfile.TemporaryDirectory(prefix="pull-", dir=self._store.cache) as name:
            directory = Path(name)
            for each, data in {**self._here(), **changed}.items():
                (directory / each).write_bytes(data)
            frames = list(run_frames(directory))
            for replay in run_files(directory):
                if replay.name.startswith("replay-"):
                    frames += (frame for _, frame in read_journal(replay))
        if not frames or frames[0].get("t") != "run":
            raise RemoteError(f"what {self._drive.url} has is no journal of a run")
        if frames[0].get("runid") != self._pulled.runid:
            raise RemoteError(
                f"{self._drive.url} has run {frames[0].get('runid')!r} under the name "
                f"{self._pulled.runid}; nothing was taken"
            )
        try:
            needed_by(frames, self._reader)
        except (ChunkMissing, ChunkDamaged) as error:
            raise RemoteError(
                f"{self._drive.url} lists the run {self._pulled.runid}, but not all of it is "
                f"there: {error}"
            ) from error
        vid = frames[0].get("vid")
        return None if vid is None else str(vid)

    def _publish(self, changed: dict[str, bytes]) -> None:
        """Make the run appear, its own journal last."""
        try:
            self._directory.mkdir(mode=files.DIRECTORY_MODE, exist_ok=True)
            for name in sorted(changed, key=lambda name: name == "journal"):
                files.publish(self._directory / name, [changed[name]])
            files.sync_directory(self._directory)
            files.sync_directory(self._directory.parent)
        except OSError as error:
            raise RemoteError(
                f"The run {self._pulled.runid} could not be written to {self._directory}: "
                f"{error.strerror or error}. Free some space or allow writing there, and pull again"
            ) from error

    def _hold(self, needs: Sequence[tuple[RemotePacks, Sequence[Key]]]) -> None:
        """Bring again what `gc` removed before the run was listed; from now on it keeps it."""
        for _ in range(_ATTEMPTS):
            self._reader.refresh()
            before = self._pulled.chunks
            for packs, keys in needs:
                self._bring(packs, keys, dry_run=False)
            if self._pulled.chunks == before:
                return
        raise RemoteError(f"chunks of {self._pulled.runid} vanish as they are pulled; pull again")

    def _bring_code(self, listing: Listing, vid: str | None) -> None:
        if listing.code is None or vid is None or listing.vid != vid:
            return
        packs = RemotePacks(self._drive, listing.packs)
        try:
            unpack_commit(self._store.code, vid, self._content(packs, listing.code), self._branch)
        except SnapshotError as error:
            self._pulled.notes.append(f"its code was not taken: {error}")


def _keys(data: bytes) -> list[Key]:
    if len(data) % KEY_SIZE:
        raise RemoteError("the list of chunks of a run is cut off; push it again")
    return [Key(data[at : at + KEY_SIZE]) for at in range(0, len(data), KEY_SIZE)]
