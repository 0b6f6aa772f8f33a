"""``flor_trace exec``: programs are recorded below any command, which notices nothing."""

from __future__ import annotations

import os
import shutil
import textwrap
from pathlib import Path
from typing import Any

import pytest
from harness import PACKAGE, Project, environment
from installed import (
    Work,
    build,
    copy_sources,
    install,
    make_environment,
    pip,
    site_of,
    work_in,
)
from test_processes import MULTIPROCESSING, journal

from flor_trace.history.journal import read_journal

TRAIN = """
import os, sys, time
loss = 1.0
for epoch in range(4):
    loss /= 2
    time.sleep(0.003)
print(sys.argv[1:], loss, flush=True)
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin directory of an environment where flor_trace is installed, hook and all."""
    folder = tmp_path_factory.mktemp("exec") / "env"
    found = make_environment(folder, str(PACKAGE))
    shutil.copy(PACKAGE / "flor_trace_exec.pth", site_of(folder))
    return found


@pytest.fixture
def work(project: Project, scripts: Path) -> Work:
    """A git repository with a program, where python is the one of that environment."""
    project.write("train.py", TRAIN)
    return work_in(project, scripts)


def execute(work: Work, *command: str, check: bool = True, **options: Any) -> Any:
    return work.run("python", "-m", "flor_trace", "exec", *command, check=check, **options)


def shell(work: Work, script: str, *arguments: str, **options: Any) -> Any:
    return execute(work, *arguments, "--", "sh", "-c", textwrap.dedent(script), **options)


def programs(work: Work) -> list[tuple[str, str]]:
    return [(row["program"], row["status"]) for row in work.ls_or_nothing()]


SCRIPT = """
    python train.py 1 2
    python -u -O -m train 3
    python -c 'import train, sys; sys.exit(3)' 4 || echo "failed with $?"
    echo 'import train' | python - 5
    python - 6 <<END
    import os
    os.execvp("python", ["python", "train.py", "7"])
    END
    python -c 'import subprocess as s; s.run(["python", "train.py", "8"], check=True)'
    python missing.py; python -m missing; echo $?
    python -c 'import sys; print(sys.argv, sys.path, sys.flags, len(sys.modules))' 9
    python -W error -X dev -c 'raise KeyError(4)'
    exit 9
"""


def test_every_program_is_a_run_and_nothing_else_is_different(work: Work) -> None:
    work.write("script.sh", textwrap.dedent(SCRIPT))
    plain = work.run("sh", "script.sh", check=False)

    recorded = execute(work, "sh", "script.sh", check=False)

    def without_count(text: str) -> str:  # of modules: recording imports some
        return "\n".join(line.rpartition(") ")[0] or line for line in text.splitlines())

    assert without_count(recorded.stdout) == without_count(plain.stdout)
    assert recorded.stderr == plain.stderr
    assert recorded.returncode == plain.returncode == 9
    assert programs(work) == [
        ("train.py 1 2", "finished"),
        ("train 3", "finished"),
        ("-c 4", "failed(3)"),
        ("- 5", "finished"),
        ("- 6", "died"),  # it became another program, as its record says
        ("train.py 7", "finished"),
        ("-c", "finished"),
        ("train.py 8", "finished"),
        ("missing", "failed(1)"),
        ("-c 9", "finished"),
        ("-c", "failed(1)"),
    ]
    assert [row["reached"] for row in work.ls()][:2] == ["epoch 3", "epoch 3"]


def test_options_hold_for_every_program_below(work: Work, tmp_path: Path) -> None:
    store = tmp_path / "elsewhere"
    work.write("deep/down/other.py", TRAIN)

    shell(
        work,
        "python train.py; cd deep/down; python other.py",
        "--name", "nightly", "--store", os.path.relpath(store, work.path),
    )  # fmt: skip

    work.env["FLOR_TRACE_STORE"] = str(store)
    assert [(row["name"], row["program"]) for row in work.ls()] == [
        ("nightly", "train.py"),
        ("nightly", "deep/down/other.py"),
    ]


