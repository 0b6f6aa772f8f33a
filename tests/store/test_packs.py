from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_trace.errors import ChunkDamaged, ChunkMissing, StoreError, StoreNotWritable
from flor_trace.store import files, packs
from flor_trace.store.framing import HEADER_SIZE
from flor_trace.store.index import PACK_HEADER
from flor_trace.store.layout import Store, open_store
from flor_trace.store.packs import PackReader, PackWriter
from flor_trace.types import Address


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store", create=True)


def fill(store: Store, name: str, chunks: list[bytes]) -> list[Address]:
    writer = PackWriter(store, name)
    addresses = [writer.put(chunk) for chunk in chunks]
    writer.close()
    return addresses


def some(count: int, seed: int = 0) -> list[bytes]:
    generator = random.Random(seed)
    return [generator.randbytes(generator.randrange(1, 400)) for _ in range(count)]


class TestFiles:
    def test_nothing_is_made_before_the_first_chunk(self, store: Store) -> None:
        writer = PackWriter(store, "run")
        writer.flush()
        writer.close()

        assert os.listdir(store.packs) == []

    def test_a_closed_pack_has_an_index_and_only_the_owner_may_read_it(self, store: Store) -> None:
        fill(store, "run", [b"abc"])

        assert sorted(os.listdir(store.packs)) == ["run.idx", "run.pack"]
        assert {f.stat().st_mode & 0o777 for f in store.packs.iterdir()} == {0o600}

    def test_a_name_that_is_taken_gets_a_number(self, store: Store) -> None:
        first, second = PackWriter(store, "run"), PackWriter(store, "run")
        addresses = [first.put(b"one"), second.put(b"two")]
        first.close()
        second.close()

        assert (store.packs / "run.pack").exists()
        assert (store.packs / "run-1.pack").exists()
        assert [PackReader(store).get(a) for a in addresses] == [b"one", b"two"]

    @pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 200, "a b", "a\0"])
    def test_a_name_that_is_no_file_name_is_refused(self, store: Store, name: str) -> None:
        with pytest.raises(StoreError, match="cannot be the name of a pack"):
            PackWriter(store, name)

    def test_a_long_pack_is_followed_by_another(self, store: Store) -> None:
        writer = PackWriter(store, "run", limit=1000)
        addresses = []
        for chunk in some(12):
            addresses.append(writer.put(chunk))
            writer.flush()
        writer.close()

        assert len(list(store.packs.glob("*.pack"))) > 1
        assert [PackReader(store).get(a) for a in addresses] == some(12)

    def test_a_closed_writer_says_so(self, store: Store) -> None:
        writer = PackWriter(store, "run")
        writer.close()

        with pytest.raises(StoreError, match="closed"):
            writer.put(b"late")


class TestDeduplication:
    def test_two_writers_of_one_run_after_the_other_store_once(self, store: Store) -> None:
        fill(store, "a", some(20))
        writer = PackWriter(store, "b")
        addresses = [writer.put(chunk) for chunk in some(20)]
        writer.close()

        assert writer.bytes_written == 0
        assert sorted(os.listdir(store.packs)) == ["a.idx", "a.pack"]
        assert [PackReader(store).get(a) for a in addresses] == some(20)

    def test_chunks_that_may_not_be_durable_yet_are_stored_again(self, store: Store) -> None:
        live = PackWriter(store, "live")
        live.put(b"shared" * 100)
        other = PackWriter(store, "other")
        address = other.put(b"shared" * 100)
        other.close()
        live.close()

        (store.packs / "live.pack").unlink()
        assert PackReader(store).get(address) == b"shared" * 100

    def test_the_index_of_a_pack_that_is_gone_or_shorter_counts_for_nothing(
        self, store: Store
    ) -> None:
        fill(store, "gone", [b"x" * 500])
        (store.packs / "gone.pack").unlink()
        fill(store, "short", [b"y" * 500])
        os.truncate(store.packs / "short.pack", 30)

        writer = PackWriter(store, "new")
        addresses = [writer.put(b"x" * 500), writer.put(b"y" * 500)]
        writer.close()

        assert [PackReader(store).get(a) for a in addresses] == [b"x" * 500, b"y" * 500]

    def test_the_newest_packs_are_known_when_not_all_can_be(self, store: Store) -> None:
        fill(store, "260101-old", [b"old" * 50])
        fill(store, "260102-new", [b"new" * 50])

        writer = PackWriter(store, "run", dedup=1)

        assert writer.has(Address(writer.put(b"new" * 50)))
        assert writer.bytes_written == 0
        writer.put(b"old" * 50)
        assert writer.bytes_written > 0
        writer.close()


