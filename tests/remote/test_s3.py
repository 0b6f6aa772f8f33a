from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from remote_helpers import FIRST, SECOND, frames, is_whole, pull_all, push_all, record, runs_of

from flor_trace.errors import RemoteError
from flor_trace.remote.drive import Drive
from flor_trace.store.layout import Store, open_store

s3fs = pytest.importorskip("s3fs")
pytest.importorskip("moto.server")
pytestmark = [
    # Those of the client and of what it is made of are not ours.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A server on this machine that speaks S3."""
    port = _free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    s3fs.S3FileSystem.clear_instance_cache()
    filesystem = s3fs.S3FileSystem()
    filesystem.mkdir("runs-of-tests") if not filesystem.exists("runs-of-tests") else None
    return "s3://runs-of-tests"


def test_runs_go_to_a_bucket_and_come_back(store: Store, other: Store, bucket: str) -> None:
    url = f"{bucket}/here/and/there"
    assert [p.problem for p in push_all(store, Drive(url))] == [None, None]
    assert not any(p.news for p in push_all(store, Drive(url)))
    assert [p.problem for p in pull_all(other, Drive(url))] == [None, None]
    for runid in (FIRST, SECOND):
        assert frames(other, runid) == frames(store, runid)
        assert is_whole(other, runid)


def test_a_second_pusher_is_seen_by_a_client_that_has_listed_before(
    store: Store, other: Store, bucket: str, tmp_path: Path
) -> None:
    drive = Drive(f"{bucket}/two")
    push_all(store, drive)
    pull_all(other, drive)
    third = open_store(tmp_path / "third", create=True)
    record(third, type(FIRST)("261103-000000-ddddd"), seed=3)
    push_all(third, Drive(f"{bucket}/two"))
    pull_all(other, drive)
    assert len(runs_of(other)) == 3


def test_a_bucket_that_is_not_there_is_not_made(store: Store, bucket: str) -> None:
    with pytest.raises(RemoteError, match="could not be written"):
        push_all(store, Drive("s3://a-typing-mistake/runs"))
    assert not s3fs.S3FileSystem().exists("a-typing-mistake")
