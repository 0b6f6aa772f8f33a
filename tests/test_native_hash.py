"""The C hash and its Python twin against the xxhash package."""

from __future__ import annotations

import ctypes
import importlib
import inspect
import platform
import random
import shutil
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

EDGES = (
    *(1024 * k + d for k in (2, 3, 4, 5, 8, 64) for d in (-1, 0, 1)),
    *(1024 * k + d for k in (2, 3, 4) for d in (63, 64, 65)),
    1 << 20,
    (1 << 20) + 1,
)
NOISE = random.Random(1).randbytes((1 << 20) + 64)


@pytest.fixture(
    scope="module",
    params=["flor_trace._pure_hash", pytest.param("flor_trace._native", marks=pytest.mark.native)],
)
def twin(request: pytest.FixtureRequest) -> ModuleType:
    if request.param == "flor_trace._native":
        return pytest.importorskip(request.param, exc_type=ImportError)
    return importlib.import_module(request.param)


@pytest.mark.parametrize("offset", [0, 1, 7])
def test_every_length_and_alignment_gives_what_xxhash_gives(twin: ModuleType, offset: int) -> None:
    whole = memoryview(NOISE)[offset:]
    wrong = [
        n
        for n in (*range(2201), *EDGES)
        if twin.digest(whole[:n]) != xxhash.xxh3_128_digest(bytes(whole[:n]))
    ]
    assert wrong == []


@pytest.mark.parametrize("fill", [b"\x00", b"\xff", b"\x80"])
def test_constant_bytes_give_what_xxhash_gives(twin: ModuleType, fill: bytes) -> None:
    data = fill * 4100
    for n in range(4100):
        assert twin.digest(data[:n]) == xxhash.xxh3_128_digest(data[:n]), n


@given(st.binary(max_size=5000))
def test_any_bytes_give_what_xxhash_gives(twin: ModuleType, data: bytes) -> None:
    assert twin.digest(data) == xxhash.xxh3_128_digest(data)


@given(st.lists(st.binary(max_size=300)))
def test_many_digests_are_the_digests_in_order(twin: ModuleType, parts: list[bytes]) -> None:
    assert twin.digest_many(parts) == [xxhash.xxh3_128_digest(part) for part in parts]


def test_the_published_value_of_nothing_is_given_high_half_first(twin: ModuleType) -> None:
    assert twin.digest(b"").hex() == "99aa06d3014798d86001c324468d497f"
    assert type(twin.digest(b"")) is bytes


def test_every_kind_of_contiguous_buffer_is_read(twin: ModuleType) -> None:
    raw = NOISE[:4096]
    wanted = xxhash.xxh3_128_digest(raw)
    frozen = np.frombuffer(raw, dtype="<f4")
    assert not frozen.flags.writeable
    square = np.frombuffer(bytearray(raw), dtype="<i8").reshape(16, 32)
    for buffer in (
        raw,
        bytearray(raw),
        memoryview(raw),
        memoryview(bytearray(raw)),
        frozen,
        square,
    ):
        assert twin.digest(buffer) == wanted
    assert twin.digest(square.T.copy(order="C")) != wanted
    assert twin.digest(np.float64(2.5)) == xxhash.xxh3_128_digest(np.float64(2.5).tobytes())
    assert twin.digest(np.zeros((0, 3))) == twin.digest(b"")
    times = np.array([1, 2, 3], dtype="datetime64[s]")
    assert twin.digest(times) == xxhash.xxh3_128_digest(times.tobytes())


@pytest.mark.parametrize(
    ("buffer", "error"),
    [
        (memoryview(b"abcdef")[::2], BufferError),
        (memoryview(b"abcdef")[::-1], BufferError),
        (np.arange(10)[::2], ValueError),
        (np.asfortranarray(np.ones((3, 4))), ValueError),
    ],
)
def test_a_buffer_with_gaps_is_refused(
    twin: ModuleType, buffer: object, error: type[Exception]
) -> None:
    with pytest.raises(error, match="contiguous"):
        twin.digest(buffer)
    with pytest.raises(error, match="contiguous"):
        twin.digest_many([b"", buffer])