class TestReading:
    def test_a_reader_sees_chunks_before_they_are_flushed(self, store: Store) -> None:
        reader = PackReader(store)
        writer = PackWriter(store, "run")
        for chunk in some(10):
            assert reader.get(writer.put(chunk)) == chunk
        writer.close()
        reader.refresh()
        (later,) = fill(store, "later", [b"from another writer"])
        assert reader.get(later) == b"from another writer"

    def test_the_index_only_saves_a_walk(self, store: Store) -> None:
        addresses = fill(store, "run", some(30))
        (store.packs / "run.idx").unlink()

        assert [PackReader(store).get(a) for a in addresses] == some(30)

    def test_a_damaged_index_is_not_believed(self, store: Store) -> None:
        addresses = fill(store, "run", some(30))
        index = store.packs / "run.idx"
        whole = index.read_bytes()
        for at in range(0, len(whole), 37):
            damaged = bytearray(whole)
            damaged[at] ^= 1
            index.write_bytes(damaged)
            assert PackReader(store).get(addresses[-1]) == some(30)[-1]

    def test_a_pack_that_is_taken_away_is_forgotten(self, store: Store) -> None:
        (address,) = fill(store, "a", [b"here and there"])
        reader = PackReader(store)
        assert reader.get(address)
        (store.packs / "a.pack").unlink()
        reader.refresh()

        with pytest.raises(ChunkMissing, match="No pack in"):
            reader.get(address)
        fill(store, "b", [b"here and there"])
        assert reader.get(address) == b"here and there"

    def test_another_copy_stands_in_for_a_damaged_one(self, store: Store) -> None:
        first, second = PackWriter(store, "a"), PackWriter(store, "b")
        address = first.put(b"twice" * 20)
        assert second.put(b"twice" * 20) == address
        first.close()
        second.close()
        flip(store.packs / "a.pack", len(PACK_HEADER) + HEADER_SIZE + 3, 1)

        assert PackReader(store).get(address) == b"twice" * 20
        (store.packs / "b.pack").unlink()
        with pytest.raises(ChunkDamaged):
            PackReader(store).get(address)

    def test_damage_is_told_with_address_pack_and_place(self, store: Store) -> None:
        addresses = fill(store, "run", [b"first", b"second"])
        flip(store.packs / "run.pack", len(PACK_HEADER) + HEADER_SIZE, 1)

        with pytest.raises(ChunkDamaged) as caught:
            PackReader(store).get(addresses[0])

        message = str(caught.value)
        assert addresses[0] in message
        assert "run.pack at byte 16 " in message
        assert "fsck" in message
        assert PackReader(store).get(addresses[1]) == b"second"

    def test_another_sound_chunk_in_the_place_of_one_is_damage(self, store: Store) -> None:
        a, b = fill(store, "a", [b"aaaa"])[0], fill(store, "b", [b"bbbb"])[0]
        (store.packs / "a.pack").rename(store.packs / "x")
        (store.packs / "b.pack").rename(store.packs / "a.pack")
        (store.packs / "x").rename(store.packs / "b.pack")

        with pytest.raises(ChunkDamaged, match=f"another chunk, {b}, is there"):
            PackReader(store).get(a)

    def test_a_link_or_pipe_among_the_packs_is_neither_followed_nor_waited_for(
        self, store: Store, tmp_path: Path
    ) -> None:
        (address,) = fill(store, "a", [b"outside"])
        (store.packs / "a.pack").rename(tmp_path / "outside.pack")
        (store.packs / "a.pack").symlink_to(tmp_path / "outside.pack")
        os.mkfifo(store.packs / "pipe.pack")

        with pytest.raises(ChunkMissing, match=r"a cannot be read: .*pipe cannot be read: not a"):
            PackReader(store).get(address)

    def test_many_packs_need_few_open_files(self, store: Store) -> None:
        addresses = [fill(store, f"p{n}", [b"%d" % n * 30])[0] for n in range(40)]
        with PackReader(store) as reader:
            before = len(os.listdir("/proc/self/fd"))
            assert [reader.get(a) for a in addresses] == [b"%d" % n * 30 for n in range(40)]
            assert len(os.listdir("/proc/self/fd")) <= before + 16
        assert len(os.listdir("/proc/self/fd")) <= before

    def test_the_same_length_with_another_digest_is_another_chunk(self, store: Store) -> None:
        a, b = fill(store, "run", [b"aaaa", b"bbbb"])
        assert a.split("-")[0] == b.split("-")[0]
        assert PackReader(store).get(b) == b"bbbb"


