"""What a remote place says about the runs that are complete there.

The layout is described in ``docs/formats.md``, section Remote.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from flor_trace._speedups import digest
from flor_trace.errors import ChunkMissing, RemoteError
from flor_trace.remote.drive import Drive
from flor_trace.store.framing import key_of
from flor_trace.store.index import is_name
from flor_trace.types import Address, RunId

FORMAT = 1
STAMP = "remote.json"
PACKS = "packs"
LISTED = "listed"

_STAMP = b'{"format": 1, "about": "runs of flor_trace; the format is in docs/formats.md"}\n'
_LARGEST = 1 << 20
_DIGEST_NAME = re.compile(r"[0-9a-f]{32}")
_RUN_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,79}", re.ASCII)
#: The files in a run's directory that belong to the record of the run.
_RUN_FILE = re.compile(
    r"journal|replay-[1-9][0-9]{0,8}\.journal|(dropped|repaired)(-[1-9][0-9]{0,5})?"
)


@dataclass(frozen=True, slots=True)
class Listing:
    """A run as it was pushed once."""

    runid: RunId
    name: str | None
    tstamp: str
    files: dict[str, Address]  #: of its directory; each is a chunk
    needs: Address  #: of the list of chunks: those that the run needs, one key after the other
    packs: tuple[str, ...]  #: that hold all of these
    code: Address | None = None  #: of a git pack with the run's commit, and nothing before it
    vid: str | None = None


def is_run_file(name: str) -> bool:
    """Return whether a file in the directory of a run belongs to its record."""
    return _RUN_FILE.fullmatch(name) is not None


def run_files(directory: Path) -> list[Path]:
    """Return the files of a run that belong to its record, in order."""
    return sorted(file for file in directory.iterdir() if is_run_file(file.name))


def check_stamp(drive: Drive, *, may_be_new: bool = False, make: bool = False) -> None:
    """Raise `RemoteError` unless the place has this format, or may have it and is empty.

    With `make` it gets it.
    """
    found = drive.files("")
    said = drive.read(STAMP, _LARGEST) if STAMP in found else b""
    # One that was cut off when the first push was interrupted is as good as none.
    if not _STAMP.startswith(said):
        _check_format(drive, said)
    elif said != _STAMP and not may_be_new:
        raise RemoteError(
            f"{drive.url} holds no runs: there is no whole {STAMP}. Check the address, or "
            f"`flor_trace push` some there first."
        )
    elif said != _STAMP:
        others = sorted({*found, *drive.folders("")} - {PACKS, LISTED, STAMP})
        if others:
            raise RemoteError(
                f"{drive.url} holds other things, such as {others[0]!r}; nothing was changed. "
                f"Name an empty or new place."
            )
        if make:
            drive.write(STAMP, _STAMP)


def _check_format(drive: Drive, stamp: bytes) -> None:
    try:
        known = json.loads(stamp)["format"]
    except (ValueError, LookupError, TypeError, RecursionError):
        known = None
    if known != FORMAT:
        raise RemoteError(
            f"{drive.url} has format {known!r}, and this release of flor_trace reads {FORMAT}; "
            f"use the release that made it, or another place"
        )


def listed_runs(drive: Drive) -> list[RunId]:
    """Return the runs of which there is a listing, in order."""
    return [RunId(name) for name in drive.folders(LISTED) if _RUN_NAME.fullmatch(name)]


def read_listings(drive: Drive, runid: RunId) -> list[Listing]:
    """Return what was pushed of a run, in no particular order.

    Listings that are not whole, which an interrupted push may have left, count for nothing.
    """
    folder = f"{LISTED}/{runid}"
    names = [
        f"{folder}/{name}"
        for name, length in drive.files(folder).items()
        if _DIGEST_NAME.fullmatch(name) and length <= _LARGEST
    ]
    found = drive.read_all(sorted(names), _LARGEST)
    return [
        parsed
        for name, data in found.items()
        if digest(data).hex() == name.rpartition("/")[2]
        and (parsed := _parse(runid, data)) is not None
    ]


def write_listing(drive: Drive, listing: Listing) -> bool:
    """Say that a run is complete at the place; return whether that was news."""
    document = {
        "format": FORMAT,
        "run": listing.runid,
        "name": listing.name,
        "tstamp": listing.tstamp,
        "files": listing.files,
        "needs": listing.needs,
        "packs": sorted(listing.packs),
        "code": listing.code,
        "vid": listing.vid,
    }
    data = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
    if len(data) > _LARGEST:
        raise RemoteError(f"run {listing.runid} is in too many packs to be listed; pull it first")
    folder, name = f"{LISTED}/{listing.runid}", digest(data).hex()
    if name in drive.files(folder) and drive.read(f"{folder}/{name}", _LARGEST) == data:
        return False
    drive.write(f"{folder}/{name}", data)
    return True


def _parse(runid: RunId, data: bytes) -> Listing | None:
    """Return what a listing says, or None if it makes no sense: somebody else may have made it."""
    try:
        said = json.loads(data)
        if said["format"] != FORMAT or said["run"] != runid:
            return None
        files = {str(name): _address(at) for name, at in said["files"].items()}
        packs = tuple(map(str, said["packs"]))
        code = None if said["code"] is None else _address(said["code"])
        vid = None if said["vid"] is None else str(said["vid"])
        name = None if said["name"] is None else str(said["name"])
        needs, tstamp = _address(said["needs"]), str(said["tstamp"])
    except (ChunkMissing, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    if "journal" not in files or not _all_valid(files, packs):
        return None
    return Listing(runid, name, tstamp, files, needs, packs, code, vid)


def _all_valid(files: Iterable[str], packs: Iterable[str]) -> bool:
    return all(map(is_run_file, files)) and all(map(is_name, packs))


def _address(text: object) -> Address:
    key_of(address := Address(str(text)))
    return address
