from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from flor_trace.instrument import bind as binding
from flor_trace.instrument import cache as caching
from flor_trace.instrument import tidy
from flor_trace.instrument.bind import bind
from flor_trace.instrument.cache import CodeCache, Unit
from flor_trace.records import replace
from flor_trace.types import Controls, LoopKey, Spot

SOURCE = b"""
import time
def f(n):
    start = time.time()
    for i in range(n):
        while n:
            n -= 1
    return start
"""
UNIT = Unit(SOURCE, "/x/m.py", "m.py")


def forbid(monkeypatch):
    def fail(unit):
        raise AssertionError("compiled again")

    monkeypatch.setattr(caching, "_compile", fail)


def test_a_hit_equals_a_miss_and_compiles_nothing(tmp_path, monkeypatch):
    cache = CodeCache(tmp_path / "deep" / "cache")
    missed = cache.compiled(UNIT)
    forbid(monkeypatch)
    hit = cache.compiled(UNIT)
    assert hit.info == missed.info
    assert hit.code == missed.code
    assert hit.info.clocks == {"start"}


CHANGES = [
    {"source": SOURCE + b"\n"},
    {"path": "/y/m.py"},
    {"module": "n.py"},
    {"optimize": 2},
    {"controls": Controls(frozenset({LoopKey("m.py:f:0")}))},
    {"controls": Controls(spots=frozenset({Spot("m.py", (1, 1, 0, 4), False)}))},
    {"flags": 0x1000000},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_everything_the_code_depends_on_is_in_the_key(change):
    assert replace(UNIT, **change).key() != UNIT.key()


@pytest.mark.parametrize("name", ["FORMAT", "__version__", "CACHE_TAG", "MAGIC_NUMBER"])
def test_everything_of_ours_and_pythons_is_in_the_key(name, monkeypatch):
    before = UNIT.key()
    changed = b"other" if isinstance(getattr(caching, name), bytes) else "other"
    monkeypatch.setattr(caching, name, changed)
    assert UNIT.key() != before


def test_columns_are_in_the_key(monkeypatch):
    before = UNIT.key()
    monkeypatch.setattr(caching, "columns_are_kept", lambda: False)
    assert UNIT.key() != before


def test_neighbouring_parts_of_the_key_do_not_run_together():
    one = Unit(b"", "ab", "c")
    other = Unit(b"", "a", "bc")
    assert one.key() != other.key()


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "foreign"])
def test_a_damaged_entry_is_made_again(tmp_path, damage):
    cache = CodeCache(tmp_path)
    whole = cache.compiled(UNIT)
    (entry,) = tmp_path.iterdir()
    data = bytearray(entry.read_bytes())
    if damage == "flip":
        data[-5] ^= 1
    good = bytes(data)
    entry.write_bytes({"cut": good[:-9], "flip": good, "empty": b"", "foreign": b"x" * 99}[damage])
    assert cache.compiled(UNIT).code == whole.code
    (entry,) = tmp_path.iterdir()
    assert caching._read(entry) is not None


def test_a_directory_that_cannot_be_written_is_no_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    assert CodeCache(blocked).compiled(UNIT).info.module == "m.py"
    assert CodeCache(blocked / "below").compiled(UNIT).info.module == "m.py"
    assert os.listdir(tmp_path) == ["file"]


def test_nothing_is_left_behind_when_writing_fails(tmp_path, monkeypatch):
    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    CodeCache(tmp_path).compiled(UNIT)
    assert os.listdir(tmp_path) == []


def test_a_syntax_error_is_not_cached(tmp_path):
    with pytest.raises(SyntaxError):
        CodeCache(tmp_path).compiled(Unit(b"x = = 1", "x.py", "x.py"))
    assert os.listdir(tmp_path) == []


def test_binding_a_hit_looks_for_no_markers_and_gives_the_same_code(tmp_path, monkeypatch):
    cache = CodeCache(tmp_path)
    cache.compiled(UNIT)
    found = cache.compiled(UNIT)
    fresh = bind(found.code, found.info, Named())

    monkeypatch.setattr(binding, "find_places", None)
    bound = bind(found.code, found.info, Named(), places=found.places)

    assert described(bound) == described(fresh)
    assert "m.py:f:1" in str(described(bound))


class Named:
    def site(self, loop):
        return loop.key

    def control(self, loop):
        raise AssertionError("nothing is controlled")