def flip(path: Path, byte: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    path.write_bytes(data)


def readable(store: Store, expected: dict[Address, bytes]) -> list[Address]:
    """The addresses that can be read, each of which gives the right bytes; fails otherwise."""
    good = []
    with PackReader(store) as reader:
        for address, data in expected.items():
            try:
                assert reader.get(address) == data
            except (ChunkMissing, ChunkDamaged):
                continue
            good.append(address)
    return good


class TestDamage:
    @settings(max_examples=150, deadline=None)
    @given(st.data())
    @pytest.mark.parametrize("indexed", [True, False])
    def test_a_flipped_bit_costs_chunks_but_gives_no_wrong_byte(
        self, tmp_path_factory: pytest.TempPathFactory, indexed: bool, data: st.DataObject
    ) -> None:
        store = open_store(tmp_path_factory.mktemp("s"), create=True)
        chunks = [b"", b"text " * 60, *some(6)]
        expected = dict(zip(fill(store, "run", chunks), chunks, strict=True))
        if not indexed:
            (store.packs / "run.idx").unlink()
        path = store.packs / "run.pack"
        place = data.draw(st.integers(0, path.stat().st_size * 8 - 1))
        flip(path, place // 8, place % 8)

        good = readable(store, expected)

        if indexed:
            assert len(good) >= len(chunks) - 1
        elif place < len(PACK_HEADER) * 8:
            assert good == []

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def test_a_torn_tail_costs_only_what_was_not_whole(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        store = open_store(tmp_path_factory.mktemp("s"), create=True)
        chunks = some(6)
        writer = PackWriter(store, "run")
        ends, addresses = [], []
        for chunk in chunks:
            addresses.append(writer.put(chunk))
            ends.append(len(PACK_HEADER) + writer.bytes_written)
        writer.close()
        (store.packs / "run.idx").unlink()
        path = store.packs / "run.pack"
        length = data.draw(st.integers(0, ends[-1]))
        junk = data.draw(st.sampled_from([b"", bytes(5000), b"\x89FLc" * 50, os.urandom(300)]))
        path.write_bytes(path.read_bytes()[:length] + junk)

        good = readable(store, dict(zip(addresses, chunks, strict=True)))

        assert good == [a for a, end in zip(addresses, ends, strict=True) if end <= length]


class TestFailingDisks:
    def test_a_full_disk_costs_the_chunk_and_nothing_else(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        writer = PackWriter(store, "run")
        first = writer.put(b"first" * 10)
        real = os.writev

        def full(fd: int, parts: list[bytes]) -> int:
            real(fd, [parts[0][:20]])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "writev", full)
            for _ in range(3):
                with pytest.raises(StoreNotWritable, match=r"No space left.*--store DIR"):
                    writer.put(b"second" * 10)
        second = writer.put(b"second" * 10)
        third = writer.put(b"third" * 10)
        writer.close()

        assert [PackReader(store).get(a)[:3] for a in (first, second, third)] == [
            b"fir",
            b"sec",
            b"thi",
        ]

    def test_writes_that_are_taken_piece_by_piece_are_completed(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = os.write
        monkeypatch.setattr(os, "writev", lambda fd, parts: real(fd, bytes(parts[0])[:7]))
        monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:11]))

        addresses = fill(store, "run", some(5))

        assert [PackReader(store).get(a) for a in addresses] == some(5)

    def test_a_full_disk_leaves_no_empty_pack_behind(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(fd: int, parts: list[bytes]) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "writev", full)

        with pytest.raises(StoreNotWritable):
            PackWriter(store, "run").put(b"x")
        assert os.listdir(store.packs) == []

    def test_a_failed_sync_is_never_tried_again_on_the_same_file(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: list[str] = []
        broken = True

        def sync(fd: int) -> None:
            synced.append(os.readlink(f"/proc/self/fd/{fd}"))
            if broken:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        writer = PackWriter(store, "run")
        monkeypatch.setattr(files, "sync_data", sync)
        lost = writer.put(b"precious" * 10)
        with pytest.raises(StoreNotWritable, match=r"run\.pack could not be brought to the disk"):
            writer.flush()
        broken = False

        assert not writer.has(lost)
        assert not (store.packs / "run.idx").exists()
        assert writer.put(b"precious" * 10) == lost
        writer.flush()
        writer.close()
        pack_syncs = [path for path in synced if path.endswith(".pack")]
        assert [os.path.basename(p) for p in pack_syncs] == ["run.pack", "run-1.pack"]
        assert (store.packs / "run-1.idx").exists()

    def test_what_was_flushed_before_a_failed_sync_stays_known(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def sync(fd: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        writer = PackWriter(store, "run")
        kept = writer.put(b"kept" * 20)
        writer.flush()
        lost = writer.put(b"lost" * 20)
        with monkeypatch.context() as patch:
            patch.setattr(packs.files, "sync_data", sync)
            with pytest.raises(StoreNotWritable):
                writer.flush()

        assert writer.has(kept)
        assert not writer.has(lost)
        writer.flush()
        writer.close()
        assert PackReader(store).get(kept) == b"kept" * 20

    def test_a_pack_is_durable_before_its_index_exists_and_so_is_its_name(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        events: list[str] = []
        real_sync, real_directory = files.sync_data, files.sync_directory
        real_replace = Path.replace

        def sync(fd: int) -> None:
            events.append("sync " + Path(os.readlink(f"/proc/self/fd/{fd}")).name[:8])
            real_sync(fd)

        def directory(path: Path) -> None:
            events.append("directory")
            real_directory(path)

        def replace(self: Path, target: Path) -> Path:
            events.append("publish " + target.name)
            return real_replace(self, target)

        monkeypatch.setattr(files, "sync_data", sync)
        monkeypatch.setattr(files, "sync_directory", directory)
        monkeypatch.setattr(Path, "replace", replace)

        fill(store, "run", [b"abc"])

        assert events == ["sync run.pack", "directory", "sync run.idx.", "publish run.idx"]


KILLED = """
import os, random, sys
from pathlib import Path
from flor_trace.store.layout import open_store
from flor_trace.store.packs import PackWriter

writer = PackWriter(open_store(Path(sys.argv[1]), create=True), "killed", limit=200_000)
generator = random.Random(int(sys.argv[2]))
while True:
    batch = [generator.randbytes(generator.randrange(1, 60_000)) for _ in range(4)]
    addresses = [writer.put(data) for data in batch]
    writer.flush()
    for address in addresses:
        os.write(1, address.encode() + b"\\n")
"""


def test_after_kill_9_at_any_moment_all_that_was_flushed_is_there(tmp_path: Path) -> None:
    from flor_trace.store.check import fsck

    generator = random.Random(5)
    flushed: set[str] = set()
    for seed in range(8):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path / "s"), str(seed)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert child.stdout is not None
        flushed.add(child.stdout.readline().decode().strip())
        time.sleep(generator.uniform(0, 0.08))
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().decode()
        child.stdout.close()
        child.wait()
        flushed.update(rest.split("\n")[:-1])

    store = open_store(tmp_path / "s", create=True)
    with PackReader(store) as reader:
        for address in flushed:
            assert len(reader.get(Address(address))) == int(address.split("-")[0])
    assert [problem for problem in fsck(store, data=True) if problem.serious] == []
    assert len(flushed) > 8


def test_a_forked_child_cannot_write_into_the_pack_of_its_parent(store: Store) -> None:
    writer = PackWriter(store, "run")
    writer.put(b"parent")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            writer.put(b"child")
        except StoreError:
            writer.close()
            status = 0
        os._exit(status)
    _, status = os.waitpid(child, 0)
    writer.close()

    assert status == 0
    assert (store.packs / "run.pack").stat().st_size == len(PACK_HEADER) + HEADER_SIZE + 6
