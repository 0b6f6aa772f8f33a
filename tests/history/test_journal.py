from __future__ import annotations

import errno
import gc
import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_trace.errors import JournalDamaged, StoreError
from flor_trace.history import journal
from flor_trace.history.journal import JournalWriter, is_torn, read_journal

HEADER = 16

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)
frames = st.dictionaries(st.text(max_size=8), values, max_size=5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def write(path: Path, *some: dict[str, Any]) -> list[int]:
    """Write a journal and return the offset behind each frame."""
    writer = JournalWriter(path)
    ends = []
    for frame in some:
        writer.append(frame)
        writer.flush()
        ends.append(path.stat().st_size)
    writer.close()
    return ends


def read(path: Path, offset: int = 0) -> list[dict[str, Any]]:
    return [frame for _, frame in read_journal(path, offset)]


class TestRoundTrip:
    @given(some=st.lists(frames, max_size=8))
    def test_frames_come_back_as_they_were(
        self, tmp_path_factory: pytest.TempPathFactory, some: list[dict[str, Any]]
    ) -> None:
        path = tmp_path_factory.mktemp("j") / "journal"

        ends = write(path, *some)

        assert list(read_journal(path)) == list(zip(ends, some, strict=True))
        assert not is_torn(path)

    @pytest.mark.parametrize(
        "value",
        [
            2**70,
            -(2**4000),
            0.1,
            5e-324,
            1.7976931348623157e308,
            "\ud800\udfff \udc80",
            "\0\n\x1b]",
        ],
        ids=repr,
    )
    def test_numbers_and_texts_are_exact(self, path: Path, value: object) -> None:
        write(path, {"v": value})

        (frame,) = read(path)
        assert frame["v"] == value
        assert type(frame["v"]) is type(value)

    def test_the_floats_that_json_does_not_know_survive(self, path: Path) -> None:
        write(path, {"v": [math.nan, math.inf, -math.inf, -0.0]})

        (frame,) = read(path)
        nan, inf, minus, zero = frame["v"]
        assert math.isnan(nan)
        assert (inf, minus) == (math.inf, -math.inf)
        assert math.copysign(1, zero) == -1

    def test_an_int_beyond_the_limit_on_digits_can_be_read(self, path: Path) -> None:
        limit = sys.get_int_max_str_digits()
        sys.set_int_max_str_digits(0)
        try:
            write(path, {"v": 10**6000 + 1}, {"v": 2})
        finally:
            sys.set_int_max_str_digits(limit)

        assert read(path) == [{"v": 10**6000 + 1}, {"v": 2}]

    def test_what_json_has_no_form_for_is_refused_and_nothing_is_added(self, path: Path) -> None:
        writer = JournalWriter(path)
        with pytest.raises(TypeError):
            writer.append({"v": object()})
        with pytest.raises(ValueError, match="digits"):
            writer.append({"v": 10**5000})
        writer.append({"v": 1})
        writer.close()

        assert read(path) == [{"v": 1}]

    def test_reading_goes_on_from_an_offset(self, path: Path) -> None:
        ends = write(path, {"n": 0}, {"n": 1}, {"n": 2})

        assert read(path, ends[0]) == [{"n": 1}, {"n": 2}]
        assert read(path, ends[2]) == []
        assert list(read_journal(path, ends[1])) == [(ends[2], {"n": 2})]
        assert not is_torn(path, ends[1])

    def test_a_journal_can_be_read_while_it_grows(self, path: Path) -> None:
        writer = JournalWriter(path)
        offset = 0
        for n in range(5):
            writer.append({"n": n})
            writer.flush()
            ((offset, frame),) = read_journal(path, offset)
            assert frame == {"n": n}
        writer.close()

    def test_threads_may_append_at_once(self, path: Path) -> None:
        writer = JournalWriter(path)

        def work(thread: int) -> None:
            for n in range(200):
                writer.append({"thread": thread, "n": n})

        threads = [threading.Thread(target=work, args=(t,)) for t in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        writer.close()

        got = read(path)
        for t in range(4):
            assert [f["n"] for f in got if f["thread"] == t] == list(range(200))


class TestFlushing:
    def test_frames_wait_in_memory_until_there_are_many(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(journal, "_now", lambda: 100.0)
        writer = JournalWriter(path)
        writer.append({"n": 1})
        assert read(path) == []

        writer.append({"n": "x" * journal.FLUSH_BYTES})

        assert len(read(path)) == 2
        writer.close()

    def test_a_frame_that_comes_half_a_second_after_the_last_write_is_written_at_once(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 100.0
        monkeypatch.setattr(journal, "_now", lambda: now)
        writer = JournalWriter(path)
        writer.append({"n": 1})
        now = 100.4
        writer.append({"n": 2})
        assert read(path) == []
        now = 100.51
        writer.append({"n": 3})
        assert [frame["n"] for frame in read(path)] == [1, 2, 3]
        now = 4000.0
        writer.append({"n": 4})
        assert [frame["n"] for frame in read(path)] == [1, 2, 3, 4]
        writer.append({"n": 5})
        assert len(read(path)) == 4
        writer.close()

    def test_every_write_is_of_whole_frames(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lengths: list[int] = []
        real = os.write

        def count(fd: int, data: bytes) -> int:
            lengths.append(len(data))
            return real(fd, data)

        monkeypatch.setattr(os, "write", count)
        writer = JournalWriter(path)
        for n in range(5000):
            writer.append({"n": n, "loss": 0.5})
        writer.close()

        assert lengths[0] == HEADER
        assert sum(lengths) == path.stat().st_size
        ends = {HEADER, *(end for end, _ in read_journal(path))}
        position = 0
        for length in lengths:
            position += length
            assert position in ends

    def test_sync_makes_the_bytes_and_then_the_names_durable(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        events: list[str] = []

        def note(what: str, fd: int) -> None:
            events.append(
                f"{what} {os.path.relpath(os.readlink(f'/proc/self/fd/{fd}'), path.parent)}"
            )

        monkeypatch.setattr(os, "fdatasync", lambda fd: note("data", fd))
        monkeypatch.setattr(os, "fsync", lambda fd: note("names", fd))
        writer = JournalWriter(path)
        writer.append({"n": 1})
        writer.sync()
        writer.append({"n": 2})
        writer.sync()
        writer.close()

        assert events == ["data journal", "names .", "names ..", "data journal"]

    def test_a_closed_journal_says_so(self, path: Path) -> None:
        writer = JournalWriter(path)
        writer.append({"n": 1})
        writer.close()
        writer.close()
        writer.flush()

        with pytest.raises(StoreError, match="closed"):
            writer.append({"n": 2})
        assert read(path) == [{"n": 1}]

    def test_only_the_owner_may_read_it(self, path: Path) -> None:
        write(path, {"n": 1})

        assert path.stat().st_mode & 0o777 == 0o600


class TestDamage:
    @settings(max_examples=150)
    @given(data=st.data())
    def test_a_flipped_bit_ends_the_journal_before_it_and_changes_no_frame(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        path = tmp_path_factory.mktemp("j") / "journal"
        some = [{"t": "rows", "n": n, "loss": 1 / (n + 1)} for n in range(12)]
        ends = write(path, *some)
        whole = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, len(whole) * 8 - 1))
        whole[place // 8] ^= 1 << place % 8
        path.write_bytes(whole)

        if place < HEADER * 8:
            with pytest.raises(JournalDamaged):
                read(path)
            return
        assert read(path) == [f for f, end in zip(some, ends, strict=True) if end * 8 <= place]
        assert is_torn(path)

    @settings(max_examples=150)
    @given(data=st.data())
    def test_a_torn_tail_leaves_the_frames_before_it(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        path = tmp_path_factory.mktemp("j") / "journal"
        some = [{"n": n, "text": "x" * n} for n in range(8)]
        ends = write(path, *some)
        length = data.draw(st.integers(0, ends[-1]))
        junk = data.draw(st.sampled_from([b"", bytes(5000), b"\xff" * 40, os.urandom(300)]))
        header = path.read_bytes()[:HEADER]
        path.write_bytes(path.read_bytes()[:length] + junk)

        if not header.startswith(path.read_bytes()[:HEADER]):
            with pytest.raises(JournalDamaged):
                read(path)
            return
        assert read(path) == [f for f, end in zip(some, ends, strict=True) if end <= length]
        assert is_torn(path) == (length + len(junk) not in {HEADER, *ends} or bool(junk))

    def test_a_frame_that_claims_to_be_huge_takes_no_memory(self, path: Path) -> None:
        write(path, {"n": 1})
        with open(path, "ab") as file:
            file.write(b"\xff\xff\xff\xff" + bytes(8) + b"{}")

        assert read(path) == [{"n": 1}]

    @pytest.mark.parametrize("payload", [b"[1]", b"{", b"\xff", b"[" * 100_000, b"null"])
    def test_a_frame_that_is_no_object_ends_the_journal(self, path: Path, payload: bytes) -> None:
        write(path, {"n": 1})
        with open(path, "ab") as file:
            file.write(journal._FRAME.pack(len(payload), journal.digest(payload)[:8]) + payload)

        assert read(path) == [{"n": 1}]
        assert is_torn(path)

    def test_another_format_is_told_from_damage(self, path: Path) -> None:
        write(path, {"n": 1})
        data = bytearray(path.read_bytes())
        data[12] = 9
        path.write_bytes(data)

        with pytest.raises(JournalDamaged, match="format 9"):
            read(path)

    @pytest.mark.parametrize(
        "make", [lambda p: p.mkdir(), os.mkfifo, lambda p: p.symlink_to(__file__)]
    )
    def test_what_is_no_file_is_neither_followed_nor_waited_for(
        self, path: Path, make: Any
    ) -> None:
        make(path)

        with pytest.raises(JournalDamaged):
            read(path)

    def test_a_missing_journal_is_named(self, path: Path) -> None:
        with pytest.raises(JournalDamaged, match=f"{path} cannot be read"):
            read(path)


class TestFailingDisks:
    def test_a_full_disk_loses_no_frame_once_there_is_space_again(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        writer = JournalWriter(path)
        real = os.write
        with monkeypatch.context() as patch:

            def full(fd: int, data: memoryview) -> int:
                if len(data) > 5:
                    return real(fd, data[:5])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            patch.setattr(os, "write", full)
            for n in range(3):
                writer.append({"n": n, "pad": "0123456789"})
                with pytest.raises(StoreError, match=r"No space left.*--store DIR"):
                    writer.flush()
        writer.append({"n": 3})
        writer.close()

        assert [frame["n"] for frame in read(path)] == [0, 1, 2, 3]
        assert not is_torn(path)

    def test_frames_are_refused_when_too_many_wait_for_a_full_disk(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        writer = JournalWriter(path)
        monkeypatch.setattr(journal, "_KEPT_WHEN_FULL", 100_000)

        def full(fd: int, data: memoryview) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        accepted = []
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            for n in range(40):
                before = writer._waiting
                with pytest.raises(StoreError):
                    writer.append({"n": n, "pad": "x" * journal.FLUSH_BYTES})
                if writer._waiting > before:
                    accepted.append(n)
        writer.close()

        assert [frame["n"] for frame in read(path)] == accepted == [0, 1]

    def test_a_full_disk_at_the_start_leaves_no_file(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(fd: int, data: memoryview) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "write", full)

        with pytest.raises(StoreError, match="No space left"):
            JournalWriter(path)
        assert not path.exists()

    def test_a_failed_sync_is_never_tried_again(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[int] = []

        def fail(fd: int) -> None:
            calls.append(fd)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(os, "fdatasync", fail)
        writer = JournalWriter(path)
        writer.append({"n": 1})
        with pytest.raises(StoreError, match="brought to the disk"):
            writer.sync()
        writer.append({"n": 2})
        with pytest.raises(StoreError, match="earlier"):
            writer.sync()
        writer.close()

        assert len(calls) == 1
        assert [frame["n"] for frame in read(path)] == [1, 2]

    def test_an_existing_journal_is_not_touched(self, path: Path) -> None:
        write(path, {"n": 1})

        with pytest.raises(StoreError, match="File exists"):
            JournalWriter(path)
        assert read(path) == [{"n": 1}]


def test_an_exception_from_a_signal_handler_leaves_the_frames_whole_and_single(path: Path) -> None:
    class Alarm(Exception):
        pass

    def handler(number: int, frame: object) -> None:
        raise Alarm

    writer = JournalWriter(path)
    appended = 0
    interrupted = 0
    previous = signal.signal(signal.SIGALRM, handler)
    gc.disable()  # Hypothesis has a callback there, which would swallow the handler's exception.
    deadline = time.monotonic() + 1.5
    try:
        while time.monotonic() < deadline:
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 1e-3))
                for _ in range(200):
                    appended += 1
                    writer.append({"n": appended})
                    writer.flush()
                time.sleep(0.002)
            except Alarm:
                interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.enable()
        signal.signal(signal.SIGALRM, previous)
    writer.close()

    numbers = [frame["n"] for frame in read(path)]
    assert interrupted > 50
    assert numbers == sorted(set(numbers))
    # A frame whose `append` was interrupted before it was added is the only one that may lack.
    assert appended - interrupted <= len(numbers) <= appended
    assert not is_torn(path)


def test_a_signal_handler_may_append_while_a_write_is_under_way(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = JournalWriter(path)
    real = os.write

    def interrupted(fd: int, data: memoryview) -> int:
        writer.append({"from": "handler"})
        writer.flush()
        return real(fd, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", interrupted)
        writer.append({"from": "program"})
        writer.flush()
    writer.close()

    assert [frame["from"] for frame in read(path)] == ["program", "handler"]


def test_a_forked_child_adds_nothing(path: Path) -> None:
    writer = JournalWriter(path)
    writer.append({"n": "waiting at the fork"})
    child = os.fork()
    if child == 0:
        writer.append({"n": "child"})
        writer.flush()
        writer.sync()
        writer.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    writer.close()

    assert read(path) == [{"n": "waiting at the fork"}]


KILLED = """
import os, sys
from pathlib import Path
from flor_trace.history.journal import JournalWriter

writer = JournalWriter(Path(sys.argv[1]))
n = 0
while True:
    for _ in range(7):
        writer.append({"n": n, "text": "x" * (n % 300)})
        n += 1
    writer.flush()
    os.write(1, b"%d\\n" % n)
"""


def test_after_kill_9_at_any_moment_the_journal_is_a_prefix_with_all_that_was_flushed(
    tmp_path: Path,
) -> None:
    generator = random.Random(3)
    for number in range(8):
        path = tmp_path / f"journal-{number}"
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert child.stdout is not None
        flushed = child.stdout.readline()
        time.sleep(generator.uniform(0, 0.05))
        child.send_signal(signal.SIGKILL)
        flushed += child.stdout.read()
        child.stdout.close()
        child.wait()

        got = [frame["n"] for frame in read(path)]
        assert got == list(range(len(got)))
        assert len(got) >= int(flushed.split(b"\n")[-2])


def test_a_journal_is_plain_json_in_frames(path: Path) -> None:
    """The example of docs/formats.md."""
    write(path, {"t": "exit", "status": 0})

    data = path.read_bytes()
    assert data[:16] == b"\x89flor_jnl\r\n\0\x01\0\0\0"
    assert int.from_bytes(data[16:20], "little") == len(data) - 28
    assert json.loads(data[28:]) == {"t": "exit", "status": 0}
    assert data[28:] == b'{"t":"exit","status":0}'
