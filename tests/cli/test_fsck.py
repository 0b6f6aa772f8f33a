"""``fsck`` finds every damage of a store and says which runs and iterations it touches."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flor_trace.cli import fsck
from flor_trace.store.index import INDEX_SUFFIX, PACK_SUFFIX, read_index

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """\
import os
state = b""
for epoch in range(5):
    state = bytearray(os.urandom(5000))
    total = sum(state)
"""


def run(folder: Path, *arguments: str) -> Any:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("FLOR_TRACE")}
    return subprocess.run(
        (sys.executable, "-m", "flor_trace", *arguments),
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    (folder / "train.py").write_text(PROGRAM)
    for name in ("one", "two"):
        done = run(folder, "--name", name, "--overhead", "10000%", "train.py")
        assert done.returncode == 0
    return folder


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / ".flor_trace", tmp_path / "store"))


def look(store: Path, capsys: Any, *options: str) -> tuple[int, Any]:
    status = fsck.main(["--store", str(store), "--json", *options])
    return status, json.loads(capsys.readouterr().out)


def packs(store: Path) -> list[Path]:
    return sorted((store / "packs").glob(f"*{PACK_SUFFIX}"))


def test_a_whole_store_is_clean(store, capsys):
    for options in ((), ("--data",)):
        status, found = look(store, capsys, *options)
        assert (status, found["clean"], found["checkpoints"]) == (0, True, 12)
        assert found["packs"] == found["journals"] == found["broken"] == []


def test_every_flipped_bit_of_a_chunk_is_found_and_laid_to_its_run(store, capsys):
    pack = packs(store)[-1]
    whole = pack.read_bytes()
    index = read_index(pack.parent, pack.stem)
    chance = random.Random(3)
    large = [entry for entry in index.entries if entry.stored_length > 4000]
    assert len(large) == 5
    for entry in large:
        at = chance.randrange(entry.offset + 44, entry.end)
        damaged = bytearray(whole)
        damaged[at] ^= 1 << chance.randrange(8)
        pack.write_bytes(damaged)
        status, found = look(store, capsys, "--data")
        assert status == 1
        assert {each["offset"] for each in found["packs"]} == {entry.offset}
        assert found["broken"], entry
        assert look(store, capsys)[0] == 0  # the structure is as it was


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_pack_that_lost_its_end_is_found_without_reading_all(store, capsys, share):
    pack = packs(store)[0]
    pack.write_bytes(pack.read_bytes()[: int(share * pack.stat().st_size)])
    status, found = look(store, capsys)
    assert status == 1
    assert {each["what"].split()[0] for each in found["broken"]} <= {"epoch", "the"}
    assert found["broken"]
    runs = {each["run"] for each in found["broken"]}
    assert runs == {pack.stem}
    status, deep = look(store, capsys, "--data")
    assert {e["what"] for e in found["broken"]} == {e["what"] for e in deep["broken"]}


def test_a_pack_that_is_gone_is_found(store, capsys):
    pack = packs(store)[1]
    pack.unlink()
    status, found = look(store, capsys)
    assert status == 1
    assert [each["what"] for each in found["broken"]][:6] == [f"epoch {k}" for k in range(6)]
    assert "it is gone" in found["packs"][0]["text"]


def test_an_index_that_is_damaged_loses_nothing_but_is_told(store, capsys):
    index = packs(store)[0].with_suffix(INDEX_SUFFIX)
    index.write_bytes(index.read_bytes()[:-1] + b"x")
    status, found = look(store, capsys)
    assert status == 1
    assert found["broken"] == []
    assert "read without it" in found["packs"][0]["text"]


def test_what_a_killed_writer_left_over_is_no_damage(store, capsys):
    (store / "packs" / "killed.pack").write_bytes(b"\x89flor")
    assert look(store, capsys)[0] == 0
    fsck.main(["--store", str(store)])
    assert "left over: killed.pack" in capsys.readouterr().out


def test_a_journal_that_cannot_be_read_is_told(store, capsys):
    journal = next((store / "runs").glob("*/journal"))
    journal.write_bytes(b"nothing like a journal")
    status, found = look(store, capsys)
    assert status == 1
    assert journal.parent.name in " ".join(found["journals"])


def test_a_person_is_told_what_is_touched_and_what_to_do(store, capsys):
    packs(store)[0].unlink()
    assert fsck.main(["--store", str(store)]) == 1
    out = capsys.readouterr().out
    assert re.search(r"run (one|two): cannot be read: epoch 0, epoch 1", out)
    assert "flor_trace repair" in out
    shutil.rmtree(store / "packs")
    assert fsck.main(["--store", str(store)]) == 2
    assert "could not be looked at" in capsys.readouterr().err


def test_there_has_to_be_a_store(tmp_path, capsys):
    assert fsck.main(["--store", str(tmp_path)]) == 2
    assert "it has no store.json" in capsys.readouterr().err