def test_without_exec_the_programs_of_a_recorded_program_are_not_recorded(work: Work) -> None:
    work.write("starts.py", "import os\nos.system('python train.py')\n")

    work.flor("starts.py")
    assert programs(work) == [("starts.py", "finished")]

    execute(work, "python", "starts.py")
    assert [name for name, _ in programs(work)] == ["starts.py", "starts.py", "train.py"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_the_workers_of_a_program_are_no_programs(work: Work, method: str) -> None:
    work.write("many.py", MULTIPROCESSING)
    plain = work.run("python", "many.py", method)

    recorded = execute(work, "python", "many.py", method)

    assert (recorded.stdout, recorded.stderr) == (plain.stdout, plain.stderr)
    assert programs(work) == [(f"many.py {method}", "finished")]


def test_tools_are_left_alone(work: Work) -> None:
    work.write("a.json", "{}")
    shell(
        work,
        """
        python -m json.tool a.json
        python -m compileall -q .
        python -m flor_trace ls
        echo 'print(1)' | python -i
        echo 'print(1)' | python
        """,
    )

    assert programs(work) == []


def test_a_program_that_is_left_alone_does_not_see_the_hook(work: Work) -> None:
    work.write("outside.py", "import sys; print(sorted(sys.modules), sys.orig_argv)")
    (work.path.parent / "outside.py").write_bytes((work.path / "outside.py").read_bytes())
    plain = work.run("python", "../outside.py")

    recorded = execute(work, "python", "../outside.py")

    assert recorded.stdout == plain.stdout
    assert programs(work) == []


def test_an_installed_command_is_recorded_in_the_project_it_works_on(
    work: Work, scripts: Path
) -> None:
    command = scripts / "greet"
    command.write_text(f"#!{scripts}/python\nimport train\n")
    command.chmod(0o755)
    work.env["PYTHONPATH"] = str(work.path)

    execute(work, "greet", "you")

    (run,) = work.ls()
    assert run["program"].endswith("bin/greet you")
    assert (run["reached"], run["status"]) == ("epoch 3", "finished")
    assert not (scripts / ".flor_trace").exists()
    (document,) = work.replay("half=loss / 2")
    assert document["results"][0]["failure"] is None


def test_a_recording_that_cannot_begin_does_not_stop_the_program(work: Work) -> None:
    plain = work.run("python", "-u", "train.py", "1")
    work.write("pyproject.toml", "[tool.flor_trace]\nbranhc = 'x'\n")

    recorded = work.run("python", "-u", "train.py", "1", env={"FLOR_TRACE_EXEC": "1"}, check=False)

    assert recorded.returncode == 0
    assert recorded.stdout == plain.stdout
    (line,) = recorded.stderr.splitlines()
    assert line.startswith("flor_trace: train.py is not recorded: pyproject.toml sets 'branhc'")
    work.write("pyproject.toml", "")
    recorded = work.run(
        "python", "train.py", "1", env={"FLOR_TRACE_EXEC": "1", "FLOR_TRACE_STORE": "/dev/null/x"}
    )
    assert recorded.stdout == plain.stdout
    assert "/dev/null/x" in recorded.stderr


@pytest.mark.parametrize("how", ["variable", "project"])
def test_switched_off_is_off(work: Work, how: str) -> None:
    if how == "project":
        work.write("pyproject.toml", "[tool.flor_trace]\nenabled = false\n")
    env = {"FLOR_TRACE": "0"} if how == "variable" else {}

    recorded = execute(work, "python", "train.py", env=env, timeout=30)

    assert (recorded.stdout, recorded.stderr) == ("[] 0.0625\n", "")
    assert programs(work) == []


# -- the command itself ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 200", 200), ("kill -TERM $$", -15), ("kill -INT $$", -2)],
)
def test_the_status_is_that_of_the_command(work: Work, script: str, status: int) -> None:
    assert shell(work, script, check=False).returncode == status


def test_a_command_that_is_none_is_127_and_one_that_cannot_be_run_is_126(work: Work) -> None:
    work.write("text.txt", "text")
    bad = work.write("bad", "#!/no/such/interpreter\n")
    bad.chmod(0o755)

    for command, status, text in (
        ("no-such-command", 127, "there is no such command"),
        ("./none", 127, "there is no such command"),
        ("./text.txt", 126, "is not executable"),
        ("./.git", 126, "is a directory"),
        ("./bad", 126, "first line"),
    ):
        done = execute(work, command, check=False)
        assert (done.returncode, done.stdout) == (status, "")
        assert done.stderr.startswith("flor_trace: cannot run") and text in done.stderr


