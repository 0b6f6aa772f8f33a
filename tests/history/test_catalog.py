from __future__ import annotations

import math
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_trace.errors import NothingMatched
from flor_trace.history import schema
from flor_trace.history.catalog import Catalog
from flor_trace.history.journal import JournalWriter
from flor_trace.history.processes import is_alive, process_start
from flor_trace.types import ArtifactRef, CheckpointInfo, Coordinate, Record

Journals = Any  # see conftest.py

MATRIX = {"$": "ndarray", "at": "800-" + "0" * 32, "dtype": "<i8", "shape": [10, 10]}


def training(journals: Journals, epochs: int = 2) -> list[dict[str, Any]]:
    frames = [
        {"t": "config", "values": {"lr": 0.1, "hidden": 128}},
        journals.loop(0, "train.py:main:0", "epoch"),
        journals.loop(1, "train.py:main:1", "step"),
    ]
    for epoch in range(epochs):
        frames += [
            journals.rows(1, [[0, epoch, epoch]], 0, [0, 1], loss=[epoch + 0.5, None]),
            journals.rows(0, [], epoch, [epoch], acc=[epoch / 10]),
        ]
    return frames


def test_records_come_with_coordinates_in_the_order_of_logging(journals: Journals) -> None:
    journals.run("r1", *training(journals, 1))
    epoch, step = Coordinate("epoch", 0, 0), Coordinate("step", 0, 0)
    assert list(Catalog(journals.root).records()) == [
        Record("r1", (), "lr", 0.1, "forward"),
        Record("r1", (), "hidden", 128, "forward"),
        Record("r1", (epoch, step), "loss", 0.5, "forward"),
        Record("r1", (epoch,), "acc", 0.0, "forward"),
    ]


def test_records_can_be_chosen_by_name_and_run(journals: Journals) -> None:
    journals.run("r1", *training(journals))
    journals.run("r2", *training(journals))
    catalog = Catalog(journals.root)
    chosen = list(catalog.records(["acc", "lr"], ["r2"]))
    assert [(record.runid, record.name, record.value) for record in chosen] == [
        ("r2", "lr", 0.1),
        ("r2", "acc", 0.0),
        ("r2", "acc", 0.1),
    ]
    assert list(catalog.records([])) == []
    assert list(catalog.records(None, [])) == []


def test_values_keep_their_type_and_every_bit(journals: Journals) -> None:
    values = [True, 1, 1.0, -0.0, 0.1 + 0.2, 2**70, "1", "NaN", "\ud800", "", math.inf, -math.inf]
    journals.run("r1", {"t": "config", "values": {f"n{i}": v for i, v in enumerate(values)}})
    found = [record.value for record in Catalog(journals.root).records()]
    assert list(map(repr, found)) == list(map(repr, values))


def test_nan_is_a_value_and_null_is_none(journals: Journals) -> None:
    journals.run(
        "r1",
        journals.loop(0, "a:b:0", "i"),
        journals.rows(0, [], 0, [None, math.nan, "x"], a=[math.nan, None, 1]),
    )
    first, second = Catalog(journals.root).records()
    assert math.isnan(first.value)
    assert first.coordinates == (Coordinate("i", 0, None),)
    assert second.coordinates == (Coordinate("i", 2, "x"),)


def test_artifacts_and_errors_are_references(journals: Journals) -> None:
    journals.run("r1", journals.loop(0, "a:b:0", "i"), journals.rows(0, [], 0, [0, 1], x=[1, 2]))
    journals.replay(
        "r1",
        1,
        journals.loop(7, "a:b:0", "i"),
        journals.value("m", [[7, 0, 0]], MATRIX),
        journals.value("m", [[7, 1, 1]], {"$": "error", "text": "ZeroDivisionError: x"}, "error"),
    )
    found = list(Catalog(journals.root).records(["m"]))
    assert [record.source for record in found] == ["replay", "replay"]
    assert found[0].value == ArtifactRef(
        "ndarray", MATRIX["at"], {"dtype": "<i8", "shape": [10, 10]}
    )
    assert found[1].value == ArtifactRef("error", None, {"text": "ZeroDivisionError: x"})


