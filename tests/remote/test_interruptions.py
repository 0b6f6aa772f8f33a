from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from remote_helpers import FIRST, SECOND, frames, is_whole, pull_all, push_all, runs_of

from flor_trace.errors import RemoteError
from flor_trace.remote.drive import Drive
from flor_trace.remote.listings import listed_runs
from flor_trace.store.check import fsck
from flor_trace.store.layout import Store, open_store

pytest.importorskip("fsspec")


class Failing:
    """A file system whose k-th call fails; one that writes may get half of it done."""

    root_marker = "/"
    protocol = "failing"

    def __init__(self, filesystem: Any, fails_at: int, how: str) -> None:
        self._filesystem = filesystem
        self._left = fails_at
        self._how = how
        self.failed = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._filesystem, name)

        def call(*args: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left == 0 or (self.failed and self._how == "for good"):
                self.failed = True
                if name == "pipe_file" and self._how == "half":
                    path, data = args
                    method(path, data[: len(data) // 2])
                if self._how == "after":
                    method(*args, **options)
                raise OSError("the cable was pulled")
            return method(*args, **options)

        return call


@pytest.fixture(autouse=True)
def _nothing_is_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Power is not lost here, and there are very many files."""
    monkeypatch.setattr("flor_trace.store.files.sync_data", lambda fd: None)
    monkeypatch.setattr("flor_trace.store.files.sync_directory", lambda path: None)


def _problems_of_pull(store: Store, drive: Drive) -> list[str | None]:
    try:
        return [pulled.problem for pulled in pull_all(store, drive)]
    except RemoteError as error:
        return [str(error)]


@pytest.mark.parametrize("how", ["once", "for good", "half", "after"])
def test_an_interrupted_push_lists_nothing_that_is_not_whole_and_the_next_completes_it(
    store: Store, tmp_path: Any, memory: Any, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flor_trace.remote.push.PART_BYTES", 15_000)
    for k in count(1):
        place = f"/place{k}"
        failing = Failing(memory, k, how)
        try:
            push_all(store, Drive(place, failing))
        except RemoteError:
            assert failing.failed
        target = open_store(tmp_path / f"target{k}", create=True)
        drive = Drive(place, memory)
        for problem in _problems_of_pull(target, drive):
            # A listing that was cut off counts for nothing.
            assert problem is None or "no whole listing" in problem or "no runs" in problem
        for runid in runs_of(target):
            assert is_whole(target, runid)
        push_all(store, drive)
        assert [p.problem for p in pull_all(target, drive)] == [None, None]
        for runid in (FIRST, SECOND):
            assert frames(target, runid) == frames(store, runid)
            assert is_whole(target, runid)
        if not failing.failed:
            break
    assert k > 15


@pytest.mark.parametrize("how", ["once", "for good"])
def test_an_interrupted_pull_shows_no_run_that_is_not_whole_and_the_next_completes_it(
    store: Store, tmp_path: Any, memory: Any, how: str
) -> None:
    push_all(store, Drive("/place", memory))
    for k in count(1):
        target = open_store(tmp_path / f"target{k}", create=True)
        failing = Failing(memory, k, how)
        try:
            pull_all(target, Drive("/place", failing))
        except RemoteError:
            assert failing.failed
        for runid in runs_of(target):
            assert is_whole(target, runid)
        assert [p.problem for p in pull_all(target, Drive("/place", memory))] == [None, None]
        assert frames(target, FIRST) == frames(store, FIRST)
        assert is_whole(target, FIRST) and is_whole(target, SECOND)
        assert [p for p in fsck(target, data=True) if p.serious] == []
        if not failing.failed:
            break
    assert k > 8


def test_a_failure_says_what_failed_and_what_to_do(store: Store, memory: Any) -> None:
    with pytest.raises(RemoteError, match=r"the cable was pulled.*give the command again"):
        push_all(store, Drive("/place", Failing(memory, 5, "once")))
    assert listed_runs(Drive("/place", memory)) == []
