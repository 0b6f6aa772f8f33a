from __future__ import annotations

import pytest

from flor_trace.history.amendments import amend, amendments, replacements, run_frames
from flor_trace.history.journal import JournalWriter


@pytest.fixture
def directory(tmp_path):
    journal = JournalWriter(tmp_path / "journal")
    journal.append({"t": "run", "runid": "r"})
    journal.close()
    return tmp_path


def by(lost, new):
    return {"manifest": lost, "by": new}


def test_what_was_added_later_follows_the_frames_of_the_run(directory):
    amend(directory, "repaired", [by("a", "b"), by("c", "d")])
    amend(directory, "dropped", [{"manifest": "e"}])

    assert [frame["t"] for frame in run_frames(directory)] == [
        "run", "dropped", "repaired", "repaired",
    ]  # fmt: skip


def test_every_repair_has_a_file_of_its_own_and_they_keep_their_order(directory):
    for n in range(12):
        amend(directory, "repaired", [by("a", str(n))])

    assert [frame["by"] for frame in amendments(directory)] == [str(n) for n in range(12)]
    assert replacements(amendments(directory)) == {"a": "11"}


def test_what_was_repaired_twice_has_what_came_last_also_if_that_is_the_first_again():
    def frames(*pairs):
        return [{"t": "repaired", **by(*pair)} for pair in pairs]

    assert replacements(frames(("a", "b"), ("b", "c"))) == {"a": "c", "b": "c"}
    assert replacements(frames(("a", "b"), ("b", "a"))) == {"a": "a", "b": "a"}
    assert replacements(frames(("a", "b"), ("c", "d"))) == {"a": "b", "c": "d"}


def test_a_file_that_cannot_be_read_and_frames_that_belong_elsewhere_are_left_out(directory):
    amend(directory, "repaired", [by("a", "b")])
    amend(directory, "repaired", [by("c", "d")])
    (directory / "repaired").write_bytes(b"nothing that begins as a journal does")
    stray = JournalWriter(directory / "repaired-2")
    stray.append({"t": "checkpoint", "loop": 0})
    stray.close()

    assert list(amendments(directory)) == [{"t": "repaired", **by("c", "d")}]
