"""A store without files: for tests, and for states that need not outlive the process."""

from __future__ import annotations

import threading

from flor_trace.errors import ChunkMissing
from flor_trace.store.framing import Base, Buffer, Key, address_of, flat, key_for, key_of
from flor_trace.types import Address


class MemoryStore:
    """Writer and reader in one; any thread may call any method at any time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chunks: dict[Key, bytes] = {}
        self._written = 0

    @property
    def bytes_written(self) -> int:
        """How many bytes all new chunks have taken so far."""
        return self._written

    def put(
        self, data: Buffer, *, key: Key | None = None, base: Base | None = None, raw: bool = False
    ) -> Address:
        """Keep a copy of contiguous bytes unless there is one, and return their address."""
        view = flat(data)
        key = key_for(view) if key is None else key
        with self._lock:
            if key not in self._chunks:
                self._chunks[key] = bytes(view)
                self._written += len(view)
        return address_of(key)

    def get(self, address: Address) -> bytes:
        """Return the bytes; raise `ChunkMissing`."""
        try:
            return self._chunks[key_of(address)]
        except KeyError as error:
            raise ChunkMissing(
                f"The chunk {address} was never put into this store in memory; put it first."
            ) from error

    def has(self, address: Address) -> bool:
        """Return whether the chunk was put."""
        return key_of(address) in self._chunks

    def flush(self) -> None:
        """Do nothing: memory is as durable as it will get."""

    def refresh(self) -> None:
        """Do nothing: there are no other writers to hear of."""

    def close(self) -> None:
        """Do nothing: the chunks stay readable."""
