"""Columns of numbers as a journal holds them: lists where they are short, else packed bytes."""

from __future__ import annotations

from array import array
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping
from sys import byteorder
from typing import Any

#: Columns of fewer rows are written as lists, which people can read.
PACK_FROM = 16

_CODES = {"f8": "d", "i8": "q"}


def packed(column: Any) -> Any:
    """The JSON form of a column as `Columns.take` gives it."""
    if not isinstance(column, tuple):
        return column
    form, content = column
    return {form: list(content) if form == "range" else b2a_base64(content, newline=False).decode()}


def unpack_rows(frame: dict[str, Any]) -> None:
    """Turn the packed columns of a ``rows`` frame into lists, in place.

    Raises `ValueError`, `LookupError` or `TypeError` for a column that is none of ours.
    """
    if "count" not in frame:
        return
    count = frame["count"]
    if not isinstance(count, int) or not 0 <= count <= 1 << 24:
        raise ValueError(f"a frame of {count!r} rows is none of ours")
    value = _unpacked(frame["value"], count)
    cols = {name: _unpacked(column, count) for name, column in frame["cols"].items()}
    del frame["count"]
    frame["value"], frame["cols"] = value, cols


def _unpacked(column: Any, count: int) -> Any:
    if column is None:
        return [None] * count
    if not isinstance(column, Mapping):
        return column
    ((form, content),) = column.items()
    if form == "range":
        first, step = content
        return [first + step * k for k in range(count)]
    numbers = array(_CODES[form], a2b_base64(content, strict_mode=True))
    if byteorder != "little":
        numbers.byteswap()
    return numbers.tolist()
