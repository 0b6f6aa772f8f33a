"""What other file systems do that a local one does not."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flor_trace.history.catalog import Catalog
from flor_trace.history.journal import JournalWriter, read_journal
from flor_trace.history.runid import claim_run_dir
from flor_trace.store import files
from flor_trace.store.check import fsck
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


def fails_once(function: Any, number: int, *, after: bool = False, wanted: str = "") -> Any:
    """The function, failing the first time; `after` it has done what it was asked for."""
    done = []

    def call(*args: Any, **options: Any) -> Any:
        if not done and wanted in str(args[0]):
            done.append(1)
            if after:
                function(*args, **options)
            raise OSError(number, os.strerror(number))
        return function(*args, **options)

    return call


def test_a_name_that_is_stale_is_asked_for_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (address,) = fill(store, "run", [b"x" * 100])
    for wanted in ("run.pack", "run.idx"):
        monkeypatch.setattr(files.os, "open", fails_once(os.open, errno.ESTALE, wanted=wanted))
        assert PackReader(store).get(address) == b"x" * 100
        monkeypatch.undo()


def test_an_open_file_that_is_stale_is_opened_anew(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = fill(store, "run", [b"x" * 100, b"y" * 100])
    reader = PackReader(store)
    reader.get(first)
    monkeypatch.setattr(files.os, "pread", fails_once(os.pread, errno.ESTALE))
    assert reader.get(second) == b"y" * 100


def test_a_rename_whose_answer_got_lost_has_been_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = fails_once(Path.replace, errno.ENOENT, after=True)
    monkeypatch.setattr(Path, "replace", lambda *args: lost(*args))
    files.publish(tmp_path / "a", [b"one", b"two"])
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"onetwo"


def test_a_rename_that_was_not_done_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = fails_once(Path.replace, errno.ENOENT)
    monkeypatch.setattr(Path, "replace", lambda *args: lost(*args))
    with pytest.raises(FileNotFoundError):
        files.publish(tmp_path / "a", [b"one"])
    assert os.listdir(tmp_path) == []


def test_a_pack_or_run_whose_making_was_not_answered_gets_another_name(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        files.os, "open", fails_once(os.open, errno.EEXIST, after=True, wanted="run.pack")
    )
    (address,) = fill(store, "run", [b"x" * 100])
    monkeypatch.undo()
    assert PackReader(store).get(address) == b"x" * 100
    assert [p for p in fsck(store, data=True) if p.serious] == []

    lost = fails_once(Path.mkdir, errno.EEXIST, after=True)
    monkeypatch.setattr(Path, "mkdir", lambda *args, **options: lost(*args, **options))
    runid, directory = claim_run_dir(store)
    assert directory.is_dir() and directory.name == runid
    assert Catalog(store.path).runs() == []


def test_a_journal_whose_making_was_not_answered_is_ours_if_nobody_else_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    monkeypatch.setattr(os, "open", fails_once(os.open, errno.EEXIST, after=True))
    journal = JournalWriter(path, alone=True)
    monkeypatch.undo()
    journal.append({"t": "run"})
    journal.close()
    assert [frame for _, frame in read_journal(path)] == [{"t": "run"}]
    with pytest.raises(Exception, match="File exists"):
        JournalWriter(path, alone=True)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_directories_that_cannot_be_synced_are_left_to_the_server(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    import stat

    real = os.fsync

    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(number, os.strerror(number))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    (address,) = fill(store, "run", [b"x" * 100])
    _, directory = claim_run_dir(store)
    journal = JournalWriter(directory / "journal")
    journal.append({"t": "run"})
    journal.sync()
    journal.close()
    assert PackReader(store).get(address) == b"x" * 100


def test_a_pack_that_is_not_listed_yet_is_found_by_the_name_of_its_run(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (address,) = fill(store, "260101-000000-aaaaa", [b"x" * 100])
    monkeypatch.setattr("flor_trace.store.lookup.pack_names", lambda packs: [])
    reader = PackReader(store)
    reader.prefer("260101-000000-aaaaa")
    assert reader.get(address) == b"x" * 100


def test_two_copies_of_a_store_that_grew_apart_are_put_together_by_copying_files(
    tmp_path: Path,
) -> None:
    """As with ``rsync -a --ignore-existing a/ b/``: what both have is the same."""
    left = open_store(tmp_path / "left", create=True)
    shared = random.Random(0).randbytes(3000)
    before = fill(left, "260101-000000-aaaaa", [shared])
    shutil.copytree(left.path, tmp_path / "right")
    right = open_store(tmp_path / "right", create=True)
    added = fill(left, "260102-000000-bbbbb", [b"left" * 100, shared])
    added += fill(right, "260102-000000-ccccc", [b"right" * 100, shared])
    journals = []
    for each in (left, right):
        runid, directory = claim_run_dir(each)
        journal = JournalWriter(directory / "journal")
        journal.append({"t": "run", "runid": runid, "tstamp": "2026-01-01T00:00:00+00:00"})
        journal.close()
        journals.append(runid)
    Catalog(left.path).runs()

    for source, target in ((left, right), (right, left)):
        for file in source.path.rglob("*"):
            there = target.path / file.relative_to(source.path)
            if file.is_dir():
                there.mkdir(exist_ok=True)
            elif not there.exists():
                shutil.copy2(file, there)
    for each in (left, right):
        reader = PackReader(each)
        assert all(reader.get(address) for address in before + added)
        assert [p for p in fsck(each, data=True) if p.serious] == []
        assert sorted(run.runid for run in Catalog(each.path).runs()) == sorted(journals)


_RECORDER = """
import random, sys
from pathlib import Path
from flor_trace.history.journal import JournalWriter
from flor_trace.history.runid import claim_run_dir
from flor_trace.store.layout import open_store
from flor_trace.store.packs import PackWriter

random.seed(0)
store = open_store(Path(sys.argv[1]), create=True)
print("ready", flush=True)
sys.stdin.readline()
runid, directory = claim_run_dir(store)
journal = JournalWriter(directory / "journal")
journal.append({"t": "run", "runid": runid, "tstamp": "2026-01-01T00:00:00+00:00"})
writer = PackWriter(store, sys.argv[2])
for number in range(50):
    address = writer.put(random.randbytes(2000))
    writer.flush()
    journal.append({"t": "saved", "at": address})
writer.close()
journal.close()
"""


def _record_at_once(store: Path, count: int, name: str) -> None:
    recorders = [
        subprocess.Popen(
            [sys.executable, "-c", _RECORDER, str(store), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    for each in recorders:
        assert each.stdout is not None and each.stdout.readline() == "ready\n"
    for each in recorders:
        each.communicate("go\n")
        assert each.returncode == 0


def test_many_recorders_at_once_lose_nothing_and_later_ones_store_nothing_twice(
    tmp_path: Path,
) -> None:
    """Eight with the same content, the same names and the same seeds; then one that comes later."""
    path = tmp_path / "store"
    _record_at_once(path, 8, "run")
    store = open_store(path, create=False)
    size = sum(file.stat().st_size for file in store.packs.iterdir())
    _record_at_once(path, 1, "run")

    assert sum(file.stat().st_size for file in store.packs.iterdir()) == size
    runs = list(store.runs.iterdir())
    assert len(runs) == 9
    reader = PackReader(store)
    for run in runs:
        saved = [frame["at"] for _, frame in read_journal(run / "journal") if frame["t"] == "saved"]
        assert len(saved) == 50
        assert [len(reader.get(address)) for address in saved] == [2000] * 50
    assert fsck(store, data=True) == []
