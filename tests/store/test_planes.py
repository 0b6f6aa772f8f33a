from __future__ import annotations

import random
import struct
from array import array
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_trace.errors import ChunkDamaged
from flor_trace.store import framing, planes
from flor_trace.store.encoding import Encoder, Numbers, frame
from flor_trace.store.framing import HEADER_SIZE, Key, header_for, key_for, parse_header, unframe
from flor_trace.store.zstd import Compressors

NOISE = random.Random(0).randbytes(8 << 20)
ZEROS = zstandard.ZstdCompressor().compress(bytes(2048))


def floats(count: int, kind: str = "<f4") -> bytes:
    generator = np.random.default_rng(count)
    return (generator.standard_normal(count) * 0.02).astype(kind).tobytes()


def bfloats(count: int) -> bytes:
    return np.frombuffer(floats(count), "<u2")[1::2].tobytes()


def read(data: bytes) -> bytes:
    return unframe(parse_header(data), data[HEADER_SIZE:])


def codec_of(data: bytes) -> int:
    return parse_header(frame(data)).codec


def width_of(data: bytes) -> int:
    return Numbers.among(memoryview(data)).width


@pytest.mark.parametrize("size", [8192, 8195, 65_537, (1 << 20) - 1, 1 << 20, (1 << 20) + 3])
@pytest.mark.parametrize("kind", ["<f4", "<f8", "bf16", "<i8"])
def test_numbers_of_every_width_come_back(size: int, kind: str) -> None:
    data = {
        "<f4": lambda: floats(size),
        "<f8": lambda: floats(size, "<f8"),
        "bf16": lambda: bfloats(size),
        "<i8": lambda: np.random.default_rng(0).integers(0, 50_000, size).astype("<i8").tobytes(),
    }[kind]()[:size]
    whole = frame(data)

    assert parse_header(whole).codec == framing.PLANES
    assert whole[HEADER_SIZE] == {"<f4": 4, "<f8": 8, "bf16": 2, "<i8": 8}[kind]
    assert read(whole) == data


def test_pieces_and_the_bytes_after_the_last_item_come_back() -> None:
    data = floats(600_000) + b"abc"

    assert len(data) > 2 * planes.PIECE
    assert read(frame(data)) == data


@given(data=st.binary(max_size=300), width=st.sampled_from(planes.WIDTHS), based=st.booleans())
@settings(deadline=None)
def test_join_undoes_split_for_any_bytes(data: bytes, width: int, based: bool) -> None:
    base = random.Random(len(data)).randbytes(len(data)) if based else None
    splitter = planes.Splitter(Compressors())
    stored = splitter.split(memoryview(data), width, memoryview(base) if base else base)

    assert planes.join(memoryview(b"".join(stored)), len(data), base) == data


def test_states_of_models_become_smaller_than_by_zstd_alone() -> None:
    for data, least in ((floats(300_000), 1.18), (bfloats(300_000), 1.45)):
        ours = len(frame(data))
        assert len(data) / ours > least
        assert ours < 0.97 * len(zstandard.ZstdCompressor(level=3).compress(data))


def test_what_is_no_numbers_is_stored_as_ever() -> None:
    text = b"".join(b"step %d loss %f\n" % (n, n**0.5) for n in range(20_000))
    assert (width_of(text), codec_of(text)) == (0, framing.ZSTD)
    noise = NOISE[:300_000]
    assert (width_of(noise), codec_of(noise)) == (0, framing.RAW)
    source = Path(__file__).read_bytes() * 3
    assert (width_of(source), codec_of(source)) == (0, framing.ZSTD)


def test_few_bytes_are_stored_as_ever() -> None:
    assert codec_of(floats(2047)) in (framing.RAW, framing.ZSTD)
    assert codec_of(floats(2048)) == framing.PLANES


def test_the_width_is_that_of_the_numbers() -> None:
    assert width_of(floats(100_000)) == 4
    assert width_of(floats(100_000, "<f8")) == 8
    assert width_of(bfloats(100_000)) == 2
    assert width_of(floats(100_000, "<f2")) == 2
    assert width_of(array("q", range(0, 700_000, 7)).tobytes()) == 8
    # Bytes before the first item: the planes are others, but as good.
    assert width_of(b"x" + floats(100_000)) == 4


def test_repetitions_in_a_plane_are_found() -> None:
    row = np.random.default_rng(1).integers(0, 8, 1999).astype("<f4")
    data = np.tile(row, (240, 1)).tobytes()

    assert codec_of(data) == framing.PLANES
    assert read(frame(data)) == data
    assert len(data) / len(frame(data)) > 200


