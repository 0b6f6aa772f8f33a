"""Copying with the hash in one pass, in C and in Python."""

from __future__ import annotations

import ctypes
import mmap
import platform
import random
import shutil
import subprocess
import threading
import time
from array import array
from pathlib import Path
from types import ModuleType

import pytest
import xxhash

EDGES = (
    *(1024 * k + d for k in (2, 3, 4, 5, 8, 64) for d in (-1, 0, 1)),
    *(1024 * k + d for k in (2, 3, 4) for d in (63, 64, 65)),
    (1 << 20) + 1,
)
NOISE = random.Random(2).randbytes((1 << 20) + 64)
PAST_CACHES = 17 << 20  # the copy of as much in one call is made past the caches


@pytest.fixture(params=["_pure_stage", pytest.param("_native", marks=pytest.mark.native)])
def twin(request: pytest.FixtureRequest) -> ModuleType:
    name = f"flor_trace.{request.param}"
    return pytest.importorskip(name, exc_type=ImportError)


@pytest.fixture(scope="module")
def ballast() -> memoryview:
    return memoryview(bytes(PAST_CACHES))


@pytest.mark.parametrize("offset", [0, 1, 7])
def test_a_copy_of_any_length_and_alignment_is_exact_and_has_the_hash_of_xxhash(
    twin: ModuleType, offset: int
) -> None:
    whole = memoryview(NOISE)[offset:]
    wrong = []
    for n in (*range(2201), *EDGES):
        target = bytearray(b"-" * (n + 128))
        room = memoryview(target)[64 - offset : 64 - offset + n]
        (found,) = twin.stage([whole[:n]], [room])
        if (
            found != xxhash.xxh3_128_digest(bytes(whole[:n]))
            or room != whole[:n]
            or bytes(target[: 64 - offset]) + bytes(target[64 - offset + n :]) != b"-" * 128
        ):
            wrong.append(n)
    assert wrong == []


def test_copies_that_go_past_the_caches_are_as_exact(twin: ModuleType, ballast: memoryview) -> None:
    lengths = (*range(230, 1300, 7), *EDGES)
    memory = mmap.mmap(-1, sum(n + 64 & ~63 for n in lengths))
    targets, at = [], 0
    for n in lengths:
        targets.append(memoryview(memory)[at : at + n])
        at += n + 64 & ~63
    sources = [memoryview(NOISE)[3 : 3 + n] for n in lengths]

    found = twin.stage([ballast, *sources], [None, *targets])

    assert found[1:] == [xxhash.xxh3_128_digest(bytes(each)) for each in sources]
    assert [n for n, t, s in zip(lengths, targets, sources, strict=True) if t != s] == []


def test_what_has_no_target_is_only_hashed(twin: ModuleType) -> None:
    target = bytearray(5)
    sources = [b"first", b"", b"third", array("d", [1.0, 2.0])]

    found = twin.stage(sources, [None, None, target, None])

    assert bytes(target) == b"third"
    assert found == [xxhash.xxh3_128_digest(bytes(each)) for each in sources]
    assert twin.stage([], []) == []


@pytest.mark.parametrize("size", [4 << 20, PAST_CACHES + 1000])
def test_the_hash_is_that_of_the_copy_while_somebody_writes(twin: ModuleType, size: int) -> None:
    source, copy = mmap.mmap(-1, size), mmap.mmap(-1, size)
    start = ctypes.addressof(ctypes.c_char.from_buffer(source))
    stop = threading.Event()

    def write() -> None:
        value = 0
        while not stop.is_set():
            value += 1
            ctypes.memset(start, value & 255, size)  # the other thread runs on meanwhile

    writer = threading.Thread(target=write)
    writer.start()
    try:
        torn = 0
        deadline = time.monotonic() + 20
        while torn < 5 and time.monotonic() < deadline:
            (found,) = twin.stage([source], [copy])
            assert found == xxhash.xxh3_128_digest(copy)
            torn += len(set(copy[::997])) > 1  # it did write meanwhile
    finally:
        stop.set()
        writer.join()
    assert torn


def test_what_cannot_be_copied_is_refused(twin: ModuleType) -> None:
    with pytest.raises(ValueError, match="3 bytes are to be copied to 4"):
        twin.stage([b"abc"], [bytearray(4)])
    with pytest.raises(ValueError, match="1 buffers and 2 targets"):
        twin.stage([b"abc"], [None, None])
    with pytest.raises((BufferError, TypeError)):
        twin.stage([b"abc"], [b"abc"])
    with pytest.raises(TypeError):
        twin.stage([b"abc", 5], [None, None])
    with pytest.raises((BufferError, TypeError)):
        twin.stage([memoryview(b"abcdef")[::2]], [bytearray(3)])
    kept = bytearray(b"abc")
    with pytest.raises(TypeError):
        twin.stage([kept, 5], [bytearray(3), None])
    kept.append(1)  # refused if it had not been given back


def test_addresses_are_those_of_the_first_bytes(twin: ModuleType) -> None:
    memory = (ctypes.c_char * 100)()
    view = memoryview(memory)
    start = ctypes.addressof(memory)

    assert twin.addresses([view, view[7:], memory]) == [start, start + 7, start]
    assert twin.addresses([]) == []


def resident(of: mmap.mmap, twin: ModuleType) -> int:
    """KiB of a mapping that have memory behind them."""
    (start,) = twin.addresses([of])
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    for line in lines:
        first, _, end = line.partition(" ")[0].partition("-")
        if end and int(first, 16) <= start < int(end, 16):
            return next(int(each.split()[1]) for each in lines if each.startswith("Rss:"))
    raise AssertionError("it is not mapped")


@pytest.mark.skipif(platform.system() != "Linux", reason="asks Linux")
def test_memory_is_made_to_be_there_and_given_back(twin: ModuleType) -> None:
    size = 4 << 20
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    before = resident(memory, twin)
    memory[5000] = 7

    twin.populate(memoryview(memory)[: size // 2])
    half = resident(memory, twin)
    assert memory[5000] == 7
    twin.discard(memory)

    assert half - before >= size // 2 >> 10
    assert resident(memory, twin) <= half - (size // 2 >> 10)
    twin.populate(memoryview(memory)[1:1])


@pytest.mark.parametrize("level", [-1, 0, 1, 2])
@pytest.mark.parametrize("past", [0, 1])
def test_each_set_of_instructions_copies_exactly(level: int, past: int, tmp_path: Path) -> None:
    """-1 is plain C, as on other processors; the others are chosen among when copying."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or (level >= 0 and platform.machine() != "x86_64"):
        pytest.skip("there is no compiler, or this is another processor")
    source = Path(__file__).parents[1] / "native" / "xxh3.c"
    library = tmp_path / "copy.so"
    command = [compiler, "-std=c11", "-O2", f"-DFLOR_AT_MOST={level}", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", str(library), str(source)], check=True, timeout=120)
    copying = ctypes.CDLL(str(library)).flor_xxh3_128_copy
    copying.argtypes = [
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p,
    ]  # fmt: skip
    out, memory = ctypes.create_string_buffer(16), mmap.mmap(-1, len(NOISE))
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for n in (*range(0, 1300, 3), *EDGES):
        for shift in (0, 3):
            data = NOISE[shift : shift + n]
            copying(data, n, start + shift, past, out)
            assert out.raw == xxhash.xxh3_128_digest(data), (n, shift)
            assert memory[shift : shift + n] == data