def replayed(journals: Journals, number: int, *values: tuple[str, int, Any, str]) -> Path:
    frames = [journals.loop(3, "train.py:main:0", "epoch")]
    frames += [
        journals.value(name, [[3, at, at]], value, verdict) for name, at, value, verdict in values
    ]
    path: Path = journals.replay("r1", number, *frames)
    return path


def found(catalog: Catalog, name: str) -> list[tuple[int, Any, str]]:
    return sorted(
        (record.coordinates[0].iteration, record.value, record.source)
        for record in catalog.records([name])
    )


def test_recorded_values_win_over_replayed_ones(journals: Journals) -> None:
    journals.run("r1", *training(journals))
    replayed(journals, 1, ("acc", 0, 99, "exact"), ("acc", 2, 98, "exact"))
    assert found(Catalog(journals.root), "acc") == [
        (0, 0.0, "forward"),
        (1, 0.1, "forward"),
        (2, 98, "replay"),
    ]


def test_the_newest_replayed_value_wins(journals: Journals) -> None:
    journals.run("r1", *training(journals))
    replayed(journals, 10, ("x", 0, "newest", "exact"))
    replayed(journals, 9, ("x", 0, "older", "exact"), ("x", 1, "first", "exact"))
    replayed(journals, 1, ("x", 1, "oldest", "agree"))
    assert found(Catalog(journals.root), "x") == [(0, "newest", "replay"), (1, "first", "replay")]


def test_within_one_replay_the_last_value_wins(journals: Journals) -> None:
    journals.run("r1", *training(journals))
    replayed(journals, 1, ("x", 0, "early", "exact"), ("x", 0, "late", "exact"))
    assert found(Catalog(journals.root), "x") == [(0, "late", "replay")]


def test_values_of_a_replay_that_diverged_are_kept_apart(journals: Journals) -> None:
    journals.run("r1", *training(journals))
    replayed(journals, 1, ("x", 0, "good", "exact"))
    replayed(journals, 2, ("x", 0, "bad", "diverged"), ("x", 1, "bad", "diverged"))
    catalog = Catalog(journals.root)
    assert found(catalog, "x") == [(0, "good", "replay")]
    verdicts = {span.verdict for span in catalog.spans(["x"])}
    assert verdicts == {"exact", "diverged"}


def test_an_iteration_recorded_again_after_a_resume_counts_once(journals: Journals) -> None:
    journals.run(
        "r1",
        journals.loop(0, "t:m:0", "epoch"),
        journals.rows(0, [], 0, [0, 1, 2], acc=[1, 2, 3]),
        journals.rows(0, [], 1, [1, 2], acc=[20, None]),
    )
    assert found(Catalog(journals.root), "acc") == [
        (0, 1, "forward"),
        (1, 20, "forward"),
        (2, 3, "forward"),
    ]


def test_two_executions_of_a_loop_in_one_iteration_are_not_one(journals: Journals) -> None:
    journals.run(
        "r1",
        journals.loop(0, "t:evaluate:0", "i"),
        journals.rows(0, [], 0, [0, 1], acc=[1, 2]),
        journals.loop(1, "t:evaluate:0", "i", nth=1),
        journals.rows(1, [], 0, [0, 1], acc=[3, 4]),
    )
    assert [record.value for record in Catalog(journals.root).records()] == [1, 2, 3, 4]


def test_runs_are_listed_oldest_first_with_their_facts(journals: Journals) -> None:
    journals.run("b", *training(journals), tstamp="2026-11-23T10:00:00+00:00", name="later")
    journals.run(
        "a",
        *training(journals, 5),
        {"t": "exit", "status": 0, "seconds": 12.5},
        tstamp="2026-11-23T09:00:00+00:00",
    )
    first, second = Catalog(journals.root).runs()
    assert (first.runid, first.projid, first.vid, first.filename) == (
        "a",
        "proj",
        "abc",
        "train.py",
    )
    assert first.argv == ("--lr", "0.1")
    assert first.status == "finished"
    assert first.seconds == 12.5
    assert first.last == Coordinate("epoch", 4, 4)
    assert first.records == 12
    assert (second.runid, second.name, second.status) == ("b", "later", "unknown")