def test_a_script_without_a_first_line_is_run_by_the_shell(work: Work) -> None:
    work.write("script", "echo hello $1\n").chmod(0o755)

    assert execute(work, "./script", "you").stdout == "hello you\n"


def test_a_command_gets_signals_and_descriptors_as_from_the_shell(work: Work) -> None:
    facts = "grep -E 'Sig(Ign|Cgt|Blk)' /proc/self/status; ls /proc/self/fd"

    assert shell(work, facts).stdout == work.run("sh", "-c", facts).stdout


def test_wrong_uses_are_explained(work: Work) -> None:
    assert execute(work, "--help").stdout.startswith("usage: flor_trace exec")
    for words, text in (
        ((), "there is no command"),
        (("--overhead", "x", "true"), "not a share"),
        (("--nmae", "x", "true"), "did you mean --name"),
    ):
        done = execute(work, *words, check=False)
        assert done.returncode == 2 and text in done.stderr


def test_it_says_when_nothing_would_be_recorded(work: Work, tmp_path: Path) -> None:
    bare = make_environment(tmp_path / "bare", str(PACKAGE))

    done = work.run(str(bare / "python"), "-m", "flor_trace", "exec", "true", check=False)

    assert done.returncode == 2
    assert "nothing would be recorded: flor_trace_exec.pth is in none of" in done.stderr


def test_it_says_when_the_shell_finds_another_python(work: Work, scripts: Path) -> None:
    words = (str(scripts / "python"), "-m", "flor_trace", "exec")
    env = {"PATH": environment()["PATH"]}

    assert f"flor_trace is installed in {scripts}" in work.run(*words, "true", env=env).stderr
    assert work.run(*words, "--quiet", "true", env=env).stderr == ""
    assert work.run(*words, "true").stderr == ""


# -- launchers -------------------------------------------------------------------------------------


def test_the_ranks_of_a_job_can_be_told(work: Work) -> None:
    for env, launch in (
        ({"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "job7"},
         {"rank": 3, "local_rank": 1, "world_size": 4, "job": "job7"}),
        ({"SLURM_JOB_ID": "812", "SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_LOCALID": "0"},
         {"rank": 0, "local_rank": 0, "world_size": 2, "job": "812"}),
        ({"WORLD_SIZE": "2"}, {}),
    ):  # fmt: skip
        work.flor("train.py", env=env)
        assert journal(work)[0]["launch"] == launch
        shutil.rmtree(work.path / ".flor_trace")


@pytest.mark.torch
@pytest.mark.slow
def test_the_processes_that_torchrun_starts_are_runs_of_one_job(work: Work) -> None:
    pytest.importorskip("torch")
    work.write("ranks.py", "import os\nimport train\nprint(os.environ['RANK'])\n")

    done = execute(
        work, "python", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
        "ranks.py",
    )  # fmt: skip

    assert sorted(line for line in done.stdout.splitlines() if line in "01") == ["0", "1"]
    headers = [
        next(frame for _, frame in read_journal(path))
        for path in work.path.glob(".flor_trace/runs/*/journal")
    ]
    launches = [header["launch"] for header in headers]
    assert sorted(launch["rank"] for launch in launches) == [0, 1]
    assert {launch["world_size"] for launch in launches} == {2}
    assert len({launch["job"] for launch in launches}) == 1


# -- how the hook gets there -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the package is built from."""
    pytest.importorskip("setuptools", minversion="77")
    return copy_sources(tmp_path_factory.mktemp("build") / "tree")


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_an_installed_package_has_the_hook(
    project: Project, tree: Path, tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "env"
    work = work_in(project, install(folder, build(tree, kind, tmp_path)))
    work.write("train.py", TRAIN)

    done = work.run("flor_trace", "exec", "sh", "-c", "python train.py 1; python -I -m this")

    assert done.stdout.startswith("['1'] 0.0625\n")
    assert [(row["program"], row["reached"]) for row in work.ls()] == [("train.py 1", "epoch 3")]
    pip(folder, "uninstall", "-y", "flor_trace")
    assert not (site_of(folder) / "flor_trace_exec.pth").exists()
