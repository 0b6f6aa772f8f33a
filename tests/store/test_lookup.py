from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_trace.errors import ChunkMissing
from flor_trace.store import index, known, lookup
from flor_trace.store.framing import key_of, make_key
from flor_trace.store.index import Entry
from flor_trace.store.known import FINISHED, Known, recently_finished
from flor_trace.store.layout import Store, open_store
from flor_trace.store.lookup import Heap
from flor_trace.store.packs import PackReader, PackWriter
from flor_trace.types import Address


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store", create=True)


def fill(store: Store, name: str, count: int = 3, *, seed: int | None = None) -> list[Address]:
    generator = random.Random(name if seed is None else seed)
    writer = PackWriter(store, name)
    addresses = [writer.put(generator.randbytes(50)) for _ in range(count)]
    writer.close()
    return addresses


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the packs whose indexes are read, in order."""
    names: list[str] = []
    real = index.read_entries

    def read_entries(packs: Path, name: str) -> tuple[int, bytes] | None:
        names.append(name)
        return real(packs, name)

    for module in (lookup, known):
        monkeypatch.setattr(module, "read_entries", read_entries)
    return names


class TestReading:
    def test_the_packs_of_the_preferred_run_are_read_alone(
        self, store: Store, read: list[str]
    ) -> None:
        for number in range(20):
            fill(store, f"2601{number:02d}-run")
        wanted = fill(store, "260105-run", seed=55)
        read.clear()
        reader = PackReader(store)
        reader.prefer("260105-run")
        assert all(reader.get(each) for each in wanted)
        assert set(read) == {"260105-run", "260105-run-1"}
        assert len(read) == 2

    def test_packs_of_earlier_runs_come_next_the_nearest_first(
        self, store: Store, read: list[str]
    ) -> None:
        made = [fill(store, f"2601{number:02d}-run") for number in range(20)]
        read.clear()
        reader = PackReader(store)
        reader.prefer("260110-run")
        assert reader.get(made[7][0])
        assert read == [f"2601{number:02d}-run" for number in (10, 9, 8, 7)]
        assert reader.get(made[12][0])
        assert read[-2:] == ["260111-run", "260112-run"]
        assert sorted(read[4:-2]) == [f"2601{number:02d}-run" for number in range(7)]

    def test_an_index_is_read_once(self, store: Store, read: list[str]) -> None:
        made = [fill(store, f"2601{number:02d}-run") for number in range(9)]
        read.clear()
        reader = PackReader(store)
        for _ in range(2):
            with pytest.raises(ChunkMissing):
                reader.get(Address("5-" + "ab" * 16))
        assert all(reader.get(each) for some in made for each in some)
        assert sorted(read) == [f"2601{number:02d}-run" for number in range(9)]

    def test_heaps_of_many_packs_give_the_same_as_a_few(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = [each for n in range(40) for each in fill(store, f"{n:06d}-run", 1 + n % 7)]
        monkeypatch.setattr(lookup, "_GATHERED", 10)
        reader = PackReader(store)
        assert not reader.has(Address("5-" + "ab" * 16))
        heaps = reader._lookup._heaps
        assert 1 < len(heaps) < 8
        assert all(reader.get(each) for each in made for _ in range(3))

    def test_a_pack_that_is_gone_is_looked_for_elsewhere(self, store: Store) -> None:
        (address,) = fill(store, "260101-run", 1, seed=1)
        reader = PackReader(store)
        reader.get(address)
        reader.close()
        data = {f.name: f.read_bytes() for f in store.packs.iterdir()}
        for name, contents in data.items():
            (store.packs / name).unlink()
            (store.packs / name.replace("260101", "gc")).write_bytes(contents)
        assert reader.get(address)
        for file in store.packs.iterdir():
            file.unlink()
        reader.close()
        with pytest.raises(ChunkMissing):
            reader.get(address)

    def test_only_finished_packs_are_durable(self, store: Store) -> None:
        (finished,) = fill(store, "one", 1)
        writer = PackWriter(store, "two")
        open_one = writer.put(b"y" * 40)
        reader = PackReader(store)
        assert reader.has(open_one)
        assert reader.is_durable(finished) and not reader.is_durable(open_one)
        writer.close()
        reader.refresh()
        assert reader.is_durable(open_one)


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 60), max_size=12), max_size=6),
    st.lists(st.integers(0, 80), min_size=1, max_size=40),
)
def test_a_heap_finds_what_a_dictionary_finds(packs: list[list[int]], asked: list[int]) -> None:
    # Keys whose first bytes agree are told apart, too.
    keys = {n: make_key(n, bytes([n % 7]) * 8 + n.to_bytes(8, "little")) for n in range(81)}
    parts, expected = [], {}
    for number, contents in enumerate(packs):
        entries = [Entry(keys[n], 100 * at, n) for at, n in enumerate(contents)]
        raw = b"".join(index._ENTRY.pack(*entry) for entry in entries)
        parts.append((f"pack{number}", raw))
        for entry in entries:
            expected.setdefault(entry.key, []).append((f"pack{number}", entry))
    heap = Heap(parts)
    assert heap.parts() == parts
    for n in asked:
        assert sorted(heap.find(keys[n])) == sorted(expected.get(keys[n], []))


class TestWriting:
    def test_a_short_run_reads_a_few_indexes_and_does_not_list(
        self, store: Store, read: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(80):
            fill(store, f"2601{number:02d}-run", 4)
        read.clear()

        def listed(packs: Path) -> list[str]:
            raise AssertionError("the packs were listed")

        monkeypatch.setattr(known, "pack_names", listed)
        fill(store, "new", 40, seed=7)
        assert read == [f"2601{number:02d}-run" for number in range(79, 49, -1)]

    def test_the_more_is_stored_the_further_back_is_looked(
        self, store: Store, read: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(60):
            fill(store, f"2601{number:02d}-run", 4)
        monkeypatch.setattr(known, "_AT_ONCE", 500)
        read.clear()
        writer = PackWriter(store, "new")
        writer.put(b"a" * 100)
        assert len(read) == 3
        writer.put(random.Random(3).randbytes(800_000))
        assert 12 < len(read) < 25
        writer.close()

    def test_packs_that_nobody_noted_are_found_by_listing(self, store: Store) -> None:
        addresses = fill(store, "old", 5, seed=1)
        (store.path / FINISHED).unlink()
        writer = PackWriter(store, "new")
        assert all(writer.has(each) for each in addresses)
        writer.close()

    def test_a_writer_knows_which_pack_has_a_chunk_and_forgets_one_that_is_gone(
        self, store: Store
    ) -> None:
        (address,) = fill(store, "one", 1)
        found = Known(store.packs, 1000)
        assert found.pack_of(key_of(address)) == "one"
        found.forget_pack("one")
        assert key_of(address) not in found

    @pytest.mark.parametrize(
        "text",
        [b"", b"\n\n\n", b"../../x\na/b\n", b"\xff\xfe\0\n", b"26", b"x" * 300_000, b"gone\n" * 9],
    )
    def test_what_was_noted_may_be_anything(self, store: Store, text: bytes) -> None:
        addresses = fill(store, "one", 2)
        (store.path / FINISHED).write_bytes(text)
        assert set(recently_finished(store.packs)) <= {"26", "gone"}
        writer = PackWriter(store, "new")
        assert all(writer.has(each) for each in addresses)
        writer.close()
        assert "new" not in recently_finished(store.packs)  # it has no chunks
        fill(store, "third", 1)
        assert recently_finished(store.packs)[0] == "third"

    def test_noting_may_be_impossible(self, store: Store) -> None:
        os.mkfifo(store.path / FINISHED)
        assert recently_finished(store.packs) == []
        addresses = fill(store, "one", 2)
        assert all(PackReader(store).has(each) for each in addresses)
