from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_trace.errors import ChunkDamaged, StoreNotWritable
from flor_trace.store import files, framing, reader
from flor_trace.store.check import fsck
from flor_trace.store.encoding import blocks_of, equal_blocks, keys_for, parts, raw
from flor_trace.store.framing import (
    BLOCK,
    HEADER_SIZE,
    KEY_SIZE,
    Base,
    Header,
    Key,
    address_of,
    header_for,
    key_for,
    key_of,
    parse_header,
    references,
    references_length,
    unframe,
)
from flor_trace.store.layout import Store, open_store
from flor_trace.store.packs import LARGEST_WHOLE, PackReader, PackWriter
from flor_trace.types import Address

NOISE = random.Random(0).randbytes(16 << 20)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store", create=True)


def as_base(data: bytes) -> Base:
    return Base(key_for(memoryview(data)), memoryview(data))


def chunks(store: Store) -> dict[Key, tuple[Header, bytes]]:
    """What all packs hold."""
    found = {}
    for path in store.packs.glob("*.pack"):
        data = path.read_bytes()
        position = 16
        while position < len(data):
            header = parse_header(data[position : position + HEADER_SIZE])
            end = position + HEADER_SIZE + header.stored_length
            found[header.key] = (header, data[position + HEADER_SIZE : end])
            position = end
    return found


def codec_of(store: Store, address: Address) -> int:
    return chunks(store)[key_of(address)][0].codec


def overwritten(data: bytes, at: int, length: int, seed: int) -> bytes:
    """A ring buffer of which a stretch is new."""
    new = random.Random(seed).randbytes(length)
    buffer = bytearray(data)
    for n in range(0, length, 4096):
        place = (at + n) % len(data)
        piece = new[n : n + 4096][: len(data) - place]
        buffer[place : place + len(piece)] = piece
    return bytes(buffer)


def costs(store: Store, versions: list[bytes], **more: bool) -> list[int]:
    """What each version adds to a store, which then gives all of them back."""
    writer = PackWriter(store, "run")
    sizes, base = [], None
    addresses = []
    for data in versions:
        before = writer.bytes_written
        addresses.append(writer.put(data, base=base, **more))
        base = as_base(data)
        sizes.append(writer.bytes_written - before)
    writer.close()
    with PackReader(store) as opened:
        assert [opened.get(each) for each in addresses] == versions
    return sizes