@pytest.mark.parametrize("value", ["text", 3, None, [1, 2]])
def test_what_is_no_buffer_is_refused(twin: ModuleType, value: object) -> None:
    with pytest.raises(TypeError):
        twin.digest(value)
    with pytest.raises(TypeError):
        twin.digest_many([b"good", value])


def test_a_released_buffer_is_refused(twin: ModuleType) -> None:
    view = memoryview(b"abc")
    view.release()
    with pytest.raises(ValueError, match="released"):
        twin.digest(view)


def test_the_number_and_the_kind_of_arguments_are_checked(twin: ModuleType) -> None:
    for call in (twin.digest, twin.digest_many):
        with pytest.raises(TypeError):
            call()
        with pytest.raises(TypeError):
            call([], [])
        with pytest.raises(TypeError):
            call(buffer=b"")
    with pytest.raises(TypeError):
        twin.digest_many(3)


def test_many_digests_take_any_iterable_once(twin: ModuleType) -> None:
    parts = [b"a", bytearray(b"b"), np.arange(3)]
    wanted = [twin.digest(part) for part in parts]
    assert twin.digest_many(tuple(parts)) == wanted
    assert twin.digest_many(iter(parts)) == wanted
    assert twin.digest_many([]) == []


def test_a_buffer_is_unlocked_again(twin: ModuleType) -> None:
    data = bytearray(200_000)
    twin.digest(data)
    twin.digest_many([data, data])
    data.append(1)  # BufferError while an export is alive
    assert len(data) == 200_001


def test_parameters_are_named_alike(twin: ModuleType) -> None:
    for name, parameter in (("digest", "buffer"), ("digest_many", "buffers")):
        (found,) = inspect.signature(getattr(twin, name)).parameters.values()
        assert (found.name, found.kind) == (parameter, inspect.Parameter.POSITIONAL_ONLY)


def _lets_others_run(twin: ModuleType, size: int, seconds: float) -> bool:
    """Whether a waiting thread gets its turn during digests, where nothing else yields."""
    data = bytearray(size)
    gate, passed = threading.Lock(), []
    gate.acquire()
    other = threading.Thread(target=lambda: (gate.acquire(), passed.append(True)))
    other.start()
    time.sleep(0.02)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        gate.release()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end and not passed:
            twin.digest(data)
        return bool(passed)
    finally:
        sys.setswitchinterval(interval)
        other.join()


def test_other_threads_run_during_large_digests_only(twin: ModuleType) -> None:
    assert not _lets_others_run(twin, 50_000, 0.05)
    assert _lets_others_run(twin, 4 << 20, 10)