@pytest.mark.parametrize(
    ("frame", "status"),
    [
        ({"status": 0, "how": "exit"}, "finished"),
        ({"status": 3, "how": "exit"}, "failed(3)"),
        ({"status": None, "how": "KeyboardInterrupt"}, "failed(KeyboardInterrupt)"),
    ],
)
def test_the_status_is_how_the_run_ended(
    journals: Journals, frame: dict[str, Any], status: str
) -> None:
    journals.run("r1", {"t": "exit", "seconds": 1.0, **frame})
    assert Catalog(journals.root).runs()[0].status == status


def test_a_run_without_an_end_is_running_while_its_process_lives(journals: Journals) -> None:
    me = {"host": socket.gethostname(), "pid": os.getpid()}
    journals.run("r1", **me, pidstart=process_start(os.getpid()))
    journals.run("r2", **me, pidstart=(process_start(os.getpid()) or 0) + 1)
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    journals.run("r3", host=me["host"], pid=gone.pid, pidstart=None)
    journals.run("r4", host="another-host", pid=os.getpid())
    journals.run("r5", host=me["host"], pid=None)
    states = {row.runid: row.status for row in Catalog(journals.root).runs()}
    assert states == {
        "r1": "running", "r2": "died", "r3": "died", "r4": "unknown", "r5": "unknown"
    }  # fmt: skip


def test_impossible_process_numbers_are_no_processes() -> None:
    assert is_alive(socket.gethostname(), 2**40, None) is False
    assert process_start(2**40) is None


def test_a_dead_run_tells_how_far_it_got(journals: Journals) -> None:
    frames = training(journals, 4)
    journals.run("r1", *frames[:-1])  # died before the end of epoch 3
    assert Catalog(journals.root).runs()[0].last == Coordinate("epoch", 3, 3)


def checkpoint(loop: int, outer: list[Any], boundary: int, manifest: str) -> dict[str, Any]:
    return {
        "t": "checkpoint", "loop": loop, "outer": outer, "boundary": boundary,
        "manifest": manifest, "digest": "ab" * 16, "opaque": ["file"], "seconds": 0.25, "bytes": 9,
    }  # fmt: skip


def test_checkpoints_name_loop_boundary_and_manifest(journals: Journals) -> None:
    journals.run(
        "r1",
        *training(journals),
        checkpoint(0, [], 1, "5-aa"),
        checkpoint(1, [[0, 1, 7]], 2, "6-bb"),
        checkpoint(0, [], 1, "7-cc"),
    )
    catalog = Catalog(journals.root)
    first, second = catalog.checkpoints("r1")
    assert first == CheckpointInfo("train.py:main:0", (), 1, "7-cc", b"\xab" * 16, ("file",), 0.25)
    assert second.loop == "train.py:main:1"
    assert second.outer == (Coordinate("epoch", 1, 7),)
    assert catalog.checkpoints("none") == []


def test_names_are_given_with_their_dimensions(journals: Journals) -> None:
    journals.run("r1", *training(journals))
    catalog = Catalog(journals.root)
    assert catalog.names() == [
        ("acc", ("epoch",)),
        ("hidden", ()),
        ("loss", ("epoch", "step")),
        ("lr", ()),
    ]
    assert catalog.dimensions() == ["epoch", "step"]