class TestRingBuffers:
    def versions(self, size: int, count: int = 6) -> list[bytes]:
        versions = [NOISE[:size]]
        for n in range(count - 1):
            versions.append(overwritten(versions[-1], n * size // 20, size // 20, n + 1))
        return versions

    def test_a_large_one_costs_about_what_changed_from_the_second_version_on(
        self, store: Store
    ) -> None:
        size = 12 << 20
        sizes = costs(store, self.versions(size))

        # 5 % changed: at most two blocks more, one on average, and the keys.
        assert max(sizes[1:]) <= size // 20 + 2 * BLOCK + 4096
        assert sum(sizes[1:]) <= (size // 20 + BLOCK) * len(sizes[1:])

    @pytest.mark.parametrize("raw_only", [False, True])
    def test_a_smaller_one_costs_that_from_the_third_version_on(
        self, store: Store, raw_only: bool
    ) -> None:
        size = 5 << 20
        sizes = costs(store, self.versions(size), raw=raw_only)

        assert sizes[1] <= 1.01 * size
        assert max(sizes[2:]) <= size // 20 + 2 * BLOCK + 4096
        assert sum(sizes[2:]) <= (size // 20 + BLOCK) * len(sizes[2:])

    def test_one_of_floats_is_stored_as_differences_first(self, store: Store) -> None:
        generator = np.random.default_rng(0)
        held = generator.standard_normal(1_250_000).astype("<f4")
        versions = []
        for n in range(12):
            held[n * 60_000 : (n + 1) * 60_000] = generator.standard_normal(60_000)
            versions.append(held.tobytes())
        sizes = costs(store, versions)

        assert all(each < 0.15 * len(versions[0]) for each in sizes[1:9])
        assert sizes[9] > 0.5 * len(versions[0])  # as deep as it may be: parts from there on
        assert all(each < 0.3 * len(versions[0]) for each in sizes[10:])

    def test_noise_that_is_all_new_is_one_chunk(self, store: Store) -> None:
        writer = PackWriter(store, "run")
        old, new = NOISE[: 4 << 20], NOISE[5 << 20 : 9 << 20]
        writer.put(old)
        address = writer.put(new, base=as_base(old))
        writer.close()

        assert codec_of(store, address) == framing.RAW


class TestGrowing:
    def test_an_array_that_grows_costs_what_is_added(self, store: Store) -> None:
        versions = [NOISE[: n * 700_000] for n in range(2, 20)]
        sizes = costs(store, versions)

        late = sizes[8:]
        assert max(late) <= 700_000 + BLOCK + 4096
        assert sum(late) <= 1.8 * 700_000 * len(late)

    def test_one_that_shrinks_is_all_there(self, store: Store) -> None:
        versions = [NOISE[: 9 << 20], NOISE[: (6 << 20) + 5], NOISE[: 2 << 20], NOISE[:100]]
        sizes = costs(store, versions)

        assert sizes[1] < 1000 and sizes[2] < 1000


class TestLargeData:
    def test_they_are_in_parts_so_that_memory_is_bounded(self, store: Store) -> None:
        data = np.random.default_rng(0).standard_normal((9 << 20) // 4).astype("<f4").tobytes()
        assert len(data) > LARGEST_WHOLE
        writer = PackWriter(store, "run")
        address = writer.put(data)
        writer.close()
        header, body = chunks(store)[key_of(address)]

        assert header.codec == framing.PARTS
        assert len(body) == 9 * KEY_SIZE
        assert {chunks(store)[key][0].codec for key in references(header, body)} == {framing.PLANES}
        assert PackReader(store).get(address) == data
        assert PackReader(store).has(address)

    def test_blocks_that_changed_a_little_are_differences_with_a_bounded_depth(
        self, store: Store
    ) -> None:
        held = np.random.default_rng(0).standard_normal((9 << 20) // 4).astype("<f4")
        versions = []
        for n in range(11):
            held[n::50] *= 1.001
            versions.append(held.tobytes())
        sizes = costs(store, versions)

        depths = [body[0] for header, body in chunks(store).values() if header.codec == 3]
        assert max(depths) == framing.DEEPEST
        assert all(each < 0.35 * len(versions[0]) for each in (*sizes[1:9], sizes[10]))
        assert sizes[9] > 0.5 * len(versions[0])

    def test_raw_is_one_raw_chunk(self, store: Store) -> None:
        writer = PackWriter(store, "run")
        address = writer.put(NOISE[: 9 << 20], raw=True)
        writer.close()

        assert codec_of(store, address) == framing.RAW

    def test_equal_blocks_within_one_are_stored_once(self, store: Store) -> None:
        sizes = costs(store, [NOISE[:BLOCK] * 12])
        assert sizes[0] < 1.01 * BLOCK

    def test_blocks_of_finished_packs_of_others_are_not_written_again(self, store: Store) -> None:
        first = PackWriter(store, "a")
        first.put(NOISE[: 9 << 20])
        first.close()
        second = PackWriter(store, "b")
        address = second.put(NOISE[: 10 << 20])
        second.close()

        assert second.bytes_written < 1.01 * BLOCK
        assert PackReader(store).get(address) == NOISE[: 10 << 20]

    def test_blocks_of_unfinished_packs_of_others_are(self, store: Store) -> None:
        first, second = PackWriter(store, "a"), PackWriter(store, "b")
        first.put(NOISE[: 9 << 20])
        first.flush()
        second.put(NOISE[: 10 << 20])

        assert second.bytes_written > 10 * BLOCK
        first.close()
        second.close()


def test_after_a_failed_flush_no_block_is_taken_for_stored(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = NOISE[: 9 << 20]
    writer = PackWriter(store, "run")
    writer.put(old)

    def failing(fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(files, "sync_data", failing)
        with pytest.raises(StoreNotWritable):
            writer.flush()
    (store.packs / "run.pack").unlink()
    new = overwritten(old, 0, 4096, 1)
    address = writer.put(new, base=as_base(old))
    writer.close()

    assert PackReader(store).get(address) == new


def test_a_full_disk_in_the_middle_of_the_parts_loses_nothing_else(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = PackWriter(store, "run")
    small = writer.put(b"small" * 100)
    write_all, calls = files.write_all, []

    def full(fd: int, pieces: list[bytes]) -> None:
        calls.append(fd)
        if len(calls) == 4:
            write_all(fd, [pieces[0], pieces[1][:1000]])
            raise OSError(28, "No space left on device")
        write_all(fd, pieces)

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_all", full)
        with pytest.raises(StoreNotWritable, match="No space"):
            writer.put(NOISE[: 9 << 20])
    address = writer.put(NOISE[: 9 << 20])
    writer.close()

    with PackReader(store) as opened:
        assert opened.get(address) == NOISE[: 9 << 20]
        assert opened.get(small) == b"small" * 100
    assert fsck(store, data=True) == []


@given(seed=st.integers(0, 1000), changes=st.lists(st.integers(0, 4 << 20), max_size=5))
@settings(max_examples=15, deadline=None)
def test_equal_blocks_are_those_that_are_equal(seed: int, changes: list[int]) -> None:
    old = NOISE[: (4 << 20) + seed]
    new = bytearray(old)
    for at in changes:
        new[min(at, len(new) - 1)] ^= 1
    pairs = zip(blocks_of(memoryview(old)), blocks_of(memoryview(bytes(new))), strict=True)

    assert equal_blocks(memoryview(new), memoryview(old)) == sum(a == b for a, b in pairs)


# -- hostile stored bytes ----------------------------------------------------------------------


def write_pack(store: Store, name: str, data: list[tuple[bytes, bytes]]) -> None:
    beginning = b"\x89flor_pack\r\n\2\0\0\0"
    (store.packs / f"{name}.pack").write_bytes(beginning + b"".join(map(b"".join, data)))


def chunk_of_parts(key: Key, body: bytes) -> tuple[bytes, bytes]:
    return header_for(framing.PARTS, key, len(body)), body


def test_references_of_parts_are_all_of_them(store: Store) -> None:
    data = memoryview(NOISE[: 2 * BLOCK + 7])
    keys = keys_for(blocks_of(data))
    found = parts(key_for(data), keys)
    header, body = parse_header(found.header), b"".join(found.body)

    assert references_length(header) == 3 * KEY_SIZE
    assert references(header, body) == keys
    with pytest.raises(ChunkDamaged, match="48 bytes are there instead of 72"):
        references(header, body[:48])


def test_chunks_that_need_no_others_have_no_references() -> None:
    found = raw(memoryview(b"abc"), key_for(memoryview(b"abc")))
    header = parse_header(found.header)

    assert (references_length(header), references(header, b"")) == (0, [])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_another_number_of_parts_than_the_length_asks_for_is_refused(count: int) -> None:
    key = Key(bytes(16) + (2 * BLOCK).to_bytes(8, "little"))
    with pytest.raises(ChunkDamaged, match="cannot name the parts"):
        parse_header(header_for(framing.PARTS, key, count * KEY_SIZE))


@pytest.mark.parametrize("lengths", [(BLOCK, 6), (BLOCK - 1, 8), (7, BLOCK), (1 << 62, 7)])
def test_parts_of_other_lengths_are_refused(lengths: tuple[int, int]) -> None:
    key = Key(bytes(16) + (BLOCK + 7).to_bytes(8, "little"))
    body = b"".join(bytes(16) + struct.pack("<Q", length) for length in lengths)
    header = parse_header(header_for(framing.PARTS, key, len(body)))

    with pytest.raises(ChunkDamaged, match=r"part \d has \d+ bytes"):
        unframe(header, body, lambda key, left: bytes(framing.length_of(key)))


def test_a_chunk_that_is_its_own_part_is_refused(store: Store) -> None:
    block = NOISE[:BLOCK]
    key = key_for(memoryview(block))
    write_pack(store, "run", [chunk_of_parts(key, key)])

    with pytest.raises(ChunkDamaged, match="needs too many others"):
        PackReader(store).get(address_of(key))


def test_right_parts_in_the_wrong_order_are_found_out_by_the_digest(store: Store) -> None:
    data = memoryview(NOISE[: 2 * BLOCK])
    keys = keys_for(blocks_of(data))
    written = [raw(block, key) for block, key in zip(blocks_of(data), keys, strict=True)]
    wrong = parts(key_for(data), keys[::-1])
    write_pack(store, "run", [(w.header, b"".join(w.body)) for w in (*written, wrong)])

    with pytest.raises(ChunkDamaged, match="digest"):
        PackReader(store).get(address_of(key_for(data)))


def test_a_missing_or_damaged_part_is_named(store: Store) -> None:
    writer = PackWriter(store, "run")
    data = NOISE[: 9 << 20]
    address = writer.put(data)
    writer.close()
    pack = store.packs / "run.pack"
    whole = bytearray(pack.read_bytes())
    whole[3 * (BLOCK + HEADER_SIZE) + 1000] ^= 1
    pack.write_bytes(whole)
    part = address_of(keys_for(blocks_of(memoryview(data)))[3])

    with pytest.raises(ChunkDamaged, match=part) as damage:
        PackReader(store).get(address)
    assert address in str(damage.value)
    assert str(damage.value).count("Restore the pack") == 1
    assert {problem.address for problem in fsck(store, data=True)} == {address, part}


def test_more_bytes_than_there_is_memory_are_refused_before_anything_is_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a thousand million parts would be, in a file with holes."""
    count = 10**9
    key = Key(bytes(16) + (count * BLOCK).to_bytes(8, "little"))
    path = store.packs / "run.pack"
    write_pack(store, "run", [(header_for(framing.PARTS, key, count * KEY_SIZE), b"")])
    with path.open("r+b") as file:
        file.truncate(16 + HEADER_SIZE + count * KEY_SIZE)
    with PackReader(store) as opened:
        read: list[int] = []
        pread = files.read_exactly
        monkeypatch.setattr(
            files,
            "read_exactly",
            lambda fd, length, at: (read.append(length), pread(fd, length, at))[1],
        )
        with pytest.raises(ChunkDamaged, match="more bytes than this machine has memory"):
            opened.get(address_of(key))
    assert max(read) < 1 << 20


def test_the_memory_of_the_machine_is_known() -> None:
    assert 1 << 28 < reader.memory_bytes() < 1 << 63


# -- packs of the first format -----------------------------------------------------------------

#: A pack as the first release wrote it: b"abc" as it is, and 1000 zeros in a zstd frame.
FIRST_FORMAT = bytes.fromhex(
    "89666c6f725f7061636b0d0a0100000089464c63010000000300000000000000030000000000000006b05ab6"
    "733a618578af5f94892f3950d88ef1a361626389464c6301010000e80300000000000013000000000000003f"
    "b94aea6d09b97224c1ea6074dd588c996624d528b52ffd60e8024d00001000000100e32b8005"
)


def test_a_pack_of_the_first_format_is_read(store: Store) -> None:
    (store.packs / "old.pack").write_bytes(FIRST_FORMAT)

    with PackReader(store) as opened:
        assert opened.get(Address("3-06b05ab6733a618578af5f94892f3950")) == b"abc"
        assert opened.get(address_of(key_for(memoryview(bytes(1000))))) == bytes(1000)
    assert fsck(store, data=True) == []


def test_new_packs_are_of_the_second_format_and_a_third_is_refused(store: Store) -> None:
    writer = PackWriter(store, "run")
    address = writer.put(b"abc")
    writer.close()
    pack = store.packs / "run.pack"
    data = pack.read_bytes()
    assert data[:16] == b"\x89flor_pack\r\n\2\0\0\0"

    (store.packs / "run.idx").unlink()
    pack.write_bytes(data[:12] + b"\3" + data[13:])
    assert not PackReader(store).has(address)
    assert [problem.text for problem in fsck(store, data=True)] == [
        "it does not begin as a pack of this format does"
    ]
