from __future__ import annotations

import pytest

from flor_trace.errors import ChunkDamaged, ChunkMissing
from flor_trace.store.layout import open_store
from flor_trace.store.packs import PackReader, PackWriter
from flor_trace.store.salvage import salvage

CHUNKS = [bytes([n]) * 5000 for n in range(5)]


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store", create=True)


def written(store, *, index=False):
    """The addresses of the chunks in a pack, and the pack."""
    writer = PackWriter(store, "one")
    addresses = [writer.put(chunk) for chunk in CHUNKS]
    writer.close()
    if not index:
        (store.packs / "one.idx").unlink()
    return addresses, store.packs / "one.pack"


def flip(pack, offset):
    data = bytearray(pack.read_bytes())
    data[offset] ^= 0xFF
    pack.write_bytes(data)


def begins(pack):
    """Where the chunks begin."""
    data, found, at = pack.read_bytes(), [], -1
    while (at := data.find(b"\x89FLc", at + 1)) >= 0:
        found.append(at)
    return found


def readable(reader, addresses):
    found = []
    for n, address in enumerate(addresses):
        try:
            assert reader.get(address) == CHUNKS[n]
            found.append(n)
        except (ChunkMissing, ChunkDamaged):
            pass
    return found


@pytest.mark.parametrize(
    ("damaged", "before", "after"), [(1, [0], [0, 2, 3, 4]), (0, [], [1, 2, 3, 4])]
)
def test_what_follows_a_damaged_header_is_found(store, damaged, before, after):
    addresses, pack = written(store)
    flip(pack, begins(pack)[damaged] + 20)

    reader = PackReader(store)
    assert readable(reader, addresses) == before
    salvage(store, reader)
    assert readable(reader, addresses) == after


def test_all_chunks_of_a_pack_whose_beginning_is_damaged_are_found(store):
    addresses, pack = written(store)
    flip(pack, 3)

    reader = PackReader(store)
    assert readable(reader, addresses) == []
    salvage(store, reader)
    assert readable(reader, addresses) == [0, 1, 2, 3, 4]


def test_damaged_bytes_of_a_chunk_stay_damaged(store):
    addresses, pack = written(store, index=True)
    flip(pack, begins(pack)[2] + 50)

    reader = PackReader(store)
    salvage(store, reader)
    with pytest.raises(ChunkDamaged):
        reader.get(addresses[2])


def test_a_writer_that_trusts_nothing_stores_again_and_the_good_copy_is_read(store):
    addresses, pack = written(store, index=True)
    flip(pack, begins(pack)[2] + 50)

    trusting = PackWriter(store, "two")
    trusting.put(CHUNKS[2])
    trusting.close()
    assert not (store.packs / "two.pack").exists()
    wary = PackWriter(store, "three", dedup=0)
    assert wary.put(CHUNKS[2]) == addresses[2]
    wary.close()

    assert PackReader(store).get(addresses[2]) == CHUNKS[2]
