"""What every store of chunks does, whatever it keeps them in."""

from __future__ import annotations

import array
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flor_trace.errors import ChunkMissing
from flor_trace.store.layout import open_store
from flor_trace.store.memory import MemoryStore
from flor_trace.store.packs import PackReader, PackWriter
from flor_trace.types import Address

SIZES = [0, 1, 43, 63, 64, 65, 4096, 131072, 131073, 1_000_003]


@dataclass
class Pair:
    writer: PackWriter | MemoryStore
    reader: PackReader | MemoryStore


@pytest.fixture(params=["memory", "disk"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    if request.param == "memory":
        store = MemoryStore()
        yield Pair(store, store)
        return
    disk = open_store(tmp_path / "store", create=True)
    writer, reader = PackWriter(disk, "run"), PackReader(disk)
    yield Pair(writer, reader)
    writer.close()
    reader.close()


def patterns(size: int) -> list[bytes]:
    return [bytes(size), os.urandom(size), (b"epoch 1 loss 0.25\n" * (size // 18 + 1))[:size]]


@pytest.mark.parametrize("size", SIZES)
def test_what_was_put_is_what_get_returns(pair: Pair, size: int) -> None:
    for data in patterns(size):
        assert pair.reader.get(pair.writer.put(data)) == data


def test_an_address_tells_the_length_and_the_digest(pair: Pair) -> None:
    assert pair.writer.put(b"abc") == "3-06b05ab6733a618578af5f94892f3950"
    assert pair.writer.put(b"") == "0-99aa06d3014798d86001c324468d497f"


def test_equal_bytes_in_any_kind_of_buffer_are_one_chunk(pair: Pair) -> None:
    floats = array.array("d", [1.5, -0.0, float("nan")] * 100)
    raw = floats.tobytes()

    addresses = {
        pair.writer.put(buffer)
        for buffer in (raw, bytearray(raw), memoryview(raw), memoryview(floats))
    }

    assert len(addresses) == 1
    before = pair.writer.bytes_written
    pair.writer.put(raw)
    assert pair.writer.bytes_written == before


def test_a_stored_chunk_does_not_follow_changes_of_its_buffer(pair: Pair) -> None:
    buffer = bytearray(b"first" * 100)
    address = pair.writer.put(buffer)
    buffer[:5] = b"other"

    assert pair.reader.get(address) == b"first" * 100


def test_has_tells_what_get_will_find(pair: Pair) -> None:
    address = pair.writer.put(b"something")
    absent = Address("9-" + "0" * 32)

    assert pair.reader.has(address)
    assert pair.writer.has(address)
    assert not pair.reader.has(absent)
    assert not pair.writer.has(absent)


def test_a_chunk_that_was_never_put_is_missing(pair: Pair) -> None:
    absent = Address("9-" + "0" * 32)

    with pytest.raises(ChunkMissing, match=absent):
        pair.reader.get(absent)


ZEROS = "0" * 32
NO_ADDRESSES = ["", "9", ZEROS, "../../etc/passwd", f"-1-{ZEROS}", f"09-{ZEROS}", f"9-{ZEROS[1:]}"]
NO_ADDRESSES += [
    f"9-{ZEROS}0",
    f"9-{ZEROS}\n",
    f"{10**19 - 1}-{ZEROS}",
    f"٩-{ZEROS}",
    "9-" + "A" * 32,
]


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_what_is_no_address_is_missing_and_touches_nothing(pair: Pair, text: str) -> None:
    with pytest.raises(ChunkMissing, match="not the address of a chunk"):
        pair.reader.get(Address(text))


def test_flush_close_and_refresh_keep_everything_readable(pair: Pair) -> None:
    address = pair.writer.put(b"kept" * 1000)
    pair.writer.flush()
    pair.reader.refresh()
    pair.writer.close()
    pair.writer.close()
    pair.reader.close()

    assert pair.reader.get(address) == b"kept" * 1000


@given(chunks=st.lists(st.binary(max_size=300), max_size=30))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_store_is_a_dictionary_from_addresses_to_bytes(pair: Pair, chunks: list[bytes]) -> None:
    model = {pair.writer.put(chunk): chunk for chunk in chunks}

    assert len(model) == len(set(chunks))
    assert {address: pair.reader.get(address) for address in model} == model


def test_threads_may_put_and_get_at_once(pair: Pair) -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        for i in range(60):
            data = b"%d" % (i * number % 40) * 500
            if pair.reader.get(pair.writer.put(data)) != data:
                wrong.append((number, i))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
