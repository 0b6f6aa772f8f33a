from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flor_trace.errors import ScriptNotFound
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
sys.path.insert(0, {root!r})
from flor_trace.session.program import Main, Program
sys.path.pop(0)
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


@pytest.mark.parametrize(
    ("target", "why"), [("nowhere.py", "does not exist"), ("sub", "is a directory")]
)
def test_a_script_that_cannot_be_run_is_told_from_others(project, monkeypatch, target, why):
    monkeypatch.chdir(project)

    with pytest.raises(ScriptNotFound, match=why) as caught:
        Program("script", target).check()

    assert str(project / target) in str(caught.value)
    assert caught.value.exit_code == 127


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