def test_raw_frames_are_given_as_they_were_written(journals: Journals) -> None:
    journals.run("r1", *training(journals), {"t": "lost", "what": "x", "why": "y"})
    replayed(journals, 1, ("x", 0, 1, "exact"))
    catalog = Catalog(journals.root)
    assert catalog.frames("r1", "lost") == [{"t": "lost", "what": "x", "why": "y"}]
    assert [frame["t"] for frame in catalog.frames("r1", "run", "config")] == ["run", "config"]
    assert len(catalog.frames("r1")) == 9
    assert [frame["t"] for frame in catalog.replay_frames("r1")] == ["replay", "loop", "value"]
    with pytest.raises(NothingMatched, match="there is no run 'r2'"):
        catalog.frames("r2")
    with pytest.raises(NothingMatched):
        catalog.run("../r1")


def test_an_empty_or_missing_store_has_no_runs(tmp_path: Path) -> None:
    assert Catalog(tmp_path).runs() == []
    assert Catalog(tmp_path / "missing").runs() == []
    assert Catalog(tmp_path).names() == []


# -- being up to date ---------------------------------------------------------------------------


def everything(catalog: Catalog) -> Any:
    rows = catalog.runs()
    return repr(
        (
            [(r.runid, r.status, r.last, r.records, r.checkpoints, r.problems) for r in rows],
            list(catalog.records()),
            [(s.runid, s.keys, s.outer, s.first, s.source) for s in catalog.spans(bare=True)],
            catalog.names(),
            [catalog.checkpoints(row.runid) for row in rows],
        )
    )


def rebuilt(root: Path) -> Any:
    with tempfile.TemporaryDirectory() as fresh:
        shutil.copytree(root / "runs", Path(fresh) / "runs")
        with Catalog(Path(fresh)) as catalog:
            return everything(catalog)


def test_sync_reads_only_what_is_new(journals: Journals, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = training(journals)
    catalog = Catalog(journals.root)
    with closing(journals.open("r1")) as journal:
        journal.append(journals.header("r1"))
        journal.append(frames[0])
        journal.flush()
        assert len(list(catalog.records())) == 2
        for frame in frames[1:]:
            journal.append(frame)
        journal.flush()
        assert len(list(catalog.records())) == 2, "it is brought up to date when asked"
        offsets: list[int] = []
        from flor_trace.history import ingest

        real = ingest.read_journal
        monkeypatch.setattr(
            ingest,
            "read_journal",
            lambda path, offset: offsets.append(offset) or real(path, offset),
        )
        catalog.sync()
    assert len(list(catalog.records())) == 6
    assert offsets[0] > 200
    catalog.sync()
    assert len(offsets) == 1, "nothing is read when nothing was written"


def test_a_run_that_was_removed_is_forgotten(journals: Journals) -> None:
    journals.run("r1", *training(journals))
    journals.run("r2", *training(journals), checkpoint(0, [], 1, "5-aa"))
    catalog = Catalog(journals.root)
    assert len(catalog.runs()) == 2
    shutil.rmtree(journals.root / "runs" / "r2")
    catalog.sync()
    assert [row.runid for row in catalog.runs()] == ["r1"]
    assert {record.runid for record in catalog.records()} == {"r1"}
    assert everything(catalog) == rebuilt(journals.root)


def test_a_replaced_journal_is_read_anew(journals: Journals) -> None:
    path = journals.run("r1", *training(journals, 3))
    catalog = Catalog(journals.root)
    assert len(list(catalog.records(["acc"]))) == 3
    path.unlink()
    journals.run("r1", *training(journals, 1))
    catalog.sync()
    assert len(list(catalog.records(["acc"]))) == 1
    assert everything(catalog) == rebuilt(journals.root)


def test_a_torn_journal_gives_its_whole_frames_and_goes_on_later(journals: Journals) -> None:
    path = journals.run("r1", *training(journals))
    whole = path.read_bytes()
    catalog = Catalog(journals.root)
    counts = []
    for length in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:length])
        catalog.sync()
        counts.append(len(list(catalog.records())))
        assert catalog.problems() == []
    assert counts == sorted(counts)
    assert {0, 2} <= set(counts)
    path.write_bytes(whole)
    catalog.sync()
    assert len(list(catalog.records())) == 6
    assert everything(catalog) == rebuilt(journals.root)


