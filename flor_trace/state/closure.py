"""Which chunks a checkpoint needs, and which of them cannot be read."""

from __future__ import annotations

from collections.abc import Container
from typing import Protocol

from flor_trace.errors import ChunkDamaged, ChunkMissing, StoreFormatError
from flor_trace.state.encode import decode
from flor_trace.types import Address, ChunkReader


def chunks_of(manifest: bytes) -> list[Address]:
    """Return the chunks that a manifest names; raise `StoreFormatError` if it is none."""
    return [Address(str(leaf)) for leaf in decode(manifest).leaves]


class Soundness:
    """Knows of chunks whether they can be read, because it has read each of them once."""

    def __init__(self, reader: ChunkReader) -> None:
        self._reader = reader
        self._found: dict[Address, str | None] = {}

    def trouble(self, address: Address) -> str | None:
        """Return why a chunk cannot be read, or None."""
        if address not in self._found:
            self._found[address] = self._read(address)
        return self._found[address]

    def lacking(self, manifest: Address) -> dict[Address, str]:
        """Return what cannot be read of a manifest and the chunks it names, each with the reason.

        If it is the manifest itself, nobody knows which chunks it names.
        """
        why = self.trouble(manifest)
        if why is not None:
            return {manifest: why}
        try:
            names = chunks_of(self._reader.get(manifest))
        except StoreFormatError as error:
            return {manifest: str(error)}
        return {each: why for each in names if (why := self.trouble(each)) is not None}

    def _read(self, address: Address) -> str | None:
        """Return why a chunk cannot be read."""
        try:
            self._reader.get(address)
        except (ChunkMissing, ChunkDamaged) as error:
            return str(error)
        return None


class Listing(Protocol):
    """Reads chunks, and knows which there are."""

    def get(self, address: Address) -> bytes:
        """See `ChunkReader`."""

    def has(self, address: Address) -> bool:
        """Return whether a pack lists the chunk; its bytes are not looked at."""


class Presence(Soundness):
    """Knows of chunks whether packs list them; reads manifests, and those that are `suspect`."""

    def __init__(self, listing: Listing, suspect: Container[Address]) -> None:
        super().__init__(listing)
        self._listing = listing
        self._suspect = suspect

    def lacking(self, manifest: Address) -> dict[Address, str]:
        """Return what is not there of a manifest and the chunks it names, each with the reason."""
        try:
            names = chunks_of(self._reader.get(manifest))
        except (ChunkMissing, ChunkDamaged, StoreFormatError) as error:
            return {manifest: str(error)}
        return {each: why for each in names if (why := self.trouble(each)) is not None}

    def _read(self, address: Address) -> str | None:
        if address in self._suspect:
            return super()._read(address)
        return None if self._listing.has(address) else f"no pack lists the chunk {address}"
