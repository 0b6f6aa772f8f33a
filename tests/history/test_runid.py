from __future__ import annotations

import os
import random
import re
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flor_trace.errors import NothingMatched, StoreNotWritable, UsageError
from flor_trace.history.runid import claim_run_dir, new_runid, resolve_run, timestamp
from flor_trace.store.layout import Store, open_store
from flor_trace.types import RunId

A = RunId("261123-154501-k3f9q")
B = RunId("261123-160000-k3aaa")
C = RunId("261201-090000-zz9q0")
RUNS = {A: "baseline", B: None, C: "wide"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store", create=True)


class TestNames:
    def test_a_name_is_the_time_in_utc_and_five_random_characters(self) -> None:
        berlin = timezone(timedelta(hours=1))

        runid = new_runid(datetime(2026, 11, 23, 16, 45, 1, tzinfo=berlin).timestamp())

        assert re.fullmatch(r"261123-154501-[0-9a-hjkmnp-tv-z]{5}", runid)

    @given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1)))
    def test_a_timestamp_is_the_time_in_iso_format(self, moment: datetime) -> None:
        given = moment.replace(tzinfo=UTC)

        read = datetime.fromisoformat(timestamp(given.timestamp()))

        assert abs(read - given) <= timedelta(microseconds=2)
        assert read.utcoffset() == timedelta(0)

    def test_names_do_not_depend_on_the_seed_of_the_program_nor_move_it(self) -> None:
        now = time.time()
        random.seed(0)
        state = random.getstate()
        first = new_runid(now)
        random.seed(0)

        assert new_runid(now) != first
        assert random.getstate() == state

    @given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1)), st.integers(1, 10**9))
    def test_names_sort_as_the_times_do(self, moment: datetime, seconds: int) -> None:
        early = moment.replace(tzinfo=UTC, microsecond=0)
        late = min(early + timedelta(seconds=seconds), datetime(2099, 12, 31, tzinfo=UTC))

        assert new_runid(early.timestamp()) < new_runid(late.timestamp())


class TestClaiming:
    def test_the_directory_is_made_for_the_owner_only(self, store: Store) -> None:
        runid, path = claim_run_dir(store)

        assert path == store.run_dir(runid)
        assert path.stat().st_mode & 0o777 == 0o700

    def test_a_name_that_is_taken_is_not_given_again(self, store: Store) -> None:
        names = iter([A, A, A, B])
        claim = [claim_run_dir(store, lambda now: next(names))[0] for _ in range(2)]

        assert claim == [A, B]

    def test_an_end_is_put_to_trying(self, store: Store) -> None:
        claim_run_dir(store, lambda now: A)

        with pytest.raises(StoreNotWritable, match="None of 100 random names"):
            claim_run_dir(store, lambda now: A)

    def test_many_at_once_get_different_directories(self, store: Store) -> None:
        claimed: list[RunId] = []

        def work() -> None:
            claimed.extend(claim_run_dir(store)[0] for _ in range(20))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(claimed) == len(set(claimed)) == len(os.listdir(store.runs)) == 160

    def test_a_directory_that_cannot_be_made_says_what_to_do(self, store: Store) -> None:
        store.runs.rmdir()
        store.runs.write_text("")

        with pytest.raises(StoreNotWritable, match=r"Not a directory.*--store DIR"):
            claim_run_dir(store)


class TestFinding:
    @pytest.mark.parametrize(
        ("text", "run"),
        [
            (A, A),
            ("baseline", A),
            ("261123-15", A),
            ("261201", C),
            ("k3f9q", A),
            ("9q", A),
            ("aaa", B),
        ],
    )
    def test_a_run_is_found_by_id_name_beginning_or_end(self, text: str, run: RunId) -> None:
        assert resolve_run(text, RUNS) == run

    def test_an_id_wins_over_a_name_and_a_name_over_a_beginning(self) -> None:
        assert resolve_run(A, {A: None, B: A}) == A
        assert resolve_run("2612", {**RUNS, B: "2612"}) == B

    def test_a_text_that_fits_several_runs_names_them_latest_first(self) -> None:
        with pytest.raises(UsageError, match=rf"2 runs: {B}, {A} \(baseline\)\. Give more"):
            resolve_run("261123", RUNS)
        with pytest.raises(UsageError, match="2 runs"):
            resolve_run("twice", {A: "twice", B: "twice"})

    def test_a_long_list_is_cut(self) -> None:
        runs = {RunId(f"261123-0000{n:02}-aaaaa"): None for n in range(20)}

        with pytest.raises(UsageError, match=r"20 runs: 261123-000019-aaaaa, .*000012-aaaaa, …\."):
            resolve_run("26", runs)

    @pytest.mark.parametrize(("text", "near"), [("baselin", A), ("k3f9p", A), ("261201-090001", C)])
    def test_a_misspelt_text_gets_what_is_close_to_it(self, text: str, near: RunId) -> None:
        with pytest.raises(NothingMatched, match=f"Close to it: {near}"):
            resolve_run(text, RUNS)

    def test_a_text_like_nothing_gets_the_latest(self) -> None:
        with pytest.raises(NothingMatched, match=rf"The latest are {C} \(wide\), {B}, {A}"):
            resolve_run("???", RUNS)

    def test_an_empty_text_is_no_beginning(self) -> None:
        with pytest.raises(NothingMatched):
            resolve_run("", {A: None})

    def test_an_empty_store_says_how_to_record(self) -> None:
        with pytest.raises(NothingMatched, match="no runs yet: record one"):
            resolve_run("x", {})
