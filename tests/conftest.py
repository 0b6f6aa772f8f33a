from __future__ import annotations

import os

import hypothesis
import pytest

from flor_trace import _pure

# Shared machines are slow at times; in CI the same examples are tried each time.
hypothesis.settings.register_profile("here", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("here")

try:
    from flor_trace import _native
except ImportError:
    _native = None

TWINS = [
    pytest.param(
        _native,
        id="native",
        marks=[
            pytest.mark.native,
            pytest.mark.skipif(_native is None, reason="the C extension is not built"),
        ],
    ),
    pytest.param(_pure, id="pure"),
]


@pytest.fixture(params=TWINS)
def twin(request):
    yield request.param
    request.param.set_handler(None, None)


@pytest.fixture
def native(twin):
    if twin is _pure:
        pytest.skip("Python frames cannot be hidden from Python")
    return twin


class Events(list):
    """The callbacks of a twin: `n` for a boundary, the word for an exit."""

    def __init__(self, twin):
        super().__init__()
        twin.set_handler(lambda li: self.append(li.n), lambda li, how: self.append(how))


@pytest.fixture
def events(twin):
    return Events(twin)
