"""The C hash and its Python twin against the xxhash package."""

from __future__ import annotations

import importlib
import inspect
import random
import sys
import threading
import time
from types import ModuleType

import numpy as np
import pytest
import xxhash
from hypothesis import given
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
