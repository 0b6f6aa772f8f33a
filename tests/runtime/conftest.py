from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from runtime_helpers import Clock, Tracing

from flor_trace import _speedups


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless it is told to go on."""
    clock = Clock()
    monkeypatch.setattr("flor_trace.runtime.nest.perf_counter", clock)
    return clock


@pytest.fixture
def tracing(clock):
    """Loops of the test are reported to a nest."""
    yield Tracing(clock)
    _speedups.set_handler(None, None)
