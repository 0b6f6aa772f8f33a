from __future__ import annotations

import json

import pytest

from flor_trace.cli import dispatch, repair
from flor_trace.errors import NothingMatched, UsageError
from flor_trace.history.journal import JournalWriter
from flor_trace.replay.recorded import RecordedRun
from flor_trace.replay.surveying import Broken, Survey
from flor_trace.store.layout import open_store
from flor_trace.store.packs import PackWriter
from flor_trace.types import Address

LOST = "3-" + "0" * 32


@pytest.fixture
def store(tmp_path):
    """A store with a run without code, whose random state and one of two arrays are lost."""
    store = open_store(tmp_path / "store", create=True)
    packs = PackWriter(store, "261123-run")
    kept = packs.put(b"12345678")
    packs.close()
    directory = store.runs / "261123-run"
    directory.mkdir()
    journal = JournalWriter(directory / "journal")
    journal.append(
        {"t": "run", "format": 1, "runid": "261123-run", "name": "mine", "projid": "p",
         "tstamp": "2026-11-23T15:45:01+00:00", "filename": "main.py", "argv": []}
    )  # fmt: skip
    journal.append({"t": "seed", "library": "numpy", "state": LOST, "threads": None})
    journal.close()
    replay = JournalWriter(directory / "replay-1.journal")
    replay.append({"t": "replay", "format": 1, "runid": "261123-run", "probe": {}})
    for name, address in (("kept", kept), ("lost", LOST)):
        value = {"$": "ndarray", "at": address, "dtype": "<f8", "shape": [1]}
        replay.append(
            {"t": "value", "coords": [], "name": name, "value": value, "verdict": "exact"}
        )
    replay.close()
    return store


def run(store, *arguments):
    return repair.main(["--store", str(store.path), *arguments])


@pytest.mark.parametrize("dry", [False, True])
def test_what_cannot_be_repaired_is_told_with_the_reason(store, capsys, dry):
    status = run(store, *(["--dry-run"] if dry else []))

    told = capsys.readouterr().out
    assert status == 1
    assert "run mine, the state of numpy at the start: CANNOT be repaired: nothing else" in told
    assert "run mine, the replayed value lost: CANNOT be repaired: it is no part" in told
    assert "kept" not in told
    assert told.endswith("repaired, 2 not\n")


def test_programs_are_told_all_of_it(store, capsys, strict_json):
    assert run(store, "mine", "--json") == 1

    document = strict_json(capsys.readouterr().out)
    assert document["checkpoints"] == 0
    assert [each["what"] for each in document["broken"]] == [
        "the state of numpy at the start", "the replayed value lost",
    ]  # fmt: skip
    assert {each["run"] for each in document["broken"]} == {"261123-run"}
    assert all(list(each["lacking"]) == [LOST] for each in document["broken"])


def test_a_store_without_damage_has_nothing_to_repair(tmp_path, capsys):
    store = open_store(tmp_path / "store", create=True)

    assert run(store) == 0
    assert capsys.readouterr().out == "all 0 checkpoints can be read; nothing to repair\n"


def test_what_was_typed_wrongly_is_refused(store, capsys):
    with pytest.raises(UsageError, match="at least one program"):
        run(store, "--jobs", "0")
    with pytest.raises(NothingMatched):
        run(store, "nobody")
    assert dispatch.main(["repair", "--jobs", "many"]) == 2
    assert "--jobs" in capsys.readouterr().err


def test_what_has_the_same_told_of_it_is_one_line():
    one, two = (RecordedRun([{"t": "run", "runid": name}]) for name in ("one", "two"))

    def broken(of, what, **facts):
        return Broken(of, what, Address(LOST), {}, **facts)

    found = Survey(4, [
        broken(one, "epoch 1", how="executed"), broken(one, "epoch 2", why="diverged"),
        broken(one, "epoch 3", how="executed"), broken(two, "epoch 1", how="copied"),
    ])  # fmt: skip

    lines = list(repair._lines(found, {}))

    assert lines[0].startswith("run one, epoch 1, epoch 3: repaired by executing")
    assert lines[1:] == [
        "run one, epoch 2: CANNOT be repaired: diverged",
        "run two, epoch 1: repaired from whole copies that were found",
    ]
    assert repair._summary(found, {}) == "3 repaired, 1 not"
    assert json.dumps(repair._documents(found, {}))
