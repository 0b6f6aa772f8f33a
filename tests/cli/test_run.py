from __future__ import annotations

import sys

import pytest

from flor_trace.cli import dispatch, run
from flor_trace.errors import UsageError
from flor_trace.session.program import Program


def split(*words):
    return run._split(list(words))


@pytest.mark.parametrize(
    ("words", "options", "rest"),
    [
        (["a.py"], {}, ["a.py"]),
        (["--name", "x", "a.py", "--name", "y"], {"name": "x"}, ["a.py", "--name", "y"]),
        (["--name=x", "a.py"], {"name": "x"}, ["a.py"]),
        (["--name=", "a.py"], {"name": ""}, ["a.py"]),
        (["--name", "--odd", "a.py"], {"name": "--odd"}, ["a.py"]),
        (["-q", "--no-auto-log", "-m", "pkg"], {"quiet": "1", "auto_log": "0"}, ["-m", "pkg"]),
        (["--log", "a", "--log=b,c", "a.py"], {"log": "a,b,c"}, ["a.py"]),
        (["--name", "x", "--name", "y", "a.py"], {"name": "y"}, ["a.py"]),
        (["--", "-odd.py", "-q"], {}, ["-odd.py", "-q"]),
        (["-q", "-", "-q"], {"quiet": "1"}, ["-", "-q"]),
        (["-c", "print(1)", "-q"], {}, ["-c", "print(1)", "-q"]),
        (["--overhead", "1%", "a.py", "--help"], {"overhead": "1%"}, ["a.py", "--help"]),
        ([], {}, []),
    ],
)
def test_everything_after_the_program_is_the_programs(words, options, rest):
    assert split(*words) == (options, rest)


@pytest.mark.parametrize("words", [["-h"], ["--help"], ["-q", "--help", "a.py"]])
def test_help_is_asked_for_before_the_program(words):
    assert split(*words) == (None, [])


def test_help_prints_all_options(capsys):
    assert run.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in run._OPTIONS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nmae", "x", "a.py"], "no option --nmae: did you mean --name"),
        (["--zzz", "a.py"], "flor_trace run --help lists them"),
        (["--name"], "--name needs a value"),
        (["-x", "a.py"], "no option -x"),
        (["--quiet=yes", "a.py"], "--quiet takes no value"),
    ],
)
def test_a_wrong_option_is_explained(words, message):
    with pytest.raises(UsageError, match=message):
        split(*words)


@pytest.mark.parametrize(
    ("rest", "target"),
    [
        (["a.py", "1"], ("script", "a.py", ("1",))),
        (["-", "1"], ("stdin", "-", ("1",))),
        (["-m", "pkg.mod", "-q"], ("module", "pkg.mod", ("-q",))),
        (["-c", "x", "y"], ("command", "x", ("y",))),
    ],
)
def test_the_program_is_what_python_takes_it_for(rest, target):
    assert run._target(rest) == Program(*target)


@pytest.mark.parametrize("rest", [[], ["-m"], ["-c"]])
def test_a_missing_program_is_explained(rest):
    with pytest.raises(UsageError):
        run._target(rest)


@pytest.mark.parametrize(
    ("original", "arguments", "interpreter"),
    [
        (["python", "-m", "flor_trace", "a.py", "1"], ["__main__.py", "a.py", "1"], []),
        (["python", "-u", "-X", "dev", "-m", "flor_trace", "a.py"], ["x", "a.py"],
         ["-u", "-X", "dev"]),
        (["python", "/usr/bin/flor_trace", "a.py"], ["/usr/bin/flor_trace", "a.py"], []),
        (["python", "-B", "/usr/bin/flor_trace", "run", "a.py"],
         ["/usr/bin/flor_trace", "run", "a.py"], ["-B"]),
    ],
)  # fmt: skip
def test_the_interpreters_own_options_are_kept(monkeypatch, original, arguments, interpreter):
    monkeypatch.setattr(sys, "orig_argv", original)
    monkeypatch.setattr(sys, "argv", arguments)

    assert run._interpreter() == [sys.executable, *interpreter]


# -- which command ---------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def known_hash_seed(monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "1")  # otherwise the process is started over with one


def test_errors_of_ours_are_one_message_and_a_status(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert dispatch.main(["nowhere.py"]) == 127
    assert dispatch.main(["--nmae", "x.py"]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("flor_trace: cannot record 'nowhere.py': it does not exist")
    assert "Traceback" not in err


def test_a_directory_without_a_main_program_is_none(tmp_path, capsys):
    assert dispatch.main([str(tmp_path)]) == 126
    assert "a directory without a __main__.py" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"], ["help"]])
def test_without_a_command_there_is_help(words, capsys):
    assert dispatch.main(words) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in dispatch.COMMANDS)


def test_the_version_is_told(capsys):
    from flor_trace import __version__

    assert dispatch.main(["--version"]) == 0
    assert capsys.readouterr().out == f"flor_trace {__version__}\n"


@pytest.mark.parametrize("command", [c for c in dispatch.COMMANDS if c not in ("run", "exec")])
def test_every_command_has_help_and_refuses_what_it_does_not_know(command, capsys):
    with pytest.raises(SystemExit) as caught:
        dispatch.main([command, "--help"])
    assert caught.value.code == 0
    assert "usage: flor_trace " + command in capsys.readouterr().out

    assert dispatch.main([command, "--zzz"]) == 2
    assert "--help tells more" in capsys.readouterr().err
