"""Finding what is damaged in the packs of a store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from flor_trace.errors import ChunkDamaged
from flor_trace.store import files
from flor_trace.store.framing import HEADER_SIZE, MAGIC, Fetch, address_of, parse_header, unframe
from flor_trace.store.index import (
    INDEX_SUFFIX,
    PACK_HEADER,
    PACK_HEADERS,
    PACK_SUFFIX,
    Entry,
    Index,
    begins_well,
    pack_names,
    read_index,
    walk,
)
from flor_trace.store.layout import Store
from flor_trace.store.reader import PackReader
from flor_trace.types import Address

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it was written."""

    pack: str  #: name of the file, in the directory of packs
    text: str
    offset: int | None = None  #: in the pack
    address: Address | None = None  #: of the chunk that cannot be read
    #: False for what a killed process leaves behind, which loses nothing that was promised.
    serious: bool = True

    def __str__(self) -> str:
        at = "" if self.offset is None else f" at byte {self.offset}"
        chunk = "" if self.address is None else f", chunk {self.address}"
        return f"{self.pack}{at}{chunk}: {self.text}"


def fsck(store: Store, data: bool) -> list[Problem]:
    """Return what is wrong with the packs: their structure and, with `data`, every byte of theirs.

    Raises OSError if the packs cannot be listed.
    """
    names = pack_names(store.packs)
    with PackReader(store) as reader:
        fetch = reader.fetch if data else None
        problems = [problem for name in names for problem in _check(store, name, fetch)]
    for name in sorted({*pack_names(store.packs, INDEX_SUFFIX)}.difference(names)):
        index = read_index(store.packs, name)
        count = len(index.entries) if index else "unknown"
        problems.append(Problem(name + PACK_SUFFIX, f"it is gone (number of its chunks: {count})"))
    return problems


def _check(store: Store, name: str, fetch: Fetch | None) -> Iterator[Problem]:
    """Give the problems of one pack: of every byte if there is a way to get other chunks."""
    file = name + PACK_SUFFIX
    try:
        with files.reading(store.packs / file) as fd:
            length = os.fstat(fd).st_size
            if not begins_well(fd):
                yield _bad_beginning(file, os.pread(fd, len(PACK_HEADER), 0))
                return
            index = read_index(store.packs, name)
            if index is None and (store.packs / (name + INDEX_SUFFIX)).exists():
                yield Problem(name + INDEX_SUFFIX, f"it is damaged; {file} is read without it")
            yield from _check_structure(file, fd, length, index)
            if fetch is not None:
                yield from _check_data(file, fd, length, index, fetch)
    except OSError as error:
        yield Problem(file, f"it cannot be read ({error.strerror or error})")


def _bad_beginning(file: str, beginning: bytes) -> Problem:
    if any(header.startswith(beginning) for header in PACK_HEADERS):
        return Problem(file, "its writer was killed before the first chunk", 0, serious=False)
    return Problem(file, "it does not begin as a pack of this format does", 0)


def _check_structure(file: str, fd: int, length: int, index: Index | None) -> Iterator[Problem]:
    """Give the problems of headers: chunks that the index has and the pack has not, and gaps."""
    found = set()
    end = len(PACK_HEADER)
    for entry in walk(fd, end, length):
        found.add(entry)
        end = entry.end
    for entry in index.entries if index else ():
        if entry not in found:
            yield Problem(file, "no sound header of it is there", entry.offset, _name(entry))
    if end == length:
        return
    after = next_chunk(fd, end, length)
    if after is not None:
        yield Problem(file, f"damaged from there to byte {after}, where sound chunks follow", end)
    elif _is_unfinished(fd, end):
        left = f"{length - end} bytes of a chunk that was not written to its end"
        yield Problem(file, left, end, serious=False)
    else:
        yield Problem(file, "damaged from there to the end", end)


def _check_data(
    file: str, fd: int, length: int, index: Index | None, fetch: Fetch
) -> Iterator[Problem]:
    """Give the problems of contents: the chunks that cannot be read back."""
    entries = index.entries if index else walk(fd, len(PACK_HEADER), length)
    for entry in entries:
        try:
            header = parse_header(files.read_exactly(fd, HEADER_SIZE, entry.offset))
        except ChunkDamaged:
            continue  # the structure has been found to be wrong there
        try:
            body = files.read_exactly(fd, header.stored_length, entry.offset + HEADER_SIZE)
            unframe(header, body, fetch)
        except ChunkDamaged as error:
            yield Problem(file, str(error), entry.offset, _name(entry))


def next_chunk(fd: int, start: int, end: int) -> int | None:
    """Return where the next sound header after `start` is, or None."""
    position = start
    while position < end:
        block = files.read_exactly(fd, _BLOCK, position)
        at = block.find(MAGIC)
        while at >= 0:
            if position + at > start and _is_header(fd, position + at):
                return position + at
            at = block.find(MAGIC, at + 1)
        if len(block) < _BLOCK:
            return None
        position += _BLOCK - len(MAGIC) + 1
    return None


def _is_unfinished(fd: int, offset: int) -> bool:
    """Return whether what is there can be what a killed writer or a power loss leaves."""
    header = files.read_exactly(fd, HEADER_SIZE, offset)
    return len(header) < HEADER_SIZE or not any(header) or _is_header(fd, offset)


def _is_header(fd: int, offset: int) -> bool:
    try:
        parse_header(files.read_exactly(fd, HEADER_SIZE, offset))
    except ChunkDamaged:
        return False
    return True


def _name(entry: Entry) -> Address:
    return address_of(entry.key)
