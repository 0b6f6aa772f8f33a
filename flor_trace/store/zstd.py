"""Zstandard frames, written in whichever of two ways suits the data, and read with care."""

from __future__ import annotations

import threading

import zstandard

from flor_trace.errors import ChunkDamaged

#: Compression must save this share of the bytes, or they stay as they are: reading them back costs
#: a decompression each time.
WORTH = 0.03
_SMALLEST = 64
_SAMPLE_SLICES, _SAMPLE_SLICE = 16, 4096
_PLANE_SLICES, _PLANE_SLICE = 2, 2048
#: Below so many bits per byte, repetitions may be worth more than the shortest codes for bytes; but
#: looking for them costs twice the time, and must save this share.
_REPETITIVE, _WORTH_LOOKING = 3.0, 0.3
#: A frame is refused if it wants more memory than this to look back.
_LARGEST_WINDOW = 1 << 27
#: A zstd block of at least 4 bytes gives at most 128 KiB.
LARGEST_RATIO = 1 << 15


class Compressors:
    """What compresses; costly to make, and for one thread at a time."""

    def __init__(self) -> None:
        self._level_1 = zstandard.ZstdCompressor(level=1)
        # Spends nothing on finding matches: as small as level 1 on arrays of floats, and faster.
        self._entropy_only = zstandard.ZstdCompressor(
            compression_params=zstandard.ZstdCompressionParameters(
                window_log=18,
                hash_log=6,
                chain_log=6,
                search_log=1,
                min_match=7,
                target_length=0,
                strategy=zstandard.STRATEGY_FAST,
                write_content_size=1,
            )
        )

    def compress(self, data: memoryview) -> bytes | None:
        """Return a frame with the data, or None where that does not pay."""
        if len(data) < _SMALLEST:
            return None
        compressor = self._level_1
        if len(data) > 2 * _SAMPLE_SLICES * _SAMPLE_SLICE:
            sample = _sample(data, _SAMPLE_SLICES, _SAMPLE_SLICE)
            plain, matched = self._both(sample)
            if min(plain, matched) > (1 - WORTH) * len(sample):
                return None
            if plain <= (1 + WORTH) * matched:
                compressor = self._entropy_only
        body = compressor.compress(data)
        return body if len(body) <= (1 - WORTH) * len(data) else None

    def compress_plane(self, plane: memoryview, bits: float) -> bytes:
        """Return a frame with a plane that has so many bits per byte."""
        compressor = self._entropy_only
        if bits < _REPETITIVE:
            plain, matched = self._both(_sample(plane, _PLANE_SLICES, _PLANE_SLICE))
            if matched < (1 - _WORTH_LOOKING) * plain:
                compressor = self._level_1
        return compressor.compress(plane)

    def _both(self, sample: bytes) -> tuple[int, int]:
        """Return to how many bytes each way compresses the sample."""
        return len(self._entropy_only.compress(sample)), len(self._level_1.compress(sample))


def _sample(data: memoryview, count: int, length: int) -> bytes:
    """Return slices from all over the data, so that one unusual stretch does not decide."""
    step = max(0, len(data) - length) // (count - 1)
    return b"".join(data[i * step : i * step + length] for i in range(count if step else 1))


class _Decompressors(threading.local):
    """One for each thread: they cannot be shared."""

    def __init__(self) -> None:
        self.any = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)


_decompressors = _Decompressors()


def decompress(body: bytes | memoryview, raw_length: int) -> bytes:
    """Return what one zstd frame holds, if that is `raw_length` bytes; raise `ChunkDamaged`."""
    try:
        # python-zstandard allocates what the frame asks for, so the frame is asked first.
        announced = zstandard.get_frame_parameters(body).content_size
        if announced != raw_length or raw_length > len(body) * LARGEST_RATIO:
            raise ChunkDamaged(f"its frame announces {announced} bytes instead of {raw_length}")
        return _decompressors.any.decompress(body, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ChunkDamaged(f"it cannot be decompressed ({error})") from error
