"""XXH3-128 in the canonical byte order, by way of the ``xxhash`` package."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import xxhash

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def digest(buffer: ReadableBuffer, /) -> bytes:
    """Return the 16 bytes of the XXH3-128 hash (seed 0) of a C-contiguous buffer.

    Raises TypeError for what is no buffer, and the exporter's own BufferError or ValueError for
    a buffer that is not C-contiguous.
    """
    if isinstance(buffer, str):  # xxhash before 3.5 would hash its UTF-8 form
        raise TypeError("a bytes-like object is required, not 'str': encode the text first")
    result: bytes = xxhash.xxh3_128_digest(buffer)
    return result


def digest_many(buffers: Iterable[ReadableBuffer], /) -> list[bytes]:
    """Return the digest of each buffer, in order; raises what `digest` raises."""
    return [digest(buffer) for buffer in tuple(buffers)]
