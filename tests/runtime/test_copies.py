from __future__ import annotations

import ctypes
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import xxhash

from flor_trace.runtime import copies as copies_module
from flor_trace.runtime.copies import SMALLEST, Copies
from flor_trace.runtime.staging import SLACK, Pool
from flor_trace.store.framing import digest_of, make_key
from flor_trace.types import Digest

MB = 1 << 20
PLENTY = 1 << 40


class Program:
    """Takes of some arrays; what is copied counts as stored, as soon as it is asked for."""

    def __init__(self, pool=None):
        self.pool = pool or Pool(PLENTY, lambda: PLENTY)
        self.copies = Copies(self.pool)
        self.known = set()
        self.take = None

    def begin(self, *arrays):
        self.take = self.copies.begin([memoryview(a).cast("B") for a in arrays], self.known)
        return self.take.read(range(len(arrays)))

    def __call__(self, *arrays):
        digests = self.begin(*arrays)
        copied = self.take.finish(digests)
        assert digests == [xxhash.xxh3_128_digest(memoryview(a).cast("B")) for a in arrays]
        return copied

    def save(self, copied):
        self.known |= {each.key for each in copied}
        self.take.hold.release()


@pytest.fixture
def program():
    return Program()


@pytest.fixture
def passes(monkeypatch):
    """How many bytes were hashed only, and copied, by each call."""
    made = []

    def stage(sources, targets):
        pairs = list(zip(sources, targets, strict=True))
        made.append(
            (
                sum(len(s) for s, t in pairs if t is None),
                sum(len(s) for s, t in pairs if t is not None),
            )
        )
        return real(sources, targets)

    real = copies_module.stage
    monkeypatch.setattr(copies_module, "stage", stage)
    return made


def array(seed, size=MB):
    return np.frombuffer(bytearray(np.random.default_rng(seed).bytes(size)), np.uint8)


def test_a_copy_stays_what_was_there(program):
    data, small = array(1), array(2, 100)
    was = [data.tobytes(), small.tobytes()]
    copied = program(data, small)
    data[:], small[:] = 0, 0

    assert sorted(bytes(each.data) for each in copied) == sorted(was)
    assert {each.key for each in copied} == {
        make_key(len(each), xxhash.xxh3_128_digest(each)) for each in was
    }
    assert program.take.whole


def test_what_the_store_has_is_hashed_and_not_copied(program, passes):
    frozen, head = array(1), array(2)
    program.save(program(frozen, head))
    assert passes.pop(0) == (0, 2 * MB)  # never seen before, so surely new
    passes.clear()

    for n in range(3):
        head += 1
        copied = program(frozen, head)
        assert [bytes(each.data) for each in copied] == [head.tobytes()]
        program.save(copied)
        hashed, at_once = passes[0]
        assert (hashed, at_once) == ((2 * MB, 0) if n == 0 else (MB, MB))
        assert passes[1][1] == (MB if n == 0 else 0)
        passes.clear()


def test_what_changed_last_time_and_did_not_now_is_not_stored_again(program):
    data = array(1)
    for _ in range(3):
        data += 1
        program.save(program(data))

    assert program(data) == []
    assert program.take.whole


def test_equal_leaves_are_stored_once(program):
    copied = program(array(1), array(1), array(2, 100), array(2, 100))
    assert len(copied) == 2


def test_what_nobody_can_change_is_not_copied(program, passes):
    packed = bytes(range(256)) * 1000
    (copied,) = program(packed)

    assert copied.data.obj is packed
    assert all(copied == 0 for _, copied in passes)
    assert program(packed)[0].data.obj is packed


def test_the_copy_before_is_the_base_of_the_next(program):
    data = array(1)
    before = data.tobytes()
    (first,) = program(data)
    program.save([first])
    assert first.base is None
    data[5] += 1
    (second,) = program(data)

    assert second.base is not None
    assert second.base.key == first.key
    assert bytes(second.base.data) == before
    assert digest_of(second.base.key) == xxhash.xxh3_128_digest(second.base.data)


def test_a_base_is_kept_until_the_checkpoint_is_written(program):
    data = array(1, 100 * MB)
    program.save(program(data))
    data[5] += 1
    (second,) = program(data)
    base = bytes(second.base.data)

    data[6] += 1
    assert program(data) == []  # no room: one generation is written, and one compared with
    assert not program.take.whole
    assert bytes(second.base.data) == base


