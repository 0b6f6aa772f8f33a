from __future__ import annotations

import os
import random
import struct
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from flor_trace.errors import ChunkDamaged
from flor_trace.store import framing
from flor_trace.store.encoding import frame
from flor_trace.store.framing import HEADER_SIZE, parse_header, unframe


def read(data: bytes) -> bytes:
    header = parse_header(data)
    return unframe(header, data[HEADER_SIZE:])


def forged(codec: int, raw_length: int, body: bytes, contents: bytes = bytes(16)) -> bytes:
    """A chunk whose header is sound but says what we like."""
    fields = struct.pack("<4sBBHQQ16s", framing.MAGIC, 1, codec, 0, raw_length, len(body), contents)
    return fields + struct.pack("<I", zlib.crc32(fields)) + body


compressible = st.builds(
    lambda unit, times: unit * times, st.binary(max_size=20), st.integers(0, 300)
)


@given(st.binary(max_size=2000) | compressible)
def test_unframe_undoes_frame(data: bytes) -> None:
    assert read(frame(data)) == data


@given(st.binary(max_size=200) | compressible, st.integers(min_value=0))
def test_a_flipped_bit_is_an_error_unless_zstd_has_no_use_for_it(data: bytes, where: int) -> None:
    whole = bytearray(frame(data))
    where %= len(whole) * 8
    whole[where // 8] ^= 1 << where % 8

    try:
        assert read(bytes(whole)) == data
    except ChunkDamaged:
        return
    assert where >= HEADER_SIZE * 8
    assert parse_header(bytes(whole)).codec == framing.ZSTD


@given(st.binary(min_size=1, max_size=200) | compressible, st.data())
def test_a_cut_chunk_is_an_error(data: bytes, draw: st.DataObject) -> None:
    whole = frame(data)
    length = draw.draw(st.integers(0, len(whole) - 1))

    with pytest.raises(ChunkDamaged):
        read(whole[:length])


def test_bytes_after_the_chunk_are_an_error() -> None:
    with pytest.raises(ChunkDamaged, match="bytes are there"):
        read(frame(b"abc" * 100) + b"\0")


def test_no_two_layouts_of_the_header_have_the_same_size() -> None:
    assert HEADER_SIZE == 44
    assert frame(b"abc")[:4] == b"\x89FLc"
    assert frame(b"abc")[HEADER_SIZE:] == b"abc"


def codec_of(data: bytes) -> int:
    return parse_header(frame(data)).codec


def test_bytes_are_compressed_only_where_that_pays() -> None:
    text = b"step %d loss %f\n" % (7, 0.25) * 20_000
    noise = os.urandom(300_000)

    assert codec_of(text) == framing.ZSTD
    assert codec_of(noise) == framing.RAW
    assert codec_of(b"a" * 10) == framing.RAW
    assert len(frame(noise)) == len(noise) + HEADER_SIZE
    assert len(frame(text)) < len(text) / 50


def test_a_sample_that_misleads_costs_space_but_no_bytes() -> None:
    mixed = os.urandom(200_000) + bytes(200_000)
    repeated = os.urandom(5000) * 100

    assert read(frame(mixed)) == mixed
    assert len(frame(mixed)) < 0.6 * len(mixed)
    assert read(frame(repeated)) == repeated


def test_floats_of_a_model_become_smaller() -> None:
    generator = random.Random(0)
    weights = struct.pack("<100000f", *(generator.gauss(0, 0.02) for _ in range(100_000)))

    assert len(frame(weights)) < 0.94 * len(weights)
    assert read(frame(weights)) == weights


class TestHostileChunks:
    def test_a_frame_that_announces_more_than_the_header_is_refused(self) -> None:
        body = zstandard.ZstdCompressor().compress(bytes(1 << 20))

        with pytest.raises(ChunkDamaged, match="announces 1048576 bytes instead of 100"):
            read(forged(framing.ZSTD, 100, body + b"\0" * 0))

    def test_a_bomb_is_refused_before_memory_is_taken(self) -> None:
        content_size = struct.pack("<Q", 1 << 62)
        body = b"\x28\xb5\x2f\xfd" + b"\xe0" + content_size + b"\x01\x00\x00"

        with pytest.raises(ChunkDamaged):
            read(forged(framing.ZSTD, 1 << 62, body))

    def test_a_frame_without_its_size_is_refused(self) -> None:
        body = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(100))

        with pytest.raises(ChunkDamaged, match="announces"):
            read(forged(framing.ZSTD, 100, body))

    def test_a_second_frame_is_refused(self) -> None:
        one = zstandard.ZstdCompressor().compress(bytes(1000))

        with pytest.raises(ChunkDamaged):
            read(forged(framing.ZSTD, 1000, one + one))

    def test_contents_with_another_digest_are_refused(self) -> None:
        with pytest.raises(ChunkDamaged, match="digest"):
            read(forged(framing.RAW, 3, b"abc"))

    def test_no_zstd_at_all_is_refused(self) -> None:
        with pytest.raises(ChunkDamaged, match="cannot be decompressed"):
            read(forged(framing.ZSTD, 100, b"nonsense"))

    def test_a_stored_length_above_the_raw_length_is_refused(self) -> None:
        with pytest.raises(ChunkDamaged, match="cannot be"):
            read(forged(framing.RAW, 2, b"abc"))

    def test_an_unknown_codec_or_type_is_refused(self) -> None:
        with pytest.raises(ChunkDamaged, match="codec 7"):
            read(forged(7, 3, b"abc"))
