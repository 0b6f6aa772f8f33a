from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_trace.errors import ChunkDamaged, ChunkMissing, StoreNotWritable
from flor_trace.store import encoding, files, framing
from flor_trace.store.check import fsck
from flor_trace.store.encoding import Encoded, Encoder, Numbers
from flor_trace.store.framing import (
    DEEPEST,
    HEADER_SIZE,
    Base,
    Header,
    Key,
    address_of,
    base_of,
    key_for,
    key_of,
    parse_header,
    references,
    references_length,
    unframe,
)
from flor_trace.store.layout import Store, open_store
from flor_trace.store.lineage import Lineage
from flor_trace.store.packs import PackReader, PackWriter
from flor_trace.types import Address


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store", create=True)


def floats(count: int, seed: int = 0) -> bytes:
    return (np.random.default_rng(seed).standard_normal(count) * 0.02).astype("<f4").tobytes()


def moved(data: bytes, seed: int, share: float = 0.05) -> bytes:
    """Numbers of which so many have changed a little."""
    generator = np.random.default_rng(seed)
    numbers = np.frombuffer(data, "<f4").copy()
    numbers[generator.random(len(numbers)) < share] *= 1.001
    return numbers.tobytes()


def chain(first: bytes, length: int) -> list[bytes]:
    versions = [first]
    for seed in range(length - 1):
        versions.append(moved(versions[-1], seed))
    return versions


def as_base(data: bytes) -> Base:
    return Base(key_for(memoryview(data)), memoryview(data))


def put_chain(writer: PackWriter, versions: list[bytes]) -> list[Address]:
    bases = [None, *map(as_base, versions)]
    return [writer.put(data, base=base) for data, base in zip(versions, bases, strict=False)]


def stored(store: Store, address: Address) -> tuple[Header, bytes]:
    """What a pack holds for an address."""
    key = key_of(address)
    for path in store.packs.glob("*.pack"):
        data = path.read_bytes()
        position = 16
        while position < len(data):
            header = parse_header(data[position : position + HEADER_SIZE])
            end = position + HEADER_SIZE + header.stored_length
            if header.key == key:
                return header, data[position + HEADER_SIZE : end]
            position = end
    raise AssertionError(f"{address} is in no pack")


def depth_of(store: Store, address: Address) -> int:
    header, body = stored(store, address)
    return body[0] if header.codec == framing.DIFFERENCE else 0


