from __future__ import annotations

import gc
import mmap
import os
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from flor_trace.runtime import staging
from flor_trace.runtime.staging import HUGE, LINE, SLACK, Hold, Pool, spare_memory

MB = 1 << 20
PLENTY = 1 << 40
linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")


@pytest.fixture
def pool():
    return Pool(PLENTY, lambda: PLENTY)


def use(pool, *sizes):
    """Copy something to a generation; return that, what keeps it, and the copies."""
    hold = Hold()
    generation = pool.begin(hold)
    assert generation is not None
    rooms = pool.reserve(generation, sizes)
    pool.settle(generation)
    return generation, hold, rooms


def resident():
    """KiB of the process that are its own."""
    status = Path("/proc/self/status").read_text()
    return next(int(s.split()[1]) for s in status.splitlines() if s.startswith("RssAnon:"))


def test_rooms_have_their_sizes_are_aligned_and_do_not_overlap(pool):
    sizes = [5, 0, 3 * MB, 64, 65, 1]
    _, _, rooms = use(pool, *sizes)

    assert [len(room) for room in rooms] == sizes
    starts = staging.addresses(rooms)
    assert {at % LINE for at in starts} == {0}
    ends = sorted((at, at + size) for at, size in zip(starts, sizes, strict=True) if size)
    assert all(end <= after for (_, end), (after, _) in pairwise(ends))
    for n, room in enumerate(rooms):
        room[:] = bytes([n + 1]) * len(room)
    assert [set(room) for room in rooms] == [{1}, set(), {3}, {4}, {5}, {6}]


def test_large_memory_begins_at_a_huge_page(pool):
    _, _, (room,) = use(pool, 40 * MB)
    assert staging.addresses([room])[0] % HUGE == 0


def test_of_large_states_there_are_two_generations(pool):
    first, held_first, _ = use(pool, 100 * MB)
    second, held_second, _ = use(pool, 100 * MB)
    assert pool.behind
    assert pool.begin(Hold()) is None

    held_first.release()
    assert not pool.behind
    third, held_third, _ = use(pool, 100 * MB)
    assert third is first is not second
    assert pool.peak == 200 * MB

    held_third.release()
    held_second.release()
    assert use(pool, 100 * MB)[0] is second  # the latest one is what the next is compared with
    assert pool.peak == 200 * MB


def test_many_small_checkpoints_may_wait(pool):
    held = [use(pool, MB) for _ in range(20)]
    assert len({id(generation) for generation, _, _ in held}) == 20
    assert pool.peak <= SLACK + 4 * MB


def test_what_nobody_has_any_more_is_free(pool):
    use(pool, 100 * MB)  # the hold is dropped with the result
    use(pool, 100 * MB)
    gc.collect()
    assert not pool.behind


def test_there_is_no_more_memory_than_is_allowed_or_to_be_had():
    small = Pool(10 * MB, lambda: PLENTY)
    generation = small.begin(Hold())
    assert small.reserve(generation, [11 * MB]) is None
    assert small.reserve(generation, [5 * MB, MB]) is not None
    poor = Pool(PLENTY, lambda: 10 * MB)
    generation = poor.begin(Hold())
    assert poor.reserve(generation, [11 * MB]) is None
    assert poor.size == 0


def test_a_mapping_that_the_system_refuses_is_not_to_be_had(pool, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(staging.mmap, "mmap", refuse)
    assert pool.reserve(pool.begin(Hold()), [MB]) is None


def test_what_was_copied_is_kept_until_its_generation_is_used_again(pool):
    first, held, (room,) = use(pool, 100 * MB)
    number = first.number
    held.release()
    later = Hold()
    assert pool.keep(first, number, later)
    _, other, _ = use(pool, 100 * MB)
    assert pool.begin(Hold()) is None  # the first one is kept
    later.release()
    again, _, _ = use(pool, 100 * MB)
    assert again is first
    assert not pool.keep(first, number, Hold())
    del room, other


@linux
def test_the_memory_for_the_next_checkpoint_is_there_before_it_is_taken(pool):
    held = use(pool, 60 * MB)
    before = resident()
    pool.tend()

    assert resident() - before >= 55 * MB >> 10
    assert pool.size == 120 * MB
    before = resident()
    _, _, (room,) = use(pool, 60 * MB)
    room[:] = bytes(1) * len(room)
    assert resident() - before <= MB >> 10
    del held


@linux
def test_memory_that_is_not_needed_any_more_goes_back(pool):
    for _ in range(2):
        _, _, (room,) = use(pool, 200 * MB)
        room[::4096] = bytes(len(room[::4096]))
        del room
    full = resident()
    for _ in range(4):
        use(pool, MB)
        pool.tend()

    assert pool.size <= SLACK + 4 * MB
    assert full - resident() >= 350 * MB >> 10


def test_a_copy_in_memory_that_went_back_is_no_copy_any_more(pool):
    first, held, _ = use(pool, 200 * MB)
    number = first.number
    held.release()
    for _ in range(4):
        use(pool, MB)
        pool.tend()
    assert not pool.keep(first, number, Hold())


@linux
def test_a_child_has_none_of_it_and_takes_nothing_of_the_parents(pool):
    _, held, (room,) = use(pool, 30 * MB)
    room[:] = b"x" * len(room)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        before = resident()
        seen = set(room)  # wiped
        del room, held
        pool.close()
        gc.collect()
        others = [mmap.mmap(-1, 40 * MB) for _ in range(3)]
        os.write(write, repr((seen, before, len(others))).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as told:
        seen, in_child, _ = eval(told.read())
    assert os.waitpid(child, 0)[1] == 0

    assert seen == {0}
    assert in_child <= resident() - (30 * MB >> 10) + 2048
    assert set(room[::4096]) == {ord("x")}


def test_what_is_prepared_beside_a_checkpoint_harms_it_not(pool):
    held = use(pool, 30 * MB)[1]
    stop = threading.Event()

    def tend():
        while not stop.is_set():
            pool.tend()

    thread = threading.Thread(target=tend)
    thread.start()
    try:
        for n in range(60):
            _, now, rooms = use(pool, 10 * MB + n * MB // 2, 3)
            for room in rooms:
                room[:] = bytes([n]) * len(room)
            assert all(set(room[::4096]) == {n} and room[-1] == n for room in rooms)
            held.release()
            held = now
    finally:
        stop.set()
        thread.join()


@linux
def test_the_system_says_what_it_can_spare():
    assert MB < spare_memory() < PLENTY
