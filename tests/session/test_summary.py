"""The page of a CI job: what it shows of a run, and what never gets there."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flor_trace.history.journal import JournalWriter
from flor_trace.session import summary

RUN = {
    "t": "run", "runid": "261123-150000-abcde", "name": "night", "filename": "train.py",
    "argv": ["--token", "s3cr3t"], "target": "train.py", "vid": "0" * 40, "launch": {},
    "env": {"PYTHONPATH": "s3cr3t"},
}  # fmt: skip
FRAMES = [
    RUN,
    {"t": "config", "values": {"lr": 0.5, "password": "s3cr3t"}},
    {"t": "loop", "id": 0, "key": "train.py:<module>:0", "dim": "epoch", "line": 3},
    {"t": "loop", "id": 1, "key": "train.py:<module>:1", "dim": "step", "line": 4},
    {"t": "rows", "loop": 1, "outer": [[0, 0, 0]], "first": 0, "value": [0, 1, 2],
     "cols": {"loss": [0.5, 0.25, None], "key": ["a", "s3cr3t", None], "ok": [True, None, None]}},
    {"t": "rows", "loop": 0, "outer": [], "first": 0, "value": [0],
     "cols": {"acc": [1 / 3], "best": [7]}},
    {"t": "checkpoint", "loop": 0, "outer": [], "boundary": 1},
    {"t": "rows", "loop": 0, "outer": [], "first": 1, "value": [1],
     "cols": {"acc": [2 / 3], "best": ["s3cr3t"]}},
    {"t": "lost", "what": "writing a checkpoint", "why": "OSError: s3cr3t"},
    {"t": "lost", "what": "loops of the main program", "why": "it is compiled; record its source"},
    {"t": "exit", "status": 0, "how": "exit", "seconds": 3723.4},
]  # fmt: skip


def shown(frames) -> str:
    return summary.render(summary.gather(frames))


def test_the_page_shows_what_the_run_did():
    assert shown(FRAMES).splitlines() == [
        "",
        "### flor_trace run `261123-150000-abcde` (night)",
        "",
        "| | |",
        "|---|---|",
        "| program | train.py |",
        "| status | finished |",
        "| duration | 1:02:03 |",
        "| iterations | step 3, epoch 2 |",
        "| checkpoints | 1 |",
        f"| code | `{'0' * 40}` |",
        "",
        "| loop | name | last value |",
        "|---|---|---:|",
        "| step | loss | 0.25 |",
        "| step | ok | True |",
        "| epoch | acc | 0.666667 |",
        "",
        "**Not recorded** (2):",
        "",
        "- writing a checkpoint: OSError",
        r"- loops of the main program: it is compiled; record its source",
        "",
        "Where the store is, ask for what was not logged:",
        "",
        "```sh",
        "flor_trace show 261123-150000-abcde",
        'flor_trace replay --run 261123-150000-abcde --probe "twice=acc * 2"',
        "```",
        "",
    ]


def test_neither_arguments_nor_configuration_nor_strings_are_shown():
    assert "s3cr3t" not in shown(FRAMES)


@pytest.mark.parametrize(
    ("end", "line"),
    [
        ({"status": 3, "seconds": 1.25}, "| status | **failed with status 3** |"),
        ({"status": None, "seconds": 1.25}, "| status | unknown |"),
        ({"status": 0, "seconds": 1.25}, "| duration | 1.2 s |"),
    ],
)
def test_the_end_of_the_run_is_told(end, line):
    assert line in shown([RUN, {"t": "exit", **end}]).splitlines()


def test_the_ranks_of_a_job_are_told_apart():
    header = {**RUN, "launch": {"rank": 1, "world_size": 4, "job": "x"}}

    assert "| program | train.py, rank 1 of 4 |" in shown([header]).splitlines()


def test_a_run_without_its_code_gets_no_advice_on_replays():
    text = shown([{**RUN, "vid": None}])

    assert "| code | was not saved |" in text
    assert "replay" not in text


def test_long_lists_are_cut():
    cols = {f"name{n}": [n] for n in range(100)}
    rows = {"t": "rows", "loop": 0, "outer": [], "first": 0, "value": [0], "cols": cols}
    lost = [{"t": "lost", "what": f"part {n}", "why": "no"} for n in range(30)]

    text = shown([RUN, rows, *lost])

    assert "| ? | name39 | 39 |" in text and "name40" not in text
    assert "| | and 60 more | |" in text
    assert "- part 9: no" in text and "part 10" not in text and "- and 20 more" in text


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)

    def handle_comment(self, data):
        self.seen.append("comment")


@given(st.text(min_size=1, max_size=60))
def test_no_text_of_a_program_is_markup(text):
    header = {**RUN, "name": text, "filename": text, "vid": None}
    loop = {"t": "loop", "id": 0, "key": "k", "dim": text, "line": 1}
    cols = {text: [1.5]}
    rows = {"t": "rows", "loop": 0, "outer": [], "first": 0, "value": [0], "cols": cols}
    lost = {"t": "lost", "what": text, "why": text}

    page = shown([header, loop, rows, lost])

    tags = Tags()
    tags.feed(page)
    assert tags.seen == []
    plain = shown([{**RUN, "vid": None}, loop | {"dim": "d"}, rows | {"cols": {"n": [1.5]}}, lost])
    assert len(page.splitlines()) == len(plain.splitlines())
    (row,) = [line for line in page.splitlines() if line.endswith("| 1.5 |")]
    assert row.replace("\\\\", "").replace("\\|", "").count("|") == 4


def test_a_page_is_only_added_to(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("before\n")

    summary.append(page, "one\n")
    summary.append(page, "two\n")

    assert page.read_text() == "before\none\ntwo\n"


def test_a_full_page_stays_as_it_is(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_bytes(b"x" * (summary.MAX_PAGE - 2))

    summary.append(page, "abc")
    assert page.stat().st_size == summary.MAX_PAGE - 2
    summary.append(page, "ab")
    assert page.stat().st_size == summary.MAX_PAGE


def test_a_page_that_cannot_be_written_costs_one_line(tmp_path: Path, capsys):
    journal = tmp_path / "journal"
    writer = JournalWriter(journal)
    writer.append(RUN)
    writer.close()

    summary.write(tmp_path / "none" / "page.md", journal)
    summary.write(tmp_path / "page.md", tmp_path / "none")

    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("flor_trace: the run is recorded, but not shown on the page of the job")
    assert "--summary off" in second
    assert not (tmp_path / "page.md").exists()
    summary.write(tmp_path / "page.md", journal)
    assert "261123-150000-abcde" in (tmp_path / "page.md").read_text()