def described(code):
    inner = [described(k) if isinstance(k, type(code)) else k for k in code.co_consts]
    return [code.co_qualname, code.co_code, inner]


def filled(directory, *, count, size=100, first=0):
    directory.mkdir(exist_ok=True)
    for k in range(first, first + count):
        entry = directory / f"{k:032x}"
        entry.write_bytes(b"x" * size)
        os.utime(entry, (1_000_000 + k, 1_000_000 + k))
    return directory


def left(directory):
    return sorted(int(name, 16) for name in os.listdir(directory) if "." not in name)


def test_a_directory_within_its_bounds_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(tidy, "MAX_ENTRIES", 20)
    tidy.tidy(filled(tmp_path, count=20))
    assert left(tmp_path) == list(range(20))


def test_too_many_entries_lose_the_oldest(tmp_path, monkeypatch):
    monkeypatch.setattr(tidy, "MAX_ENTRIES", 20)
    tidy.tidy(filled(tmp_path, count=21))
    assert left(tmp_path) == list(range(6, 21))


def test_too_many_bytes_lose_the_oldest(tmp_path, monkeypatch):
    monkeypatch.setattr(tidy, "MAX_BYTES", 1000)
    tidy.tidy(filled(tmp_path, count=11, size=100))
    assert left(tmp_path) == list(range(4, 11))


def test_what_a_killed_writer_left_counts_and_goes_too(tmp_path, monkeypatch):
    monkeypatch.setattr(tidy, "MAX_ENTRIES", 20)
    filled(tmp_path, count=20, first=1)
    half = tmp_path / f"{0:032x}.77.abcd"
    half.write_bytes(b"x")
    os.utime(half, (1000, 1000))
    tidy.tidy(tmp_path)
    assert not half.exists()


def test_foreign_files_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(tidy, "MAX_ENTRIES", 1)
    (tmp_path / "README").write_text("kept")
    (tmp_path / ("d" * 32)).mkdir()
    tidy.tidy(filled(tmp_path, count=3))
    assert (tmp_path / "README").exists()
    assert (tmp_path / ("d" * 32)).is_dir()


def test_an_entry_that_is_read_after_days_counts_as_young_again(tmp_path):
    cache = CodeCache(tmp_path)
    cache.compiled(UNIT)
    (entry,) = tmp_path.iterdir()
    now = time.time()
    os.utime(entry, (now - 3600, now - 3600))
    cache.compiled(UNIT)
    assert entry.stat().st_mtime < now - 3000, "it was touched for a single hour"
    os.utime(entry, (now - 90_000, now - 90_000))
    cache.compiled(UNIT)
    assert entry.stat().st_mtime > now - 60


def test_writing_entries_keeps_the_directory_within_its_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr(tidy, "MAX_ENTRIES", 20)
    ready = CodeCache(None).compiled(UNIT)
    monkeypatch.setattr(caching, "_compile", lambda unit: ready)
    cache = CodeCache(tmp_path)
    most = 0
    for k in range(300):
        cache.compiled(replace(UNIT, module=f"{k}.py"))
        most = max(most, len(os.listdir(tmp_path)))
    assert 20 < most < 150
    assert len(os.listdir(tmp_path)) < 150


def test_several_processes_may_tidy_and_use_one_directory_at_once(tmp_path):
    program = """
import sys
from pathlib import Path
from flor_trace.instrument import tidy
from flor_trace.instrument.cache import CodeCache, Unit
tidy.MAX_ENTRIES = 8
tidy.is_due = lambda entry: True
cache = CodeCache(Path(sys.argv[1]))
for round in range(3):
    for k in range(15):
        made = cache.compiled(Unit(b"for i in range(%d): pass" % k, f"/x/{k}.py", f"{k}.py"))
        assert made.info.module == f"{k}.py" and len(made.info.loops) == 1
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    assert [(each.communicate()[1], each.returncode) for each in running] == [(b"", 0)] * 3
    assert 0 < len(os.listdir(tmp_path)) <= 3 * 8


def test_a_module_that_could_not_be_rewritten_is_tried_again(tmp_path, monkeypatch):
    from flor_trace.instrument import compile as compiling

    cache = CodeCache(tmp_path)

    def fail(*args, **kwargs):
        raise ImportError("for this once")

    with monkeypatch.context() as broken:
        broken.setattr(compiling, "find_loops", fail)
        assert cache.compiled(UNIT).info.left_alone == (("<module>", "ImportError: for this once"),)
    assert cache.compiled(UNIT).info.left_alone == ()
