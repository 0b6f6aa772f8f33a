from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from flor_trace import _speedups


@pytest.fixture(autouse=True)
def _no_handler():
    yield
    _speedups.set_handler(None, None)
