"""What a recorded run says about itself on the page of a CI job, as Markdown."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flor_trace.errors import JournalDamaged
from flor_trace.history.journal import read_journal
from flor_trace.records import dataclass, field

#: Scalars and losses beyond these are counted, not shown.
MAX_SCALARS = 40
MAX_LOST = 10
#: A page holds 1 MiB, for all runs of a step; what goes beyond is not shown at all.
MAX_PAGE = 900_000
MAX_TEXT = 80

Frame = Mapping[str, Any]


@dataclass(slots=True)
class Facts:
    """What a journal says, as far as a page shows it.

    Only numbers and truth values of the program get here, no strings, no arguments and no
    configuration: a page may have more readers than a store.
    """

    header: Frame = field(default_factory=dict)
    end: Frame = field(default_factory=dict)
    dims: dict[int, str] = field(default_factory=dict)
    #: (dimension, name) to the last value, and the last iteration of a dimension.
    scalars: dict[tuple[str, str], int | float | bool] = field(default_factory=dict)
    iterations: dict[str, int] = field(default_factory=dict)
    checkpoints: int = 0
    lost: list[Frame] = field(default_factory=list)

    def take(self, frame: Frame) -> None:
        """Add one frame of the journal."""
        kind = frame["t"]
        if kind == "run":
            self.header = frame
        elif kind == "exit":
            self.end = frame
        elif kind == "loop":
            self.dims[frame["id"]] = frame["dim"]
        elif kind == "checkpoint":
            self.checkpoints += 1
        elif kind == "lost":
            self.lost.append(frame)
        elif kind == "rows":
            self._take_rows(frame)

    def _take_rows(self, frame: Frame) -> None:
        dim = self.dims.get(frame["loop"], "?")
        self.iterations[dim] = self.iterations.get(dim, 0) + len(frame["value"])
        for name, values in frame["cols"].items():
            for value in reversed(values):
                if value is not None:
                    # A later string says that it is no scalar any more: the last number is old.
                    self.scalars.pop((dim, name), None)
                    if isinstance(value, bool | int | float):
                        self.scalars[dim, name] = value
                    break


def gather(frames: Iterable[Frame]) -> Facts:
    """Read the frames of a journal."""
    facts = Facts()
    for frame in frames:
        facts.take(frame)
    return facts


def render(facts: Facts) -> str:
    """The Markdown for one run, a blank line before and after it."""
    header, end = facts.header, facts.end
    runid = _text(header.get("runid", "?"))
    name = f" ({_text(header['name'])})" if header.get("name") else ""
    loops = ", ".join(f"{_text(dim)} {count}" for dim, count in facts.iterations.items())
    rows = [
        ("program", _text(header.get("filename", "?")) + _rank(header)),
        ("status", _status(end.get("status"))),
        ("duration", _duration(end.get("seconds"))),
        ("iterations", loops or "none"),
        ("checkpoints", str(facts.checkpoints)),
        ("code", f"`{header['vid']}`" if header.get("vid") else "was not saved"),
    ]
    lines = ["", f"### flor_trace run `{runid}`{name}", "", "| | |", "|---|---|"]
    lines += [f"| {key} | {value} |" for key, value in rows]
    lines += [*_scalars(facts), *_lost(facts), *_advice(facts, runid), ""]
    return "\n".join(lines) + "\n"


def _rank(header: Frame) -> str:
    launch = header.get("launch") or {}
    if "rank" not in launch:
        return ""
    of = f" of {_text(launch['world_size'])}" if "world_size" in launch else ""
    return f", rank {_text(launch['rank'])}{of}"


def _status(status: Any) -> str:
    if status is None:
        return "unknown"
    return "finished" if status == 0 else f"**failed with status {_text(status)}**"


def _duration(seconds: Any) -> str:
    if not isinstance(seconds, int | float):
        return "unknown"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}"


def _scalars(facts: Facts) -> list[str]:
    if not facts.scalars:
        return []
    shown = list(facts.scalars.items())[:MAX_SCALARS]
    lines = ["", "| loop | name | last value |", "|---|---|---:|"]
    lines += [f"| {_text(dim)} | {_text(name)} | {_number(v)} |" for (dim, name), v in shown]
    more = len(facts.scalars) - len(shown)
    return lines + ([f"| | and {more} more | |"] if more else [])


def _number(value: int | float | bool) -> str:
    return f"{value:.6g}" if type(value) is float else _text(value)


def _lost(facts: Facts) -> list[str]:
    """What could not be recorded; of exceptions only the type, for texts may quote values."""
    if not facts.lost:
        return []
    lines = ["", f"**Not recorded** ({len(facts.lost)}):", ""]
    for frame in facts.lost[:MAX_LOST]:
        why = str(frame.get("why", ""))
        exception = re.match(r"[A-Za-z_][\w.]*(?=: )", why)
        lines.append(f"- {_text(frame.get('what'))}: {_text(exception[0] if exception else why)}")
    more = len(facts.lost) - MAX_LOST
    return lines + ([f"- and {more} more"] if more > 0 else [])


def _advice(facts: Facts, runid: str) -> list[str]:
    if not facts.header.get("vid"):
        return []
    names = [name for _, name in facts.scalars if name.isidentifier()]
    probe = f"twice={names[-1]} * 2" if names else "NAME=EXPRESSION"
    return [
        "",
        "Where the store is, ask for what was not logged:",
        "",
        "```sh",
        f"flor_trace show {runid}",
        f'flor_trace replay --run {runid} --probe "{probe}"',
        "```",
    ]


def _text(value: Any) -> str:
    """A text in which Markdown and HTML mean nothing, on one line."""
    text = "".join(c if c.isprintable() else " " for c in str(value))
    if len(text) > MAX_TEXT:
        text = f"{text[: MAX_TEXT - 1]}…"
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~@:])", r"\\\1", text)


def append(path: Path, text: str) -> None:
    """Add the text at the end of the page if there is room; raise OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        data = text.encode("utf-8", "replace")
        if os.fstat(fd).st_size + len(data) <= MAX_PAGE:
            os.write(fd, data)
    finally:
        os.close(fd)


def write(page: Path, journal: Path) -> None:
    """Put the run of a finished journal on the page; say so on stderr if that cannot be."""
    try:
        append(page, render(gather(frame for _, frame in read_journal(journal))))
    except (OSError, JournalDamaged) as error:
        if sys.stderr is not None:
            print(  # noqa: T201 - otherwise nobody would know why the page is empty
                f"flor_trace: the run is recorded, but not shown on the page of the job ({error}); "
                "--summary off leaves that out",
                file=sys.stderr,
            )
