from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from remote_helpers import (
    FIRST,
    SECOND,
    frames,
    is_whole,
    pull_all,
    push_all,
    record,
    replayed,
    runs_of,
)

from flor_trace.errors import RemoteError
from flor_trace.remote.drive import Drive
from flor_trace.remote.listings import listed_runs, read_listings
from flor_trace.remote.pull import pull
from flor_trace.remote.push import push
from flor_trace.store.check import fsck
from flor_trace.store.layout import Store, open_store

pytest.importorskip("fsspec")


@pytest.fixture(params=["file", "path", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path, memory: Any) -> str:
    """A place that does not exist yet."""
    where = {"file": f"file://{tmp_path}/far/away", "path": str(tmp_path / "far"), "memory": ""}
    return where[request.param] or "memory://far/away"


def test_what_is_pulled_is_what_was_pushed(store: Store, other: Store, url: str) -> None:
    assert [(p.news, p.problem) for p in push_all(store, Drive(url))] == [(True, None)] * 2
    assert [(p.news, p.problem) for p in pull_all(other, Drive(url))] == [(True, None)] * 2

    for runid in (FIRST, SECOND):
        assert frames(other, runid) == frames(store, runid)
        assert is_whole(other, runid)
    assert fsck(other, data=True) == []


def test_nothing_goes_twice(store: Store, other: Store, url: str) -> None:
    first, second = push_all(store, Drive(url))
    assert second.bytes < 0.99 * first.bytes  # the frozen buffer is there
    assert [(p.news, p.chunks) for p in push_all(store, Drive(url))] == [(False, 0)] * 2
    pull_all(other, Drive(url))
    before = sorted(os.listdir(other.packs))
    assert [(p.news, p.chunks) for p in pull_all(other, Drive(url))] == [(False, 0)] * 2
    assert sorted(os.listdir(other.packs)) == before


def test_differences_stay_differences(store: Store, other: Store, url: str) -> None:
    (pushed,) = push(store, Drive(url), [FIRST])
    size = sum(file.stat().st_size for file in store.packs.glob(f"{FIRST}*.pack"))
    assert pushed.bytes < 1.2 * size + 4000


def test_one_run_can_be_named(store: Store, other: Store, url: str) -> None:
    list(push(store, Drive(url), [SECOND]))
    assert listed_runs(Drive(url)) == [SECOND]
    list(pull(other, Drive(url), [SECOND], "flor.shadow"))
    assert runs_of(other) == [SECOND]


def test_a_dry_run_tells_as_much_and_writes_nothing(store: Store, other: Store, url: str) -> None:
    said = push_all(store, Drive(url), dry_run=True)
    assert Drive(url).files("") == {}
    done = push_all(store, Drive(url))
    assert said[0].chunks == done[0].chunks
    told = pull_all(other, Drive(url), dry_run=True)
    assert runs_of(other) == [] and os.listdir(other.packs) == []
    assert pull_all(other, Drive(url))[0].chunks == told[0].chunks > 0


def test_replays_made_in_two_places_come_together(store: Store, other: Store, url: str) -> None:
    push_all(store, Drive(url))
    pull_all(other, Drive(url))
    replayed(store, FIRST, 1.5)
    replayed(other, FIRST, 2.5)
    push_all(store, Drive(url))
    push_all(other, Drive(url))
    for copy in (store, other):
        pull_all(copy, Drive(url))
        probes = {f["probe"]["name"] for f in frames(copy, FIRST) if f["t"] == "replay"}
        assert probes == {"1.5", "2.5"}
        assert is_whole(copy, FIRST)
        assert not any(p.news for p in pull_all(copy, Drive(url)))


def test_a_run_that_is_still_going_on_is_pushed_as_far_as_it_got(
    store: Store, other: Store, url: str
) -> None:
    journal = store.run_dir(FIRST) / "journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole[: len(whole) * 2 // 3])
    push_all(store, Drive(url))
    pull_all(other, Drive(url))
    assert 1 < len(frames(other, FIRST)) < len(frames(store, SECOND))
    journal.write_bytes(whole)
    push_all(store, Drive(url))
    pull_all(other, Drive(url))
    assert frames(other, FIRST) == frames(store, FIRST)
    assert is_whole(other, FIRST)


def test_another_run_of_the_same_id_is_not_mixed_in(
    store: Store, other: Store, url: str, tmp_path: Path
) -> None:
    push_all(store, Drive(url))
    record(other, FIRST, seed=77)
    kept = frames(other, FIRST)
    found = {p.runid: p.problem for p in pull_all(other, Drive(url))}
    assert "another run with the same id" in str(found[FIRST])
    assert found[SECOND] is None
    assert frames(other, FIRST) == kept


def test_a_run_that_lacks_a_chunk_is_not_pushed_and_the_others_are(
    store: Store, other: Store, url: str
) -> None:
    for file in store.packs.glob(f"{SECOND}*"):
        file.unlink()
    first, second = push_all(store, Drive(url))
    assert first.problem is None
    assert "holds the chunk" in str(second.problem)
    assert listed_runs(Drive(url)) == [FIRST]


@pytest.mark.parametrize("seed", range(20))
def test_damage_at_the_place_is_found_and_nothing_of_it_is_kept(
    store: Store, other: Store, tmp_path: Path, seed: int
) -> None:
    far = tmp_path / "far"
    push_all(store, Drive(str(far)))
    generator = random.Random(seed)
    file = generator.choice(sorted(f for f in far.rglob("*") if f.is_file()))
    data = bytearray(file.read_bytes())
    at = generator.randrange(len(data))
    data[at] ^= 1 << generator.randrange(8)
    file.write_bytes(data if seed % 2 else data[:at])

    try:
        found = pull_all(other, Drive(str(far)))
    except RemoteError:
        found = []
    for pulled in found:
        if pulled.problem is None and pulled.runid in runs_of(other):
            assert frames(other, pulled.runid) == frames(store, pulled.runid)
            assert is_whole(other, pulled.runid)
        else:
            assert pulled.runid not in runs_of(other)
    assert [p for p in fsck(other, data=True) if p.serious] == []


def test_a_damaged_chunk_here_is_replaced_by_a_pull(store: Store, other: Store, url: str) -> None:
    push_all(store, Drive(url))
    pull_all(other, Drive(url))
    (pack,) = other.packs.glob(f"{FIRST}.pack")
    data = bytearray(pack.read_bytes())
    data[3000] ^= 1
    pack.write_bytes(data)
    pull_all(other, Drive(url))
    assert is_whole(other, FIRST)


def test_hostile_names_are_nothing(store: Store, other: Store, tmp_path: Path) -> None:
    far = tmp_path / "far"
    push_all(store, Drive(str(far)))
    for name in ("..", "-rf", "a b", "a\nb"):
        shutil.copytree(far / "listed" / FIRST, far / "listed" / f"{name}x")
    (far / "packs" / "..x.idx").write_bytes(b"?")
    (far / "listed" / FIRST / ("0" * 32)).write_bytes(b"{}")
    assert listed_runs(Drive(str(far))) == [FIRST, SECOND]
    pull_all(other, Drive(str(far)))
    assert runs_of(other) == [FIRST, SECOND]


def test_a_place_with_other_things_is_left_alone(store: Store, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "thesis.txt").write_text("mine")
    with pytest.raises(RemoteError, match=r"other things, such as 'thesis\.txt'"):
        push_all(store, Drive(str(tmp_path / "far")))
    assert os.listdir(tmp_path / "far") == ["thesis.txt"]


def test_a_later_format_is_refused(store: Store, other: Store, tmp_path: Path) -> None:
    push_all(store, Drive(str(tmp_path / "far")))
    (tmp_path / "far" / "remote.json").write_text('{"format": 2}')
    for transfer in (push_all, pull_all):
        with pytest.raises(RemoteError, match="has format 2"):
            transfer(store, Drive(str(tmp_path / "far")))


def test_pushing_a_large_run_takes_several_packs(
    store: Store, other: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flor_trace.remote.push.PART_BYTES", 10_000)
    push_all(store, Drive(url))
    packs = [name for name in Drive(url).files("packs") if name.endswith(".pack")]
    assert len(packs) > 4
    pull_all(other, Drive(url))
    assert is_whole(other, FIRST) and is_whole(other, SECOND)


def test_many_push_and_pull_at_once(tmp_path: Path, other: Store) -> None:
    import threading

    stores = []
    for number in range(4):
        stores.append(open_store(tmp_path / f"s{number}", create=True))
        record(stores[-1], FIRST, seed=1)
        record(stores[-1], type(FIRST)(f"261101-00010{number}-ccccc"), seed=1)
        replayed(stores[-1], FIRST, float(number))
    far = str(tmp_path / "far")
    threads = [threading.Thread(target=push_all, args=(each, Drive(far))) for each in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pull_all(other, Drive(far))
    assert len(runs_of(other)) == 5
    assert all(is_whole(other, runid) for runid in runs_of(other))
    probes = {f["probe"]["name"] for f in frames(other, FIRST) if f["t"] == "replay"}
    assert probes == {"0.0", "1.0", "2.0", "3.0"}


def test_a_listing_that_was_altered_is_none(store: Store, tmp_path: Path) -> None:
    far = tmp_path / "far"
    push_all(store, Drive(str(far)))
    (file,) = (far / "listed" / FIRST).iterdir()
    file.write_bytes(file.read_bytes().replace(b'"run 1"', b'"run 7"'))
    assert read_listings(Drive(str(far)), FIRST) == []
    push_all(store, Drive(str(far)))
    assert [listing.name for listing in read_listings(Drive(str(far)), FIRST)] == ["run 1"]
