"""Print rows as a table for people, as TSV for pipes, as JSON for programs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

#: Digits of a float in a table; the other formats are exact.
DIGITS = 6


def print_rows(rows: Sequence[Row], columns: Sequence[str], *, as_json: bool = False) -> None:
    """Print `rows`, each with the `columns`, in the form that fits where they go."""
    if as_json:
        json.dump([{name: plain(row.get(name)) for name in columns} for row in rows], sys.stdout)
        sys.stdout.write("\n")
    elif sys.stdout.isatty():
        _print_table(rows, columns)
    else:
        print("\t".join(columns))
        for row in rows:
            print("\t".join(_cell(row.get(name)) for name in columns))


def _print_table(rows: Sequence[Row], columns: Sequence[str]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only people pay for it
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        values = [row.get(name) for row in rows]
        numeric = any(isinstance(v, int | float) for v in values)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_shown(row.get(name)) for name in columns))
    Console(highlight=False, markup=False, emoji=False).print(table)


def plain(value: Any) -> Any:
    """The value as JSON has it: arrays as nested lists, missing and not-a-number as null."""
    if hasattr(value, "load"):
        return str(value) if value.kind == "error" else plain(value.load().tolist())
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return None if _missing(value) else str(value)


def _missing(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value


def _shown(value: Any) -> str:
    if not hasattr(value, "load") and _missing(value):
        return ""
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}"
    return _escape(str(value))


def _cell(value: Any) -> str:
    if not hasattr(value, "load") and _missing(value):
        return ""
    return _escape(repr(value) if isinstance(value, float) else str(value))


def _escape(text: str) -> str:
    """Control characters of logged texts must not reach the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
