from __future__ import annotations

import io
import json
import sys

import pytest


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Makes standard output look like a terminal of 200 columns."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")

    def begin():
        stream = Terminal()
        monkeypatch.setattr(sys, "stdout", stream)
        return stream

    return begin


@pytest.fixture
def strict_json():
    """Reads JSON as other programs do: without NaN and Infinity."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return lambda text: json.loads(text, parse_constant=refuse)
