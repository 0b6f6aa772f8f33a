"""Byte planes: the C functions and their Python twins against NumPy."""

from __future__ import annotations

import ctypes
import importlib
import math
import platform
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

WIDTHS = (2, 4, 8)
NOISE = random.Random(1).randbytes((1 << 20) + 64)
OTHER = random.Random(2).randbytes((1 << 20) + 64)
EDGES = [items + d for items in (0, 1, 15, 16, 64, 1023, 1024, 2048, 3000) for d in (0, 1)]
LIMIT = 7.6


@pytest.fixture(
    scope="module",
    params=[
        "flor_trace._pure_planes",
        pytest.param("flor_trace._native", marks=pytest.mark.native),
    ],
)
def twin(request: pytest.FixtureRequest) -> ModuleType:
    if request.param == "flor_trace._native":
        return pytest.importorskip(request.param, exc_type=ImportError)
    return importlib.import_module(request.param)


def items_of(data: bytes, width: int) -> Any:
    return np.frombuffer(data[: len(data) // width * width], f"<u{width}")


def zigzagged(data: bytes, base: bytes, width: int) -> bytes:
    """By the definition: 0, -1, 1, -2, ... are 0, 1, 2, 3, ..."""
    difference = (items_of(data, width) - items_of(base, width)).view(f"<i{width}")
    doubled = difference.astype(object) * 2
    return b"".join(int(two if two >= 0 else -two - 1).to_bytes(width, "little") for two in doubled)


def planes_of(data: bytes, width: int) -> bytes:
    whole = data[: len(data) // width * width]
    return b"".join(whole[k::width] for k in range(width))


def split(twin: ModuleType, data: bytes, width: int, base: bytes | None) -> bytes:
    out = bytearray(len(data) // width * width)
    bits = twin.split_planes(data, width, out, base)
    assert len(bits) == width
    assert all(0 <= each <= 8 for each in bits)
    return bytes(out)


def joined(twin: ModuleType, planes: bytes, width: int, base: bytes | None) -> bytes:
    out = bytearray(len(planes))
    items = len(planes) // width
    parts = tuple(planes[k * items : (k + 1) * items] for k in range(width))
    twin.join_planes(parts, out, base)
    return bytes(out)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("offset", [0, 1, 3])
def test_planes_are_the_bytes_of_every_item_at_every_length_and_alignment(
    twin: ModuleType, width: int, offset: int
) -> None:
    for items in EDGES:
        for rest in {0, 1, width - 1}:
            data = NOISE[offset : offset + items * width + rest]
            planes = split(twin, memoryview(NOISE)[offset : offset + len(data)], width, None)
            assert planes == planes_of(data, width), (items, rest)
            assert joined(twin, planes, width, None) == data[: items * width]


@pytest.mark.parametrize("width", WIDTHS)
def test_planes_of_differences_are_those_of_zigzagged_integers(
    twin: ModuleType, width: int
) -> None:
    for items in EDGES:
        data, base = NOISE[: items * width + 1], OTHER[3 : items * width + 4]
        planes = split(twin, data, width, memoryview(OTHER)[3 : items * width + 4])
        assert planes == planes_of(zigzagged(data, base, width), width), items
        whole = items * width
        assert joined(twin, planes, width, base[:whole]) == data[:whole]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_extremes_of_integers_have_a_difference_too(twin: ModuleType, width: int) -> None:
    ends = [0, 1, (1 << 8 * width) - 1, 1 << (8 * width - 1), (1 << (8 * width - 1)) - 1]
    pairs = [(a, b) for a in ends for b in ends]
    data = b"".join(a.to_bytes(width, "little") for a, _ in pairs)
    base = b"".join(b.to_bytes(width, "little") for _, b in pairs)

    planes = split(twin, data, width, base)

    assert planes == planes_of(zigzagged(data, base, width), width)
    assert joined(twin, planes, width, base) == data


@given(
    data=st.binary(max_size=5000),
    seed=st.integers(0, 1000),
    width=st.sampled_from(WIDTHS),
    sparse=st.booleans(),
)
@settings(max_examples=150, deadline=None)
@pytest.mark.native
def test_the_twins_agree_on_every_byte(data: bytes, seed: int, width: int, sparse: bool) -> None:
    native = pytest.importorskip("flor_trace._native", exc_type=ImportError)
    pure = importlib.import_module("flor_trace._pure_planes")
    generator = random.Random(seed)
    base = bytearray(data if sparse else generator.randbytes(len(data)))
    for _ in range(5 if base else 0):
        base[generator.randrange(len(base))] ^= 1
    for before in (None, bytes(base)):
        ours, theirs = bytearray(len(data)), bytearray(len(data))
        a = native.split_planes(data, width, ours, before)
        b = pure.split_planes(data, width, theirs, before)
        assert ours == theirs
        assert a == pytest.approx(b, abs=2e-3)
    assert native.sample_widths(data, LIMIT) == pytest.approx(
        pure.sample_widths(data, LIMIT), abs=2e-3
    )
    assert native.sample_difference(data, bytes(base), width, LIMIT) == pytest.approx(
        pure.sample_difference(data, bytes(base), width, LIMIT), abs=2e-3
    )


@pytest.mark.native
@pytest.mark.parametrize("length", [64, 4096, 100_000, 262_144, 1 << 20])
def test_the_twins_take_the_same_samples(length: int) -> None:
    native = pytest.importorskip("flor_trace._native", exc_type=ImportError)
    pure = importlib.import_module("flor_trace._pure_planes")
    generator = np.random.default_rng(length)
    data = (generator.random(length) ** 4 * 40).astype("u1").tobytes()
    base = (generator.random(length) ** 4 * 40).astype("u1").tobytes()

    # 9: no plane is too full, so that every count shows.
    assert native.sample_widths(data, 9) == pytest.approx(pure.sample_widths(data, 9), abs=1e-4)
    for width in WIDTHS:
        assert native.sample_difference(data, base, width, 9) == pytest.approx(
            pure.sample_difference(data, base, width, 9), abs=1e-4
        )


def entropy(data: bytes) -> float:
    return -sum(n / len(data) * math.log2(n / len(data)) for n in Counter(data).values())


@pytest.mark.parametrize("kinds", [1, 2, 17, 100, 256])
def test_an_estimate_is_near_the_entropy_of_all_bytes(twin: ModuleType, kinds: int) -> None:
    generator = np.random.default_rng(kinds)
    data = (generator.random(1 << 20) ** 2 * kinds).astype("u1").tobytes()
    whole, *_ = twin.sample_widths(data, 9)
    assert 8 * whole == pytest.approx(entropy(data), abs=0.05)

    out = bytearray(len(data))
    for bits in twin.split_planes(data, 4, out, None):
        assert bits == pytest.approx(entropy(data), abs=0.1)


def test_an_estimate_sees_all_of_the_data(twin: ModuleType) -> None:
    """What is unusual in one stretch has its share, wherever it is."""
    for place in range(0, 1 << 20, 1 << 18):
        data = bytearray(1 << 20)
        data[place : place + (1 << 18)] = NOISE[: 1 << 18]
        whole, *_ = twin.sample_widths(data, 9)
        assert 8 * whole == pytest.approx(entropy(bytes(data)), abs=0.15)


def test_full_planes_count_as_bytes_that_stay(twin: ModuleType) -> None:
    data = b"".join(NOISE[i : i + 3] + b"\0" for i in range(0, 300_000, 3))
    _, two, four, eight = twin.sample_widths(data, LIMIT)
    assert (four, eight) == pytest.approx((0.75, 0.75), abs=0.001)
    assert two > 0.78
    assert twin.sample_difference(data, bytes(len(data)), 4, 9) > 0.7


def test_what_is_too_short_to_be_sampled_counts_as_noise(twin: ModuleType) -> None:
    assert twin.sample_widths(b"\0" * 63, LIMIT) == (1.0, 1.0, 1.0, 1.0)
    assert twin.sample_widths(b"", LIMIT) == (1.0, 1.0, 1.0, 1.0)


def wrong_calls(twin: ModuleType) -> list[tuple[type[Exception], str, Any]]:
    room = bytearray(16)
    return [
        (ValueError, "no planes", lambda: twin.split_planes(b"abcdef", 3, room, None)),
        (ValueError, "no planes", lambda: twin.sample_difference(b"ab", b"ab", 1, 8.0)),
        (ValueError, "no planes", lambda: twin.join_planes((b"a",) * 9, room, None)),
        (ValueError, "no planes", lambda: twin.join_planes((), room, None)),
        (ValueError, "another length", lambda: twin.split_planes(b"ab", 2, room, b"a")),
        (ValueError, "another length", lambda: twin.sample_difference(b"ab", b"a", 2, 8.0)),
        (ValueError, "another length", lambda: twin.join_planes((b"a" * 8,) * 2, room, b"a")),
        (ValueError, "no room", lambda: twin.split_planes(b"a" * 18, 2, room, None)),
        (ValueError, "make up", lambda: twin.join_planes((b"a" * 8, b"a" * 7), room, None)),
        (ValueError, "make up", lambda: twin.join_planes((b"a",) * 2, bytearray(3), None)),
        (TypeError, ".", lambda: twin.split_planes("text", 2, room, None)),
        (TypeError, ".", lambda: twin.split_planes(b"a" * 16, 2, bytes(16), None)),
        (TypeError, ".", lambda: twin.join_planes((b"a" * 8, 7), room, None)),
        (TypeError, ".", lambda: twin.join_planes((b"a" * 8,) * 2, room, 7)),
    ]


def test_what_cannot_be_is_an_error_and_every_buffer_is_given_back(twin: ModuleType) -> None:
    for kind, text, call in wrong_calls(twin):
        with pytest.raises(kind, match=text):
            call()
    data, base, out, plane = (bytearray(64) for _ in range(4))
    twin.split_planes(data, 2, out, base)
    with pytest.raises(ValueError, match="length"):
        twin.split_planes(data, 2, out, base[:3])
    with pytest.raises(ValueError, match="make up"):
        twin.join_planes((plane, plane), out, base)
    twin.sample_difference(data, base, 4, 8.0)
    twin.sample_widths(data, 8.0)
    for buffer in (data, base, out, plane):
        buffer.append(0)  # a buffer that is still lent out cannot grow


def test_nothing_is_left_behind_by_many_calls(twin: ModuleType) -> None:
    data, out = NOISE[:64], bytearray(64)

    def calls(count: int) -> None:
        for _ in range(count):
            twin.split_planes(data, 4, out, data)
            twin.join_planes((data[:32], data[32:]), out, None)
            twin.sample_widths(data, 7.0)

    calls(50)
    before = sys.getallocatedblocks()
    calls(2000)
    assert sys.getallocatedblocks() - before < 200


def _lets_others_run(call: Any, seconds: float) -> bool:
    """Whether a thread that waits gets its turn though it is never taken from the caller."""
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
            call()
        return bool(passed)
    finally:
        sys.setswitchinterval(interval)
        other.join()


@pytest.mark.native
def test_other_threads_run_while_large_data_are_split_and_joined() -> None:
    twin = pytest.importorskip("flor_trace._native", exc_type=ImportError)
    out = bytearray(1 << 20)
    data, half = NOISE[: 1 << 20], NOISE[: 1 << 19]
    assert _lets_others_run(lambda: twin.split_planes(data, 4, out, data), 10)
    assert _lets_others_run(lambda: twin.join_planes((half, half), out, None), 10)
    assert not _lets_others_run(lambda: twin.split_planes(data[:4096], 4, out, None), 0.05)


class _Job(ctypes.Structure):
    _fields_ = (
        ("whole", ctypes.c_void_p),
        ("base", ctypes.c_void_p),
        ("items", ctypes.c_size_t),
        ("width", ctypes.c_size_t),
        ("planes", ctypes.c_void_p * 8),
    )


@pytest.mark.native
@pytest.mark.skipif(platform.machine() != "x86_64", reason="instruction sets of x86-64")
@pytest.mark.parametrize("level", [0, 1, 2])
def test_every_instruction_set_gives_the_same_planes(level: int, tmp_path: Path) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    library = tmp_path / "planes.so"
    source = Path(__file__).parents[1] / "native" / "planework.c"
    command = [compiler, "-std=c11", "-O3", f"-DFLOR_AT_MOST={level}", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", str(library), str(source)], check=True)
    run = ctypes.CDLL(str(library)).flor_planes_run
    counts = ctypes.create_string_buffer(8 * 8 * 256 * 4)
    for width in WIDTHS:
        for items in (0, 1, 63, 1025, 5000):
            for base in (None, OTHER[: items * width]):
                data = NOISE[: items * width]
                held = ctypes.create_string_buffer(data, len(data) + 1)
                before = None if base is None else ctypes.create_string_buffer(base, len(base) + 1)
                out = ctypes.create_string_buffer(len(data) + 1)
                job = _Job(ctypes.addressof(held), before and ctypes.addressof(before))
                job.items, job.width = items, width
                for k in range(width):
                    job.planes[k] = ctypes.addressof(out) + k * items
                run(ctypes.byref(job), counts)
                wanted = data if base is None else zigzagged(data, base, width)
                assert out.raw[: len(data)] == planes_of(wanted, width)
                ctypes.memset(held, 0, len(data))
                run(ctypes.byref(job), None)
                assert held.raw[: len(data)] == data
