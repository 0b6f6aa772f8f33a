from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from remote_helpers import FIRST, SECOND, record

from flor_trace.store.layout import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of two runs that share chunks."""
    made = open_store(tmp_path / "store", create=True)
    record(made, FIRST, seed=1)
    record(made, SECOND, seed=2)
    return made


@pytest.fixture
def other(tmp_path: Path) -> Store:
    """An empty store."""
    return open_store(tmp_path / "other", create=True)


@pytest.fixture
def memory() -> Iterator[Any]:
    """A file system in memory, empty before and afterwards."""
    filesystem = pytest.importorskip("fsspec").filesystem("memory")
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]
    yield filesystem
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]
