from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import ctypes, json, os, shutil, sqlite3, sys, tempfile
from pathlib import Path
from flor_trace.replay import contain
scratch, outside, mode = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
if mode == "hook":
    contain._landlock = lambda writable: False
os.chdir(scratch)
results = {"reach": contain.Containment(scratch, (scratch.parent / "allowed",)).begin()}
def attempt(name):
    def run(action):
        try:
            action()
            results[name] = "done"
        except BaseException as error:
            results[name] = f"{type(error).__name__}: {error}"
    return run
exec(sys.stdin.read())
print(json.dumps(results))
"""


@pytest.fixture
def places(tmp_path):
    for name in ("scratch", "outside", "allowed"):
        (tmp_path / name).mkdir()
    (tmp_path / "outside" / "data.txt").write_text("original")
    (tmp_path / "outside" / "more").mkdir()
    for name in ("data.txt", "again.txt", "cut.txt", "touched.txt", "gone.txt", "base.db"):
        (tmp_path / "scratch" / name).symlink_to(tmp_path / "outside" / "data.txt")
    os.utime(tmp_path / "outside" / "data.txt", (1e9, 1e9))
    return tmp_path


def contained(places, source, mode="both"):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, places / "scratch", places / "outside", mode],
        input=source, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


OUTSIDE = """
attempt("write")(lambda: open(outside / "new.txt", "w"))
attempt("append")(lambda: open(outside / "data.txt", "a"))
attempt("update")(lambda: open(outside / "data.txt", "r+"))
attempt("os.open")(lambda: os.open(outside / "data.txt", os.O_WRONLY))
attempt("bytes path")(lambda: open(os.fsencode(outside / "new.txt"), "wb"))
attempt("relative")(lambda: open("../outside/new.txt", "w"))
attempt("remove")(lambda: os.remove(outside / "data.txt"))
attempt("rename in")(lambda: os.rename(outside / "data.txt", "taken.txt"))
attempt("rename out")(lambda: os.rename(scratch / "own.txt", outside / "own.txt"))
attempt("mkdir")(lambda: os.mkdir(outside / "new"))
attempt("rmdir")(lambda: os.rmdir(outside / "more"))
attempt("rmtree")(lambda: shutil.rmtree(outside))
attempt("chmod")(lambda: os.chmod(outside / "data.txt", 0o777))
attempt("utime")(lambda: os.utime(outside / "data.txt"))
attempt("truncate")(lambda: os.truncate(outside / "data.txt", 0))
attempt("symlink")(lambda: os.symlink("x", outside / "link"))
attempt("link out")(lambda: os.link("own.txt", outside / "link"))
attempt("sqlite")(lambda: sqlite3.connect(outside / "base.db").execute("create table t(x)"))
"""


@pytest.mark.parametrize("mode", ["both", "hook"])
def test_every_change_outside_is_refused_with_a_message(places, mode):
    (places / "scratch" / "own.txt").write_text("x")
    before = sorted(p.name for p in (places / "outside").iterdir())

    results = contained(places, OUTSIDE, mode)

    reach = results.pop("reach")
    assert mode == "both" or "audit hook" in reach
    for name, result in results.items():
        assert "a replay leaves the user's files alone" in result, (name, result)
    assert sorted(p.name for p in (places / "outside").iterdir()) == before
    data = places / "outside" / "data.txt"
    assert (data.read_text(), data.stat().st_mtime) == ("original", 1e9)


INSIDE = """
attempt("write")(lambda: Path("new.txt").write_text("x"))
attempt("mkdir")(lambda: os.makedirs("a/b"))
attempt("move")(lambda: os.replace("new.txt", "a/b/moved.txt"))
attempt("tree")(lambda: shutil.rmtree("a"))
attempt("temporary")(lambda: tempfile.TemporaryFile(dir=scratch))
attempt("read outside")(lambda: (outside / "data.txt").read_text())
attempt("null")(lambda: open(os.devnull, "w").write("x"))
attempt("allowed")(lambda: (scratch.parent / "allowed" / "pack").write_text("x"))
attempt("sqlite")(lambda: sqlite3.connect("own.db").execute("create table t(x)"))
attempt("memory")(lambda: sqlite3.connect(":memory:").execute("create table t(x)"))
attempt("number")(lambda: open(os.open("by_number", os.O_WRONLY | os.O_CREAT), "w").write("x"))
"""


@pytest.mark.parametrize("mode", ["both", "hook"])
def test_inside_everything_is_as_usual(places, mode):
    results = contained(places, INSIDE, mode)

    results.pop("reach")
    assert set(results.values()) == {"done"}, results


LINKS = """
attempt("read")(lambda: results.update(text=Path("data.txt").read_text()))
attempt("read on")(lambda: results.update(link=os.path.islink("data.txt")))
attempt("append")(lambda: open("data.txt", "a").write(" and more"))
attempt("update")(lambda: open("again.txt", "r+").write("O"))
attempt("cut")(lambda: open("cut.txt", "w").write("new"))
attempt("touch")(lambda: Path("touched.txt").touch())
attempt("remove")(lambda: os.remove("gone.txt"))
"""


@pytest.mark.parametrize("mode", ["both", "hook"])
def test_a_linked_input_becomes_the_replays_own_before_it_is_changed(places, mode):
    results = contained(places, LINKS, mode)

    assert (results["text"], results["link"]) == ("original", True)
    assert {results[name] for name in ("append", "update", "cut", "touch", "remove")} == {"done"}
    scratch = places / "scratch"
    assert (scratch / "data.txt").read_text() == "original and more"
    assert (scratch / "again.txt").read_text() == "Original"
    assert (scratch / "cut.txt").read_text() == "new"
    assert not (scratch / "gone.txt").is_symlink()
    data = places / "outside" / "data.txt"
    assert data.read_text() == "original"
    assert data.stat().st_mtime == 1e9


NATIVE = """
libc = ctypes.CDLL(None, use_errno=True)
def c_write(path):
    number = libc.open(os.fsencode(path), os.O_WRONLY | os.O_CREAT, 0o600)
    if number < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.close(number)
attempt("outside")(lambda: c_write(outside / "c.txt"))
attempt("inside")(lambda: c_write(scratch / "c.txt"))
def child():
    status = os.system(f"echo x > {outside}/shell.txt 2> /dev/null")
    if status:
        raise PermissionError(status)
attempt("child")(child)
"""


def test_landlock_stops_what_does_not_go_through_python(places):
    results = contained(places, NATIVE)

    if "Landlock" not in results["reach"]:
        pytest.skip("this kernel has no Landlock")
    assert results["outside"].startswith("PermissionError")
    assert results["child"].startswith("PermissionError")
    assert results["inside"] == "done"
    assert not (places / "outside" / "c.txt").exists()
    assert not (places / "outside" / "shell.txt").exists()