def test_a_base_whose_memory_was_used_again_is_none(program):
    data, other = array(1, 40 * MB), array(2, 40 * MB)
    program.save(program(data, other))
    for _ in range(4):
        other += 1
        program.save(program(data, other))
    data += 1
    copied = {bytes(each.data[:9]): each for each in program(data, other)}
    assert copied[data[:9].tobytes()].base is None


def test_a_state_that_was_copied_and_not_saved_yet_is_not_copied_again(program, passes):
    data = array(1)
    first = program(data)  # waits until its loop has shown that it is worth watching
    held = program.take
    passes.clear()
    second = program(data)

    assert second[0].key == first[0].key
    assert second[0].data == first[0].data
    assert sum(copied for _, copied in passes) == 0
    del held


def test_after_a_failure_everything_is_copied_again(program):
    data = array(1)
    program.save(program(data))
    program.known.clear()
    program.copies.forget()
    (again,) = program(data)
    assert again.base is None
    assert bytes(again.data) == data.tobytes()


def test_without_room_there_are_digests_and_no_copies():
    program = Program(Pool(MB, lambda: PLENTY))
    assert program(array(1, 4 * MB)) == []
    assert not program.take.whole
    poor = Program(Pool(PLENTY, lambda: 0))
    assert poor(array(1)) == []
    assert not poor.take.whole


def test_a_leaf_that_changes_between_hash_and_copy_is_stored_as_it_was_copied(program):
    data, small = array(1), array(2, SMALLEST // 2)
    program.save(program(data, small))
    data += 1
    digests = program.begin(data, small)  # not known to change: hashed only
    before = list(digests)
    data[7] += 1
    (copied,) = program.take.finish(digests)

    assert digests[0] != before[0]
    assert digests[0] == digest_of(copied.key) == xxhash.xxh3_128_digest(copied.data)
    assert bytes(copied.data) == data.tobytes()
    assert program.take.whole


def test_digests_and_copies_agree_while_another_thread_writes(program):
    data, tiny = array(1, 4 * MB), array(2, 1000)
    address, stop = data.ctypes.data, threading.Event()

    def write():
        value = 0
        while not stop.is_set():
            value += 1
            ctypes.memset(address, value & 255, data.nbytes)
            tiny[:] = value & 255

    thread = threading.Thread(target=write)
    thread.start()
    seen = set()
    try:
        end = time.monotonic() + 10
        while len(seen) < 12 and time.monotonic() < end:
            digests = program.begin(data, tiny)
            for each in program.take.finish(digests):
                assert digest_of(each.key) == xxhash.xxh3_128_digest(each.data)
                assert each.base is None or digest_of(each.base.key) == xxhash.xxh3_128_digest(
                    each.base.data
                )
                seen.add(each.key)
            assert program.take.whole
            keys = [make_key(s, d) for s, d in zip((data.nbytes, 1000), digests, strict=True)]
            assert set(keys) <= program.known | seen
            program.save([])
            program.known |= seen
    finally:
        stop.set()
        thread.join()
    assert len(seen) >= 12


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_extra_memory_is_two_copies_of_what_changed_and_a_little(program):
    def resident():
        status = Path("/proc/self/status").read_text()
        return next(int(s.split()[1]) for s in status.splitlines() if s.startswith("RssAnon:"))

    frozen, trained = array(1, 150 * MB), array(2, 60 * MB)
    before = resident()
    for _ in range(8):
        trained += 1
        program.save(program(frozen, trained))
        program.pool.tend()
        extra = (resident() - before) >> 10
        assert extra <= 2 * 210 + SLACK // MB
    assert extra <= 2 * 60 + SLACK // MB
    assert program.pool.size <= 2 * 60 * MB + SLACK


def test_memory_of_a_state_that_waits_to_be_written_is_bounded(program):
    data = array(1, 50 * MB)
    held = []
    whole = 0
    for _ in range(8):
        data += 1
        program(data)
        whole += program.take.whole
        held.append(program.take)
    assert 2 <= whole <= 3
    assert program.pool.peak <= 2 * 50 * MB + SLACK


def test_no_digest_is_lost_of_leaves_of_all_sizes(program):
    arrays = [array(n, size) for n, size in enumerate((0, 1, 17, SMALLEST - 1, SMALLEST, MB + 3))]
    for _ in range(4):
        copied = program(*arrays)
        program.save(copied)
        for each in arrays:
            each += 1
    assert all(isinstance(key, bytes) for key in program.known)
    assert Digest(b"") not in program.begin(*arrays)
