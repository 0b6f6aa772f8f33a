from __future__ import annotations

import os

import pytest

from flor_trace.instrument import cache as caching
from flor_trace.instrument.cache import CodeCache, Unit
from flor_trace.records import replace
from flor_trace.types import LoopKey

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
    {"controls": frozenset({LoopKey("m.py:f:0")})},
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