def test_data_that_turn_out_full_are_left_as_they_are() -> None:
    """Planes of 7.4 bits per byte seem to be worth it, but for what their codes take."""
    high = (np.random.default_rng(0).random(4096) * 170).astype("u1")
    numbers = high.astype("<u2") * 256 + np.frombuffer(NOISE[:4096], "u1")
    data = numbers.astype("<u2").tobytes()

    assert width_of(data) == 2
    assert codec_of(data) == framing.RAW


def test_an_encoder_can_be_used_again_for_longer_and_shorter_data() -> None:
    encoder = Encoder()
    for count in (5000, 400_000, 3000, 2048, 50_000):
        data = memoryview(floats(count))
        found = encoder.encode(data, key_for(data), Numbers.among(data), None, 0)
        assert found.length == sum(map(len, found.body))
        assert unframe(parse_header(found.header), b"".join(found.body)) == data


# -- hostile stored bytes ----------------------------------------------------------------------


def forged(raw_length: int, body: bytes, digest: bytes = bytes(16)) -> bytes:
    key = Key(digest + raw_length.to_bytes(8, "little"))
    return header_for(framing.PLANES, key, len(body)) + body


def table(width: int, *lengths: int) -> bytes:
    return struct.pack(f"<B{len(lengths)}I", width, *lengths)


@pytest.mark.parametrize("width", [0, 1, 3, 5, 16, 255])
def test_a_width_that_cannot_be_is_refused(width: int) -> None:
    with pytest.raises(ChunkDamaged, match="cannot be of numbers"):
        read(forged(8192, table(width, *[1] * width) + b"a" * width))


def test_no_stored_bytes_at_all_are_refused() -> None:
    with pytest.raises(ChunkDamaged, match="cannot be of numbers"):
        read(forged(8192, b""))


def test_a_table_that_is_cut_off_is_refused() -> None:
    with pytest.raises(ChunkDamaged, match="table of its planes is cut off"):
        read(forged(8192, table(4, 1, 1, 1)))


@pytest.mark.parametrize("lengths", [(5, 4), (4, 3), (4, 4, 1), (1 << 31, 1 << 31)])
def test_lengths_that_do_not_add_up_are_refused(lengths: tuple[int, ...]) -> None:
    with pytest.raises(ChunkDamaged, match=r"lengths than their table says"):
        read(forged(64, table(2, *lengths) + b"a" * (8 if len(lengths) == 2 else 5)))


def test_a_plane_that_takes_more_than_it_has_is_refused() -> None:
    with pytest.raises(ChunkDamaged, match="a plane of 2048 bytes takes 2049"):
        read(forged(4096, table(2, len(ZEROS), 2049) + ZEROS + b"a" * 2049))


def compressed(raw: int, wanted: int) -> bytes:
    body = zstandard.ZstdCompressor().compress(bytes(raw))
    return body + b"\0" * (wanted - len(body))


def test_bytes_after_a_frame_are_refused() -> None:
    with pytest.raises(ChunkDamaged):
        read(forged(2048, table(2, 40, 1024) + compressed(1024, 40) + b"a" * 1024))


def test_a_frame_of_another_length_is_refused() -> None:
    body = zstandard.ZstdCompressor().compress(bytes(5000))
    with pytest.raises(ChunkDamaged, match="announces 5000 bytes instead of 1024"):
        read(forged(2048, table(2, len(body), 1024) + body + b"a" * 1024))


def test_planes_with_another_digest_are_refused() -> None:
    with pytest.raises(ChunkDamaged, match="digest"):
        read(forged(4096, table(2, len(ZEROS), len(ZEROS)) + ZEROS + ZEROS))


def test_a_few_bytes_cannot_ask_for_much_memory() -> None:
    with pytest.raises(ChunkDamaged, match="cannot be of numbers"):
        read(forged(1 << 40, table(2, 1, 1) + b"a"))


@given(st.integers(min_value=0), st.integers(1, 255))
@settings(deadline=None, max_examples=300)
def test_damaged_planes_are_an_error_or_change_nothing(where: int, flip: int) -> None:
    whole = bytearray(SMALL)
    whole[HEADER_SIZE + where % (len(whole) - HEADER_SIZE)] ^= flip
    try:
        assert read(bytes(whole)) == read(SMALL)
    except ChunkDamaged:
        return


SMALL = frame(floats(2500) + b"z")
