from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from flor_trace.errors import StoreError, StoreFormatError, StoreNotWritable, UsageError
from flor_trace.store.layout import Store, open_store
from flor_trace.types import RunId


def test_a_new_store_has_its_parts_and_ignores_itself(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "er" / ".flor_trace"

    store = open_store(root, create=True)

    assert sorted(os.listdir(root)) == [".gitignore", "cache", "packs", "runs", "store.json"]
    assert (root / ".gitignore").read_text() == "*\n"
    assert json.loads((root / "store.json").read_text())["format"] == 1
    assert store == open_store(root, create=False) == open_store(root, create=True)
    assert (store.packs, store.runs, store.cache) == (root / "packs", root / "runs", root / "cache")
    assert store.catalog == root / "catalog.sqlite"
    assert store.code == root / "code.git"
    assert store.run_dir(RunId("261123-154501-k3f9q")) == root / "runs" / "261123-154501-k3f9q"


def test_only_the_owner_may_look_into_a_store(tmp_path: Path) -> None:
    store = open_store(tmp_path / "s", create=True)

    for path in (store.path, *store.path.iterdir()):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_an_empty_directory_becomes_a_store(tmp_path: Path) -> None:
    open_store(tmp_path, create=True)

    assert open_store(tmp_path, create=False).path == tmp_path


def test_a_store_whose_making_was_cut_off_is_finished(tmp_path: Path) -> None:
    (tmp_path / "packs").mkdir()
    (tmp_path / "store.json.0123456789.tmp").write_text("")

    store = open_store(tmp_path, create=True)

    assert store.runs.is_dir()


def test_a_directory_with_other_files_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")

    with pytest.raises(StoreFormatError, match=r"thesis\.tex.*--store DIR"):
        open_store(tmp_path, create=True)

    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_opening_makes_nothing(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(StoreFormatError, match="Record a run first"):
            open_store(path, create=False)

    assert os.listdir(tmp_path) == []


def test_a_file_in_place_of_the_store_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")

    with pytest.raises(StoreFormatError, match="a store is a directory"):
        open_store(file, create=False)
    with pytest.raises(StoreNotWritable, match=r"--store DIR"):
        open_store(file, create=True)


def test_a_place_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreNotWritable, match=r"exists \(.*/file\).*--store DIR") as caught:
        open_store(tmp_path / "file" / "store", create=True)

    assert caught.value.exit_code == 125


def test_a_store_with_write_permission_taken_away_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path, create=True)
    # For the superuser, who may run these tests, no directory is write-protected.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != store.packs)

    with pytest.raises(StoreNotWritable, match="--store DIR"):
        open_store(tmp_path, create=True)
    assert open_store(tmp_path, create=False)


@pytest.mark.parametrize("number", [0, 2, "1", None, [1]])
def test_another_format_is_refused(tmp_path: Path, number: object) -> None:
    open_store(tmp_path, create=True)
    (tmp_path / "store.json").write_text(json.dumps({"format": number}))

    with pytest.raises(StoreFormatError, match="reads format 1"):
        open_store(tmp_path, create=True)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "\xff", "[" * 4000])
def test_an_unreadable_stamp_is_refused(tmp_path: Path, text: str) -> None:
    open_store(tmp_path, create=True)
    (tmp_path / "store.json").write_text(text, encoding="latin-1")

    with pytest.raises(StoreFormatError, match="cannot be read"):
        open_store(tmp_path, create=False)


def test_a_world_writable_store_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(tmp_path, create=True)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    assert open_store(tmp_path, create=False)

    tmp_path.chmod(0o777)

    with pytest.raises(StoreFormatError, match="belongs to another user"):
        open_store(tmp_path, create=False)


def test_a_link_in_place_of_a_part_is_not_followed(tmp_path: Path) -> None:
    store = open_store(tmp_path / "s", create=True)
    store.runs.rmdir()
    store.runs.symlink_to("/etc")

    with pytest.raises(StoreFormatError, match="links are not followed"):
        open_store(tmp_path / "s", create=False)


def test_a_link_in_place_of_the_stamp_is_not_followed(tmp_path: Path) -> None:
    open_store(tmp_path / "s", create=True)
    stamp = tmp_path / "s" / "store.json"
    stamp.rename(tmp_path / "elsewhere")
    stamp.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StoreFormatError):
        open_store(tmp_path / "s", create=False)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    open_store(tmp_path, create=True)
    (tmp_path / "packs").rmdir()

    with pytest.raises(StoreFormatError, match="No such file or directory"):
        open_store(tmp_path, create=False)


@pytest.mark.parametrize("text", ["", ".", "..", "../x", "a/b", "a\0b", "x" * 81, "-x", "ü", "a\n"])
def test_what_cannot_be_a_run_never_becomes_a_path(text: str) -> None:
    with pytest.raises(UsageError, match="not the id of a run"):
        Store(Path("s")).run_dir(RunId(text))


def test_many_at_once_make_one_store(tmp_path: Path) -> None:
    failures: list[StoreError] = []
    start = threading.Barrier(8)

    def make() -> None:
        start.wait()
        try:
            open_store(tmp_path / "s", create=True)
        except StoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert sorted(os.listdir(tmp_path / "s")) == [
        ".gitignore",
        "cache",
        "packs",
        "runs",
        "store.json",
    ]


def test_the_umask_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(mask: int) -> int:
        raise AssertionError("umask was changed")

    monkeypatch.setattr(os, "umask", refuse)

    open_store(tmp_path / "s", create=True)
