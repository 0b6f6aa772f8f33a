from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from zipfile import ZipFile

import pytest

from flor_trace.errors import ScriptNotFound, ScriptNotRunnable
from flor_trace.session.program import Program
from flor_trace.session.seeds import exit_status, initial_state
from flor_trace.store.memory import MemoryStore

ROOT = Path(__file__).parents[2]

#: What a program sees of how it was started.
LOOK = """
import json, sys
names = {k: repr(v).split(" at 0x")[0].split(" object")[0] for k, v in sorted(globals().items())
         if k not in ("json", "sys", "look")}
print(json.dumps([names, sys.argv, sys.path[0], list(sys.modules["__main__"].__dict__) ==
                  list(globals()), type(sys.modules["__main__"]).__name__, __name__]))
"""

#: Starts a program as the recorder does, but does not record it.
OURS = """
import sys
sys.path[0] = {root!r}
from flor_trace.session.program import Main, Program
del sys.path[0]
main = Main(Program({mode!r}, {target!r}, {arguments!r}))
main.install()
main.run(lambda source, path: compile(source, path, "exec", dont_inherit=True), lambda error: None)
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x.py").write_text(LOOK)
    (tmp_path / "x.py").write_text(LOOK)
    (tmp_path / "link.py").symlink_to(tmp_path / "sub" / "x.py")
    (tmp_path / "chain.py").symlink_to("link.py")
    (tmp_path / "sub" / "__init__.py").write_text("")
    return tmp_path


def seen(arguments, cwd):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ours(mode, target, arguments, cwd):
    code = OURS.format(root=str(ROOT), mode=mode, target=target, arguments=tuple(arguments))
    return seen(["-c", code], cwd)


@pytest.mark.parametrize("target", ["x.py", "./x.py", "sub/x.py", "sub/../x.py", "link.py",
                                    "chain.py", "absolute"])  # fmt: skip
def test_a_script_sees_what_plain_python_shows_it(project, target):
    if target == "absolute":
        target = str(project / "sub" / "x.py")

    assert ours("script", target, ["a", "-b"], project) == seen([target, "a", "-b"], project)


def test_a_command_sees_what_plain_python_shows_it(project):
    assert ours("command", LOOK, ["a"], project) == seen(["-c", LOOK, "a"], project)


def test_a_module_sees_what_plain_python_shows_it(project):
    assert ours("module", "sub.x", ["a"], project) == seen(["-m", "sub.x", "a"], project)


@pytest.mark.parametrize("target", ["app", "app.pyz", "app/", "app/__main__.py"])
def test_a_directory_or_archive_sees_what_plain_python_shows_it(project, target):
    (project / "app").mkdir()
    (project / "app" / "__main__.py").write_text(LOOK)
    with ZipFile(project / "app.pyz", "w") as archive:
        archive.writestr("__main__.py", LOOK)
    mode = {"app.pyz": "zip", "app/__main__.py": "script"}.get(target, "directory")

    assert Program.at(str(project / target), ()).mode == mode
    assert ours(mode, target, ["a"], project) == seen([target, "a"], project)


def test_a_script_that_does_not_exist_is_told_from_others(project, monkeypatch):
    monkeypatch.chdir(project)

    with pytest.raises(ScriptNotFound, match="does not exist") as caught:
        Program.at("nowhere.py", ()).check()

    assert str(project / "nowhere.py") in str(caught.value)
    assert caught.value.exit_code == 127


def test_what_is_no_program_is_told_from_what_is_not_there(project, monkeypatch):
    monkeypatch.chdir(project)
    with ZipFile(project / "empty.zip", "w") as archive:
        archive.writestr("other.py", "")

    for target, why in (("sub", "a directory without"), ("empty.zip", "a zip file without")):
        with pytest.raises(ScriptNotRunnable, match=why) as caught:
            Program.at(target, ()).check()
        assert caught.value.exit_code == 126


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_not_runnable(project):
    (project / "x.py").chmod(0)

    with pytest.raises(ScriptNotRunnable, match="may not be read"):
        Program.at(str(project / "x.py"), ()).check()


def test_a_pipe_is_read_once_and_a_file_when_it_runs(project):
    os.mkfifo(project / "pipe")
    writer = threading.Thread(target=lambda: (project / "pipe").write_text("print(1)"))
    writer.start()
    read = Program.at(str(project / "pipe"), ()).with_source()
    writer.join()

    assert (read.source, read.main_file) == (b"print(1)", None)
    assert Program.at(str(project / "x.py"), ()).with_source().source is None


def test_our_imports_give_way_to_the_programs_own_modules(project):
    (project / "queue.py").write_text("mine = True")
    (project / "json").mkdir()
    (project / "json" / "__init__.py").write_text("mine = True")
    (project / "time.py").write_text("mine = True")  # python itself has this one built in
    (project / "x.py").write_text(
        "import sys\nnames = {n: hasattr(__import__(n), 'mine') for n in sys.argv[1:]}\n"
        "sys.stdout.write(str(names).replace(\"'\", '\"').lower())"
    )
    words = ["queue", "json", "time", "copy"]
    code = OURS.format(root=str(ROOT), mode="script", target="x.py", arguments=tuple(words))
    ours = "import flor_trace.startup, queue, json.decoder, copy\nfrom flor_trace.session"

    found = seen(["-c", code.replace("from flor_trace.session", ours)], project)

    assert found == seen(["x.py", *words], project)
    assert found == {"queue": True, "json": True, "time": False, "copy": False}


def test_modules_and_commands_have_no_path_to_check():
    for mode in ("module", "command"):
        program = Program(mode, "nowhere")
        program.check()
        assert program.path is None


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SystemExit(), 0),
        (SystemExit(3), 3),
        (SystemExit(-1), 255),
        (SystemExit(256), 0),
        (SystemExit("a message"), 1),
        (SystemExit(True), 1),
        (ValueError("x"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_the_status_of_an_exception_is_that_of_python(error, status):
    assert exit_status(error) == status


def test_the_first_state_of_a_generator_can_be_given_back():
    import random

    from flor_trace.state.encode import decode
    from flor_trace.state.restore import restore
    from flor_trace.state.rng import rng_roots

    store = MemoryStore()
    state = initial_state("random", random)
    frame = state.stored(store)
    first = [random.random() for _ in range(3)]

    restore(decode(store.get(frame["state"])), rng_roots(), store.get)

    assert frame["t"] == "seed" and frame["library"] == "random"
    assert state.nbytes > 2000
    assert [random.random() for _ in range(3)] == first