class TestChains:
    def test_what_changed_little_is_stored_as_a_difference(self, store: Store) -> None:
        old = floats(50_000)
        new = moved(old, 1)
        with_base, without = PackWriter(store, "a"), PackWriter(store, "b")
        addresses = put_chain(with_base, [old, new])
        without.put(old)
        without.put(new)
        with_base.close()
        without.close()

        assert stored(store, addresses[1])[0].codec == framing.DIFFERENCE
        first = stored(store, addresses[0])[0].stored_length
        assert with_base.bytes_written - first < 0.3 * (without.bytes_written - first)
        assert PackReader(store).get(addresses[1]) == new

    def test_chains_end_after_eight(self, store: Store) -> None:
        versions = chain(floats(20_000), 20)
        writer = PackWriter(store, "run")
        addresses = put_chain(writer, versions)
        writer.close()

        assert [depth_of(store, each) for each in addresses] == [n % 9 for n in range(20)]
        reader = PackReader(store)
        assert [reader.get(each) for each in addresses] == versions

    def test_what_is_no_closer_to_its_base_is_stored_by_itself(self, store: Store) -> None:
        writer = PackWriter(store, "run")
        addresses = put_chain(writer, [floats(20_000, 1), floats(20_000, 2)])
        writer.close()

        assert stored(store, addresses[1])[0].codec == framing.PLANES

    def test_a_base_that_cannot_be_used_is_left_out(self, store: Store) -> None:
        old = floats(20_000)
        for number, base in enumerate(
            (
                as_base(old),  # was never stored
                as_base(old[:-4]),  # of another length
                Base(Key(bytes(24)), memoryview(b"")),
            )
        ):
            writer = PackWriter(store, f"run-{number}")
            if number:
                writer.put(bytes(base.data))
            new = moved(old, number)
            address = writer.put(new, base=base)
            writer.close()
            assert stored(store, address)[0].codec == framing.PLANES
            assert PackReader(store).get(address) == new

    def test_a_base_of_another_run_is_left_out_as_its_depth_is_not_known(
        self, store: Store
    ) -> None:
        old = floats(20_000)
        first = PackWriter(store, "a")
        first.put(old)
        first.close()
        second = PackWriter(store, "b")
        second.put(old)
        address = second.put(moved(old, 1), base=as_base(old))
        second.close()

        assert stored(store, address)[0].codec == framing.PLANES

    def test_raw_is_raw(self, store: Store) -> None:
        old = floats(20_000)
        writer = PackWriter(store, "run")
        writer.put(old)
        address = writer.put(moved(old, 1), base=as_base(old), raw=True)
        writer.close()

        assert stored(store, address)[0].codec == framing.RAW
        assert PackReader(store).get(address) == moved(old, 1)

    def test_a_raw_chunk_can_be_a_base(self, store: Store) -> None:
        old = floats(20_000)
        writer = PackWriter(store, "run")
        writer.put(old, raw=True)
        address = writer.put(moved(old, 1), base=as_base(old))
        writer.close()

        assert depth_of(store, address) == 1
        assert PackReader(store).get(address) == moved(old, 1)

    def test_a_key_that_is_given_is_not_computed(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = floats(20_000)
        key = key_for(memoryview(data))
        monkeypatch.setattr("flor_trace.store.packs.key_for", None)
        writer = PackWriter(store, "run")

        assert writer.put(data, key=key) == address_of(key)
        writer.close()
        assert PackReader(store).get(address_of(key)) == data

    def test_a_chunk_that_is_there_is_not_written_as_a_difference(self, store: Store) -> None:
        versions = chain(floats(20_000), 2)
        writer = PackWriter(store, "run")
        put_chain(writer, versions)
        before = writer.bytes_written
        put_chain(writer, list(reversed(versions)))

        assert writer.bytes_written == before


class TestFailedFlush:
    def fail_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sync, failed = files.sync_data, []

        def failing(fd: int) -> None:
            if not failed:
                failed.append(True)
                raise OSError(5, "Input/output error")
            sync(fd)

        monkeypatch.setattr(files, "sync_data", failing)

    def test_nothing_builds_on_what_was_lost(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        versions = chain(floats(20_000), 3)
        writer = PackWriter(store, "run")
        put_chain(writer, versions[:2])
        self.fail_once(monkeypatch)
        with pytest.raises(StoreNotWritable):
            writer.flush()
        lost = store.packs / "run.pack"
        lost.unlink()

        address = writer.put(versions[2], base=as_base(versions[1]))
        writer.close()

        assert stored(store, address)[0].codec == framing.PLANES
        assert PackReader(store).get(address) == versions[2]

    def test_what_was_durable_before_can_be_built_on(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        versions = chain(floats(20_000), 3)
        writer = PackWriter(store, "run")
        writer.put(versions[0])
        writer.flush()
        writer.put(versions[1], base=as_base(versions[0]))
        self.fail_once(monkeypatch)
        with pytest.raises(StoreNotWritable):
            writer.flush()

        address = writer.put(versions[2], base=as_base(versions[0]))
        writer.close()

        assert depth_of(store, address) == 1
        assert PackReader(store).get(address) == versions[2]


def test_a_lineage_forgets_the_oldest_beyond_its_limit() -> None:
    lineage = Lineage(3)
    keys = [Key(bytes([n]) * 24) for n in range(5)]
    for n, key in enumerate(keys):
        lineage.note(key, n)

    found = [lineage.depth(Base(key, memoryview(b"")), 0) for key in keys]
    assert found == [None, None, 2, 3, 4]


@given(seed=st.integers(0, 10_000), share=st.floats(0, 1), count=st.integers(2048, 6000))
@settings(max_examples=25, deadline=None)
def test_any_difference_is_undone(seed: int, share: float, count: int) -> None:
    old = floats(count, seed)
    new = memoryview(moved(old, seed, share))
    base = as_base(old)
    found = Encoder().encode(new, key_for(new), Numbers.among(new), base, 0)

    assert read(found, {base.key: old}) == new


def read(found: Encoded, others: dict[Key, bytes]) -> bytes:
    return unframe(parse_header(found.header), b"".join(found.body), lambda key, _: others[key])


# -- hostile stored bytes ----------------------------------------------------------------------

OLD = floats(4096)
NEW = moved(OLD, 1)


def difference(depth: int = 1, key: Key | None = None) -> tuple[Header, bytes]:
    view = memoryview(NEW)
    found = Encoder().encode(view, key_for(view), Numbers.among(view), as_base(OLD), 0)
    assert parse_header(found.header).codec == framing.DIFFERENCE
    body = b"".join(found.body)
    base = key or as_base(OLD).key
    return parse_header(found.header), base_of(depth, base) + body[25:]


def test_references_of_a_difference_need_only_its_beginning() -> None:
    header, body = difference()

    assert references_length(header) == 25
    assert references(header, body[:25]) == [as_base(OLD).key]
    assert references(header, body) == [as_base(OLD).key]
    with pytest.raises(ChunkDamaged, match="does not say from what"):
        references(header, body[:24])


@pytest.mark.parametrize("depth", [0, DEEPEST + 1, 255])
def test_a_depth_that_cannot_be_is_refused(depth: int) -> None:
    with pytest.raises(ChunkDamaged, match="cannot be a difference"):
        unframe(*difference(depth), lambda key, left: OLD)


def test_a_base_of_another_length_is_refused() -> None:
    other = as_base(OLD[:-4]).key
    with pytest.raises(ChunkDamaged, match="cannot be a difference"):
        unframe(*difference(key=other), lambda key, left: OLD[:-4])


def test_another_base_than_the_right_one_is_found_out_by_the_digest() -> None:
    with pytest.raises(ChunkDamaged, match="digest"):
        unframe(*difference(), lambda key, left: NEW)


def test_without_others_at_hand_a_difference_cannot_be_read() -> None:
    with pytest.raises(ChunkDamaged, match="not at hand"):
        unframe(*difference())


def write_pack(store: Store, name: str, chunks: list[Encoded]) -> None:
    data = b"\x89flor_pack\r\n\2\0\0\0"
    (store.packs / f"{name}.pack").write_bytes(
        data + b"".join(chunk.header + b"".join(chunk.body) for chunk in chunks)
    )


def forged(key: Key, depth: int, base: Key, rest: bytes = b"") -> Encoded:
    body = base_of(depth, base) + (rest or difference()[1][25:])
    return Encoded(framing.header_for(framing.DIFFERENCE, key, len(body)), [body], len(body), depth)


def test_a_cycle_is_refused(store: Store) -> None:
    one, two = (Key(bytes([n]) * 16 + as_base(OLD).key[16:]) for n in (1, 2))
    write_pack(store, "run", [forged(one, 8, two), forged(two, 8, one)])

    with pytest.raises(ChunkDamaged, match="needs too many others"):
        PackReader(store).get(address_of(one))


def test_a_chunk_that_needs_itself_is_refused(store: Store) -> None:
    one = key_for(memoryview(NEW))
    write_pack(store, "run", [forged(one, 1, one)])

    with pytest.raises(ChunkDamaged, match="needs too many others"):
        PackReader(store).get(address_of(one))


def links(count: int) -> tuple[list[Key], list[bytes], list[Encoded]]:
    """A chain of differences, each of which says that it needs one other chunk."""
    versions = chain(OLD, count)
    keys = [key_for(memoryview(each)) for each in versions]
    found = [encoding.raw(memoryview(OLD), keys[0])]
    for data, old in zip(versions[1:], versions, strict=False):
        view, encoder = memoryview(data), Encoder()
        one = encoder.encode(view, key_for(view), Numbers.among(view), as_base(old), 0)
        found.append(one._replace(body=[b"".join(one.body)]))
    return keys, versions, found


def test_a_chain_of_several_writers_may_be_longer_than_that_of_one(store: Store) -> None:
    keys, versions, found = links(30)
    write_pack(store, "run", found)

    assert PackReader(store).get(address_of(keys[-1])) == versions[-1]


def test_a_chain_without_end_is_refused(store: Store) -> None:
    keys, _, found = links(framing.LONGEST_CHAIN + 3)
    write_pack(store, "run", found)

    with pytest.raises(ChunkDamaged, match="needs too many others") as damage:
        PackReader(store).get(address_of(keys[-1]))
    assert len(str(damage.value)) < 1000
    assert PackReader(store).get(address_of(keys[-3]))


def test_many_copies_of_a_damaged_chain_are_each_tried_once(store: Store) -> None:
    keys, _, found = links(40)
    for name in ("a", "b", "c"):
        write_pack(store, name, found[1:])  # 3 ** 39 ways to what is not there

    with pytest.raises(ChunkDamaged, match=f"{address_of(keys[0])}, which is not there"):
        PackReader(store).get(address_of(keys[-1]))


def test_a_missing_base_is_named(store: Store) -> None:
    base = as_base(OLD).key
    write_pack(store, "run", [forged(key_for(memoryview(NEW)), 1, base)])
    reader = PackReader(store)

    with pytest.raises(ChunkDamaged, match=f"needs the chunk {address_of(base)}, which is not"):
        reader.get(address_of(key_for(memoryview(NEW))))
    with pytest.raises(ChunkMissing):
        reader.get(address_of(base))


def test_a_copy_that_needs_no_other_is_read_instead(store: Store) -> None:
    key = key_for(memoryview(NEW))
    write_pack(store, "a", [forged(key, 1, as_base(OLD).key)])
    write_pack(store, "b", [encoding.raw(memoryview(NEW), key)])

    assert PackReader(store).get(address_of(key)) == NEW


def test_fsck_reads_differences_and_tells_what_a_damaged_base_costs(store: Store) -> None:
    versions = chain(floats(20_000), 3)
    writer = PackWriter(store, "run")
    addresses = put_chain(writer, versions)
    writer.close()
    assert fsck(store, data=True) == []

    pack = store.packs / "run.pack"
    data = bytearray(pack.read_bytes())
    data[16 + HEADER_SIZE + 5000] ^= 1
    pack.write_bytes(data)

    assert [problem.address for problem in fsck(store, data=True)] == addresses
    assert fsck(store, data=False) == []
    with pytest.raises(ChunkDamaged, match="digest"):
        PackReader(store).get(addresses[2])


@given(where=st.integers(min_value=0), flip=st.integers(1, 255))
@settings(deadline=None, max_examples=200)
def test_a_damaged_difference_is_an_error_or_changes_nothing(where: int, flip: int) -> None:
    header, body = difference()
    damaged = bytearray(body)
    damaged[where % len(damaged)] ^= flip
    others = {as_base(OLD).key: OLD}
    try:
        assert unframe(header, bytes(damaged), lambda key, _: others[key]) == NEW
    except (ChunkDamaged, KeyError):
        return


def test_noise_does_not_become_a_difference() -> None:
    noise = random.Random(3).randbytes(100_000)
    view = memoryview(noise)
    found = Encoder().encode(view, key_for(view), Numbers.among(view), as_base(OLD), 0)
    assert parse_header(found.header).codec == framing.RAW