def test_a_journal_that_is_none_is_named_and_the_others_are_read(journals: Journals) -> None:
    journals.run("r1", *training(journals))
    bad = journals.root / "runs" / "r2"
    bad.mkdir()
    (bad / "journal").write_bytes(b"not a journal at all, but long enough")
    catalog = Catalog(journals.root)
    assert [row.runid for row in catalog.runs()] == ["r1"]
    (problem,) = catalog.problems()
    assert "does not begin as a journal does" in problem


def test_frames_that_make_no_sense_are_named_in_the_run(journals: Journals) -> None:
    journals.run(
        "r1",
        {"t": "config", "values": 3},
        {"t": "config"},
        {"t": "loop", "id": "x", "key": 1},
        journals.rows(9, [], 0, [1], a=[1]),
        journals.loop(0, "a:b:0", "i"),
        journals.rows(0, [], 0, [1, 2], a=[1]),
        journals.rows(0, [], 2**80, [1], a=[1]),
        {"t": "checkpoint", "loop": 0, "outer": [], "boundary": 1, "digest": "zz"},
        {"t": 17},
        {"no": "type"},
        journals.rows(0, [], 0, [1], a=[5]),
    )
    catalog = Catalog(journals.root)
    assert [record.value for record in catalog.records()] == [5]
    problems = catalog.runs()[0].problems
    assert len(problems) == 7
    assert "no frame says which loop 9 is" in " ".join(problems)
    assert len(catalog.problems()) == 7


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda file: file.write_bytes(b"garbage" * 1000), id="garbage"),
        pytest.param(lambda file: file.write_bytes(b""), id="empty"),
        pytest.param(lambda file: os.truncate(file, 5000), id="truncated"),
        pytest.param(lambda file: _overwrite(file), id="overwritten"),
        pytest.param(lambda file: _other_version(file), id="version"),
        pytest.param(lambda file: _foreign(file), id="foreign"),
        pytest.param(lambda file: (file.unlink(), file.mkdir()), id="directory"),
    ],
)
def test_a_damaged_catalog_is_made_anew(journals: Journals, damage: Any) -> None:
    journals.run("r1", *training(journals, 200))
    with Catalog(journals.root) as catalog:
        good = everything(catalog)
    damage(journals.root / "catalog.sqlite")
    with Catalog(journals.root) as catalog:
        assert everything(catalog) == good


