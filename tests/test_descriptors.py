from __future__ import annotations

import fcntl
import os

import pytest

from flor_trace.descriptors import Kept, aside


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "kept"
    file = Kept(path, os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT))
    yield file
    file.close()


def test_a_descriptor_moves_out_of_the_programs_way_and_is_not_inherited(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)

    moved = aside(fd)

    assert moved >= 900
    assert fcntl.fcntl(moved, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    os.close(moved)


def test_a_file_that_the_program_closed_is_opened_again(kept, tmp_path):
    os.write(kept.number(), b"one ")
    os.close(kept.number())

    os.write(kept.number(), b"two")

    assert (tmp_path / "kept").read_bytes() == b"one two"


def test_a_file_of_the_program_under_our_number_is_neither_written_nor_closed(kept, tmp_path):
    number = kept.number()
    other = os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)
    os.dup2(other, number)

    os.write(kept.number(), b"ours")
    os.write(number, b"theirs")
    kept.close()

    assert (tmp_path / "kept").read_bytes() == b"ours"
    assert (tmp_path / "other").read_bytes() == b"theirs"
    os.close(number)
    os.close(other)


def test_another_file_under_our_name_is_not_written(kept, tmp_path):
    os.close(kept.number())
    (tmp_path / "kept").rename(tmp_path / "moved")
    (tmp_path / "kept").write_text("")

    with pytest.raises(FileNotFoundError, match="another file"):
        kept.number()
