"""The one hash function of this package: XXH3-128 of some bytes."""

from __future__ import annotations

import xxhash

from flor_trace.types import Digest


def digest(data: bytes | bytearray | memoryview) -> Digest:
    """Return the digest of the bytes in canonical (big-endian) order."""
    return Digest(xxhash.xxh3_128_digest(data))
