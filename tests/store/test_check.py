from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from flor_trace.store.check import Problem, fsck
from flor_trace.store.framing import HEADER_SIZE
from flor_trace.store.index import PACK_HEADER
from flor_trace.store.layout import Store, open_store
from flor_trace.store.packs import PackWriter
from flor_trace.types import Address


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store", create=True)


def fill(store: Store, name: str, count: int = 6) -> list[Address]:
    generator = random.Random(name)
    writer = PackWriter(store, name)
    chunks = [generator.randbytes(50 * n) for n in range(1, count)] + [b"text " * 200]
    addresses = [writer.put(chunk) for chunk in chunks]
    writer.close()
    return addresses


def whole_frame(store: Store) -> int:
    """Where the zstd frame of the last chunk begins."""
    return (store.packs / "a.pack").read_bytes().rindex(b"\x28\xb5\x2f\xfd")


def serious(problems: list[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.serious]


def test_a_healthy_store_has_no_problem(store: Store) -> None:
    assert fsck(store, data=True) == []
    fill(store, "a")
    fill(store, "b")
    (store.packs / "b.idx").unlink()
    assert fsck(store, data=True) == []


@pytest.mark.parametrize("indexed", [True, False])
def test_every_flipped_bit_is_found(store: Store, indexed: bool) -> None:
    fill(store, "a")
    if not indexed:
        (store.packs / "a.idx").unlink()
    generator = random.Random(1)
    # Of the zstd frame at the end, whose header has one bit that means nothing.
    unused = (whole_frame(store) + 4) * 8 + 4
    for path in store.packs.iterdir():
        whole = path.read_bytes()
        for place in generator.sample(range(len(whole) * 8), 300):
            damaged = bytearray(whole)
            damaged[place // 8] ^= 1 << place % 8
            path.write_bytes(damaged)
            assert serious(fsck(store, data=True)) or place == unused, (path.name, place)
        path.write_bytes(whole)
    assert fsck(store, data=True) == []


def test_every_cut_of_a_finished_pack_is_found_without_reading_the_data(store: Store) -> None:
    fill(store, "a")
    path = store.packs / "a.pack"
    whole = path.read_bytes()
    for length in range(0, len(whole), 13):
        path.write_bytes(whole[:length])
        assert fsck(store, data=False), length
        if length >= len(PACK_HEADER):
            assert serious(fsck(store, data=False)), length


def test_a_problem_names_pack_place_and_chunk(store: Store) -> None:
    first, *_ = fill(store, "a")
    path = store.packs / "a.pack"
    damaged = bytearray(path.read_bytes())
    damaged[len(PACK_HEADER) + HEADER_SIZE] ^= 1
    path.write_bytes(damaged)

    (problem,) = fsck(store, data=True)

    assert (problem.pack, problem.offset, problem.address) == ("a.pack", 16, first)
    assert str(problem).startswith(f"a.pack at byte 16, chunk {first}: the contents do not have")
    assert fsck(store, data=False) == []


@pytest.mark.parametrize("junk", [b"\0", bytes(500), b"\x89FLc"], ids=["byte", "zeros", "magic"])
def test_what_a_killed_writer_leaves_is_told_but_not_serious(store: Store, junk: bytes) -> None:
    fill(store, "a")
    (store.packs / "a.idx").unlink()
    with open(store.packs / "a.pack", "ab") as file:
        file.write(junk)
    (store.packs / "b.pack").write_bytes(PACK_HEADER[:5])

    problems = fsck(store, data=True)

    assert [problem.pack for problem in problems] == ["a.pack", "b.pack"]
    assert serious(problems) == []


def test_a_hole_in_an_unfinished_pack_is_damage(store: Store) -> None:
    fill(store, "a")
    (store.packs / "a.idx").unlink()
    path = store.packs / "a.pack"
    damaged = bytearray(path.read_bytes())
    damaged[20:24] = bytes(4)
    path.write_bytes(damaged)

    (problem,) = fsck(store, data=False)

    assert problem.serious
    assert "where sound chunks follow" in problem.text


def test_two_swapped_packs_are_found(store: Store) -> None:
    fill(store, "a")
    fill(store, "b")
    (store.packs / "a.pack").rename(store.packs / "x")
    (store.packs / "b.pack").rename(store.packs / "a.pack")
    (store.packs / "x").rename(store.packs / "b.pack")

    assert {problem.pack for problem in serious(fsck(store, data=False))} == {"a.pack", "b.pack"}


def test_what_cannot_be_read_is_a_problem_of_that_pack_only(store: Store) -> None:
    fill(store, "a")
    os.mkfifo(store.packs / "pipe.pack")
    (store.packs / "link.pack").symlink_to(store.packs / "a.pack")

    assert [problem.pack for problem in fsck(store, data=True)] == ["link.pack", "pipe.pack"]


def test_an_index_whose_pack_is_gone_is_a_problem(store: Store) -> None:
    addresses = fill(store, "a")
    (store.packs / "a.pack").unlink()

    (problem,) = fsck(store, data=False)

    assert problem.serious
    assert problem.pack == "a.pack"
    assert str(len(addresses)) in problem.text
