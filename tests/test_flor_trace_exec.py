"""What the hook makes of a command line of Python."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import flor_trace_exec as hook


@pytest.mark.parametrize(
    ("line", "options", "program"),
    [
        ("python a.py -c x", [], ["a.py", "-c", "x"]),
        ("python -u -O a.py", ["-u", "-O"], ["a.py"]),
        ("python -m pkg.mod -u", [], ["-m", "pkg.mod", "-u"]),
        ("python -um mod x", ["-u"], ["-m", "mod", "x"]),
        ("python -uBmmod x", ["-uB"], ["-m", "mod", "x"]),
        ("python -cpass x", [], ["-c", "pass", "x"]),
        ("python -Wic pass", ["-Wic"], ["pass"]),
        ("python -W error -Xdev -X importtime a.py", ["-W", "error", "-Xdev", "-X", "importtime"],
         ["a.py"]),
        ("python -uW error a.py", ["-uW", "error"], ["a.py"]),
        ("python --check-hash-based-pycs never a.py", ["--check-hash-based-pycs", "never"],
         ["a.py"]),
        ("python -u - x", ["-u"], ["-", "x"]),
        ("python -u -- -odd.py x", ["-u"], ["-odd.py", "x"]),
    ],
)  # fmt: skip
def test_options_and_program_are_told_apart_as_python_does(line, options, program):
    assert hook.split(line.split()) == (options, program)


@pytest.mark.parametrize(
    "line",
    ["python", "python -u", "python -i a.py", "python -ui -c x", "python -x a.py", "python -m",
     "python --help-env", "python -V", "python -uW", "python --"],
)  # fmt: skip
def test_a_console_is_no_program(line):
    assert hook.split(line.split()) is None


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "project"
    path.mkdir()
    (path / "pyproject.toml").touch()
    (path / "a.py").write_text("print(1)\n")
    (path / "setup.py").write_text("print(1)\n")
    (path / "app").mkdir()
    (path / "app" / "__main__.py").write_text("print(1)\n")
    (path / "a.pyz").write_bytes(b"#!/usr/bin/python\nPK\3\4\0\0")
    (tmp_path / "loose.py").write_text("print(1)\n")
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "tool.py").write_text("print(1)\n")
    monkeypatch.chdir(path)
    return path


@pytest.mark.parametrize(
    "program",
    [["a.py"], ["app"], ["-c", "print(1)"], ["-m", "train"], ["-m", "pytest"],
     ["-m", "unittest", "-v"], ["-m", "unittest.mock"], ["-m", "torch.utils.bench"]],
    ids=" ".join,
)  # fmt: skip
def test_programs_of_a_project_are_wanted(project, program):
    assert hook.is_wanted(program, "1")


@pytest.mark.parametrize(
    "program",
    [["missing.py"], ["setup.py", "build"], ["a.pyz"], ["."], ["../loose.py"],
     ["../site-packages/tool.py"], [os.__file__], ["-m", "pip", "install"], ["-m", "json.tool"],
     ["-m", "venv", "x"], ["-m", "flor_trace", "ls"], ["-m", "torch.distributed.run", "a.py"],
     ["-m", "joblib.externals.loky.backend.popen_loky_posix"],
     ["-c", "from multiprocessing.spawn import spawn_main; spawn_main()"],
     ["-c", "from multiprocessing.resource_tracker import main;main(5)"],
     ["-c", "import sys;exec(eval(sys.stdin.readline()))"]],
    ids=" ".join,
)  # fmt: skip
def test_tools_and_helpers_are_not_wanted(project, program):
    assert not hook.is_wanted(program, "1")


def test_outside_of_projects_only_what_lies_below_the_root_is_wanted(project, monkeypatch):
    above = project.parent
    monkeypatch.chdir(above)

    assert not hook.is_wanted(["loose.py"], "1")
    assert not hook.is_wanted(["-c", "print(1)"], str(project))
    assert hook.is_wanted(["loose.py"], str(above))
    assert hook.is_wanted(["-c", "print(1)"], str(above))


def test_an_installed_command_works_on_the_project_it_is_called_in(project, monkeypatch):
    scripts = project.parent / "bin"
    scripts.mkdir()
    for name in ("pytest", "pip3.12", "torchrun"):
        (scripts / name).write_text("#!python\n")
    monkeypatch.setattr(sys, "executable", str(scripts / "python"))

    assert hook.is_wanted([str(scripts / "pytest")], "1")
    assert not hook.is_wanted([str(scripts / "pip3.12")], "1")
    assert not hook.is_wanted([str(scripts / "torchrun")], "1")
    monkeypatch.chdir(project.parent)
    assert not hook.is_wanted([str(scripts / "pytest")], "1")


def test_a_program_on_standard_input_is_wanted_unless_a_person_types_it(project, monkeypatch):
    monkeypatch.setattr(hook, "_is_terminal", lambda fd: False)
    assert hook.is_wanted(["-"], "1")
    monkeypatch.setattr(hook, "_is_terminal", lambda fd: True)
    assert not hook.is_wanted(["-"], "1")


class Replaced(Exception):
    pass


@pytest.fixture
def starts(project, monkeypatch):
    """Call the hook as Python would at the start of a command line; what replaces the process."""

    def start(*program, **environ):
        made = []

        def execve(path, words, env):
            made.append((path, words, env))
            raise Replaced

        monkeypatch.setattr(os, "execve", execve)
        monkeypatch.setattr(sys, "orig_argv", ["python", "-u", *program])
        for name in (hook.VARIABLE, hook.PROCESS, "FLOR_TRACE", "PYTHONHASHSEED", *hook._BUILDING):
            monkeypatch.delenv(name, raising=False)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        try:
            hook.check()
        except Replaced:
            pass
        sys.modules[hook.__name__] = hook
        return made[0] if made else None

    return start


def test_the_process_starts_over_with_the_program_and_a_hash_seed(starts):
    path, words, environ = starts("a.py", "x", FLOR_TRACE_EXEC="1")

    assert path == sys.executable
    assert words == [path, "-u", hook.__file__, "--below-exec", "a.py", "x"]
    assert environ["FLOR_TRACE_EXEC_PID"] == str(os.getpid())
    seed = environ["PYTHONHASHSEED"]
    assert environ["FLOR_TRACE_DRAWN_HASH_SEED"] == f"{seed}:"


def test_a_hash_seed_that_is_given_stays(starts):
    _, _, environ = starts("a.py", FLOR_TRACE_EXEC="1", PYTHONHASHSEED="5")

    assert environ["PYTHONHASHSEED"] == "5"
    assert "FLOR_TRACE_DRAWN_HASH_SEED" not in environ


@pytest.mark.parametrize(
    "environ",
    [{}, {"FLOR_TRACE_EXEC": ""}, {"FLOR_TRACE_EXEC": "0"},
     {"FLOR_TRACE_EXEC": "1", "FLOR_TRACE": "0"},
     {"FLOR_TRACE_EXEC": "1", "FLOR_TRACE_EXEC_PID": str(os.getpid())},
     {"FLOR_TRACE_EXEC": "1", "PIP_BUILD_TRACKER": "x"}],
)  # fmt: skip
def test_nothing_is_done_unless_it_is_asked_for(starts, environ):
    assert starts("a.py", **environ) is None


def test_an_interpreter_inside_of_another_program_is_left_alone(starts, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", "/bin/sh")

    assert starts("a.py", FLOR_TRACE_EXEC="1") is None