def _overwrite(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(os.urandom(file.stat().st_size - 4096))


def _other_version(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA user_version = 99")
        database.execute("DELETE FROM cells")
        database.commit()


def _foreign(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE runs (x)")
        database.commit()


def test_damage_while_it_is_open_is_healed(journals: Journals) -> None:
    journals.run("r1", *training(journals, 200))
    catalog = Catalog(journals.root)
    good = everything(catalog)
    catalog._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]
    catalog._database.execute("PRAGMA cache_size = 1")  # type: ignore[union-attr]
    _overwrite(journals.root / "catalog.sqlite")
    assert everything(catalog) == good


def test_where_no_file_can_be_the_catalog_is_in_memory(journals: Journals) -> None:
    journals.run("r1", *training(journals))
    (journals.root / "catalog.sqlite").mkdir()
    (journals.root / "catalog.sqlite" / "kept").touch()
    assert len(list(Catalog(journals.root).records())) == 6
    assert (journals.root / "catalog.sqlite" / "kept").exists()


def test_a_locked_catalog_does_not_stop_a_reader(
    journals: Journals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_BUSY_SECONDS", 0.05)
    journals.run("r1", *training(journals))
    Catalog(journals.root).close()
    with Catalog(journals.root) as first:
        first.runs()
    with closing(sqlite3.connect(journals.root / "catalog.sqlite")) as other:
        other.execute("BEGIN IMMEDIATE")
        journals.run("r2", *training(journals))
        with Catalog(journals.root) as catalog:
            assert len(catalog.runs()) == 2
        other.execute("ROLLBACK")


def test_many_readers_and_writers_agree(journals: Journals) -> None:
    failures: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            with Catalog(journals.root) as catalog:
                before = 0
                while not done.is_set():
                    catalog.sync()
                    count = len(list(catalog.records(["acc"])))
                    assert count >= before
                    before = count
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(6):
        journals.run(f"r{number}", *training(journals, 3))
    done.set()
    for reader in readers:
        reader.join()
    assert failures == []
    with Catalog(journals.root) as catalog:
        assert len(list(catalog.records(["acc"]))) == 18
        assert everything(catalog) == rebuilt(journals.root)


HEADER = {"tstamp": "2026-01-01T00:00:00+00:00"}
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.just(MATRIX),
    st.none(),
)
NAMES = st.sampled_from(["a", "b", "loss"])


@st.composite
def journal_frames(draw: st.DrawFn) -> list[dict[str, Any]]:
    frames: list[dict[str, Any]] = [
        {"t": "loop", "id": 0, "key": "t:m:0", "dim": "epoch", "line": 1, "nth": 0},
        {"t": "loop", "id": 1, "key": "t:m:1", "dim": "step", "line": 2, "nth": 0},
    ]
    for _ in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from(["config", "rows", "value", "checkpoint"]))
        loop = draw(st.integers(0, 1))
        outer = [[0, draw(st.integers(0, 3)), draw(SCALARS)]] if loop else []
        first, count = draw(st.integers(0, 4)), draw(st.integers(1, 3))
        column = st.lists(SCALARS, min_size=count, max_size=count)
        frame: dict[str, Any] = {
            "config": {"values": draw(st.dictionaries(NAMES, SCALARS, max_size=2))},
            "rows": {
                "loop": loop, "outer": outer, "first": first, "value": draw(column),
                "cols": draw(st.dictionaries(NAMES, column, max_size=2)),
            },
            "value": {
                "coords": [*outer, [loop, first, draw(SCALARS)]], "name": draw(NAMES),
                "value": draw(SCALARS), "verdict": draw(st.sampled_from(["exact", "diverged"])),
            },
            "checkpoint": checkpoint(loop, outer, first, "1-aa"),
        }[kind]  # fmt: skip
        frames.append({**frame, "t": kind})
    return frames


PARTS = st.tuples(st.sampled_from(["r1", "r2"]), st.integers(0, 2), journal_frames())


@settings(max_examples=20, deadline=None)
@given(st.lists(PARTS, max_size=5), st.randoms(use_true_random=False))
def test_reading_bit_by_bit_equals_reading_at_once(
    parts: list[tuple[str, int, list[dict[str, Any]]]], choice: Any
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        writers: dict[tuple[str, int], JournalWriter] = {}
        with Catalog(root) as catalog:
            for runid, replay, frames in parts:
                (root / "runs" / runid).mkdir(parents=True, exist_ok=True)
                name = f"replay-{replay}.journal" if replay else "journal"
                if (runid, replay) not in writers:
                    writer = JournalWriter(root / "runs" / runid / name)
                    writers[runid, replay] = writer
                    kind = "replay" if replay else "run"
                    writer.append({"t": kind, "runid": runid, **HEADER})
                for frame in frames:
                    writers[runid, replay].append(frame)
                    if choice.random() < 0.4:
                        writers[runid, replay].flush()
                        catalog.sync()
            for writer in writers.values():
                writer.close()
            catalog.sync()
            (root / "runs").mkdir(exist_ok=True)
            assert everything(catalog) == rebuilt(root)
            keys = [(r.runid, r.coordinates, r.name) for r in catalog.records()]
            places = [(runid, [c[:2] for c in _steps(path)], name) for runid, path, name in keys]
            assert len(set(map(repr, places))) == len(places), "each cell has one value"


def _steps(path: tuple[Coordinate, ...]) -> list[tuple[str, int]]:
    return [(step.dimension, step.iteration) for step in path]