def test_threads_get_the_digests_one_thread_gets(twin: ModuleType) -> None:
    parts = [NOISE[i:] for i in range(8)]
    wanted = [xxhash.xxh3_128_digest(part) for part in parts]
    results: list[list[bytes]] = []
    threads = [
        threading.Thread(target=lambda: results.append(twin.digest_many(parts))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [wanted] * 4


def test_nothing_is_left_behind_by_many_calls(twin: ModuleType) -> None:
    parts = [b"", b"abc", bytearray(100), memoryview(NOISE)[:300]]
    broken = [*parts, memoryview(b"abcd")[::2]]

    def calls(count: int) -> None:
        for _ in range(count):
            twin.digest(parts[3])
            twin.digest_many(parts)
            try:
                twin.digest_many(broken)
            except BufferError:
                pass

    calls(100)
    before = sys.getallocatedblocks()
    calls(33_000)
    assert sys.getallocatedblocks() - before < 200


def test_inputs_larger_than_the_caches_give_what_xxhash_gives(twin: ModuleType) -> None:
    whole = memoryview(NOISE * 17)[3:]  # from 16 MiB on another instruction set is chosen
    for n in ((1 << 24) - 1, 1 << 24, (1 << 24) + 1):
        assert twin.digest(whole[:n]) == xxhash.xxh3_128_digest(whole[:n])


def test_many_small_inputs_beyond_the_caches_give_what_xxhash_gives(twin: ModuleType) -> None:
    whole = memoryview(NOISE)
    lengths = [0, 1, 3, 5, 16, 100, 128, 200, 240, 241, 1024, 2047, 2048, 2049, 65_537, 1 << 20]
    parts = [whole[n % 64 :][:n] for n in lengths] * 16
    assert sum(map(len, parts)) > 16 << 20  # another choice of instructions, in threads' company

    assert twin.digest_many(parts) == [xxhash.xxh3_128_digest(part) for part in parts]


BUFFERS = {
    "bytes": bytes,
    "bytearray": bytearray,
    "array": lambda data: array("B", data),
    "memoryview": memoryview,
    "of doubles": lambda data: array("d", data[: len(data) // 8 * 8]),
    "in rows": lambda data: (
        memoryview(data[: len(data) // 6 * 6]).cast("B", (len(data) // 6, 3, 2))
        if len(data) >= 6
        else memoryview(data)
    ),
    "unaligned": lambda data: memoryview(b"x" + data)[1:],
    "frozen": lambda data: memoryview(bytearray(data)).toreadonly(),
    "of ctypes": lambda data: (ctypes.c_char * len(data)).from_buffer_copy(data),
    "of NumPy": lambda data: np.frombuffer(data, "u1").copy(),
    "of NumPy's rows": lambda data: np.frombuffer(data[: len(data) // 4 * 4], "<u2").reshape(-1, 2),
    "a scalar": lambda data: np.float64(len(data)),
}
LENGTHS = st.one_of(
    *(st.integers(low, high) for low, high in pairwise((0, 1, 4, 9, 17, 129, 241, 1025, 9000)))
)


@st.composite
def exporters(draw: st.DrawFn) -> object:
    length = draw(LENGTHS)
    at = draw(st.integers(0, 63))
    return BUFFERS[draw(st.sampled_from(sorted(BUFFERS)))](NOISE[at : at + length])


@pytest.mark.native
@settings(deadline=None, max_examples=400)
@given(st.lists(exporters(), max_size=12))
def test_the_twins_agree_on_any_list_of_buffers(parts: list[Any]) -> None:
    native = pytest.importorskip("flor_trace._native", exc_type=ImportError)
    pure = importlib.import_module("flor_trace._pure_hash")
    wanted = [xxhash.xxh3_128_digest(memoryview(part).tobytes()) for part in parts]

    assert native.digest_many(parts) == pure.digest_many(parts) == wanted
    assert [native.digest(part) for part in parts] == wanted


BAD = [
    *(memoryview(b"abcdef")[::2], "text", None, 3.5, np.arange(10)[::2], [b"a"]),
    np.asfortranarray(np.ones((2, 3))),
    np.arange(6).reshape(2, 3)[:, ::-1],
]


@given(st.lists(st.sampled_from(range(len(BAD) + 5)), min_size=1, max_size=8))
def test_whatever_is_refused_all_that_was_taken_is_given_back(order: list[int]) -> None:
    """`range(len(BAD))` are bad ones; what remains are good ones, of which any number is taken."""
    good = [bytearray(b"x" * n) for n in (0, 1, 50, 300, 5000)]
    parts = [BAD[n] if n < len(BAD) else good[n - len(BAD)] for n in order]
    for name in ("flor_trace._pure_hash", "flor_trace._native"):
        twin = pytest.importorskip(name, exc_type=ImportError)
        if any(n < len(BAD) for n in order):
            with pytest.raises((TypeError, BufferError, ValueError)):
                twin.digest_many(parts)
        else:
            twin.digest_many(parts)
        for each in good:
            each.append(1)  # BufferError while an export is alive
            each.pop()


class Exporter:
    """Counts what it gave out; before Python 3.12 no class of Python's own can export."""

    def __init__(self, data: bytes, then: Callable[[], object] = lambda: None) -> None:
        self.data, self.then, self.out = bytearray(data), then, 0

    def __buffer__(self, flags: int) -> memoryview:
        self.then()
        self.out += 1
        return memoryview(self.data)

    def __release_buffer__(self, view: memoryview) -> None:
        self.out -= 1
        view.release()


needs_exporters = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="classes export buffers from Python 3.12 on"
)


@needs_exporters
def test_an_exporter_that_raises_is_heard_and_the_others_get_their_buffers_back(
    twin: ModuleType,
) -> None:
    def fail() -> None:
        raise LookupError("not now")

    first, second = Exporter(b"abc"), Exporter(b"abc", fail)
    with pytest.raises(LookupError, match="not now"):
        twin.digest_many([first, bytearray(4), second, first])
    assert (first.out, second.out) == (0, 0)
    assert twin.digest_many([first, first]) == [xxhash.xxh3_128_digest(b"abc")] * 2
    assert first.out == 0


@needs_exporters
def test_an_exporter_that_changes_the_list_changes_nothing(twin: ModuleType) -> None:
    parts: list[Any] = [b"1", b"2", b"3"]
    parts.insert(1, Exporter(b"x", parts.clear))

    wanted = [xxhash.xxh3_128_digest(part) for part in (b"1", b"x", b"2", b"3")]
    assert twin.digest_many(parts) == wanted
    assert parts == []


@needs_exporters
def test_an_exporter_that_raises_when_it_gets_its_buffer_back_is_not_the_error(
    twin: ModuleType,
) -> None:
    class Sore(Exporter):
        def __release_buffer__(self, view: memoryview) -> None:
            super().__release_buffer__(view)
            raise LookupError("lost")

    with pytest.raises(TypeError), _unraisable() as lost:
        twin.digest_many([Sore(b"abc"), None])
    assert [type(each) for each in lost] == [LookupError]


@contextmanager
def _unraisable() -> Iterator[list[Any]]:
    found: list[Any] = []
    before, sys.unraisablehook = sys.unraisablehook, lambda args: found.append(args.exc_value)
    try:
        yield found
    finally:
        sys.unraisablehook = before


@pytest.mark.native
def test_a_buffer_that_another_thread_writes_to_is_still_only_read() -> None:
    native = pytest.importorskip("flor_trace._native", exc_type=ImportError)
    data = np.zeros(4 << 20, "u1")
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            data[:] = data[0] + 1

    other = threading.Thread(target=write)
    other.start()
    try:
        for _ in range(10):
            assert [len(one) for one in native.digest_many([data, data[5:]])] == [16, 16]
    finally:
        done.set()
        other.join()


@pytest.mark.native
def test_other_threads_run_while_many_small_ones_are_digested() -> None:
    native = pytest.importorskip("flor_trace._native", exc_type=ImportError)
    parts = [NOISE[:1000]] * 4000
    many = SimpleNamespace(digest=lambda _: native.digest_many(parts))
    few = SimpleNamespace(digest=lambda _: native.digest_many(parts[:50]))
    assert not _lets_others_run(few, 0, 0.05)
    assert _lets_others_run(many, 0, 10)


@pytest.mark.parametrize("level", [-1, 0, 1, 2])
def test_each_set_of_instructions_gives_what_xxhash_gives(level: int, tmp_path: Path) -> None:
    """-1 is plain C, as on other processors; the others are chosen among when hashing."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or (level >= 0 and platform.machine() != "x86_64"):
        pytest.skip("there is no compiler, or this is another processor")
    source = Path(__file__).parents[1] / "native" / "xxh3.c"
    library = tmp_path / "hash.so"
    command = [compiler, "-std=c11", "-O2", f"-DFLOR_AT_MOST={level}", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", str(library), str(source)], check=True, timeout=120)
    hashing = ctypes.CDLL(str(library)).flor_xxh3_128
    hashing.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p]
    out = ctypes.create_string_buffer(16)
    for n in (*range(1300), *EDGES):
        for start in (0, 3):
            data = NOISE[start : start + n]
            hashing(data, n, out)
            assert out.raw == xxhash.xxh3_128_digest(data), (n, start)
