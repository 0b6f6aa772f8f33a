"""A replayed value is the one that the program would have logged, bit for bit."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from harness import Project

pytestmark = pytest.mark.torch


@dataclass(frozen=True)
class Case:
    """An example, what is asked of it, and the same question written into its source."""

    program: str
    arguments: tuple[str, ...]
    torch: bool
    probe: str
    before: str  #: the line of the source above which the question is written
    question: str  #: prints the value, exactly
    iterations: int
    also: tuple[str, ...] = ()  #: arguments of the replay

    @property
    def source_line(self) -> str:
        indent = len(self.before) - len(self.before.lstrip())
        return " " * indent + f"print('TRUTH', {self.question})\n"


HEX = "float({0}).hex()"
CASES = {
    "digits": Case(
        "digits.py",
        ("--epochs", "5"),
        True,
        "cf_matrix=confusion_matrix(test_labels, predict(model, test_x))",
        "        scheduler.step()\n",
        "__import__('json').dumps(confusion_matrix(test_labels, predict(model, test_x)).tolist())",
        5,
    ),
    "charlm": Case(
        "charlm.py",
        ("--max-iters", "12"),
        True,
        "norm=torch.stack([p.grad.square().sum() for p in model.parameters()]).sum().item()",
        "            self.iter_num += 1\n",
        HEX.format("torch.stack([p.grad.square().sum() for p in model.parameters()]).sum().item()"),
        12,
    ),
    "scratch": Case(
        "scratch.py",
        ("9",),
        False,
        "margin=float(np.sort(x @ weights, axis=1)[:, -1].sum())",
        "    if epoch % 5 == 4:\n",
        HEX.format("np.sort(x @ weights, axis=1)[:, -1].sum()"),
        9,
    ),
    "partial_fit": Case(
        "partial_fit.py",
        ("--epochs", "4"),
        False,
        "coef=float(np.abs(experiment.model.coef_).sum())",
        '        with open(args.history, "w") as file:\n',
        HEX.format("np.abs(experiment.model.coef_).sum()"),
        4,
    ),
}


def truth(project: Project, case: Case) -> list[str]:
    """What the program prints when the question is written into it."""
    source = (project.path / case.program).read_text()
    assert source.count(case.before) == 1
    asked = project.write("asked.py", source.replace(case.before, case.source_line + case.before))
    out = project.plain(str(asked), *case.arguments).stdout
    asked.unlink()
    return [line[6:] for line in out.splitlines() if line.startswith("TRUTH ")]


def shown(value: object) -> str:
    return value.hex() if isinstance(value, float) else json.dumps(value)


@pytest.mark.parametrize("name", CASES)
def test_restored_values_are_those_of_a_program_with_the_probe_in_it(
    examples: Project, name: str
) -> None:
    case = CASES[name]
    examples.pin(torch=case.torch)
    expected = truth(examples, case)
    examples.record(case.program, *case.arguments)

    (document,) = examples.replay(case.probe, *case.also)

    (result,) = document["results"]
    assert result["plan"] == "restore"
    assert (result["exact"], result["failure"]) == (case.iterations, None), result
    column = case.probe.partition("=")[0]
    got = [shown(row[column]) for row in examples.pivot(column) if row[column] is not None]
    assert got == expected
    assert len(expected) == case.iterations


@pytest.mark.parametrize("name", CASES)
def test_re_executed_values_are_those_of_a_program_with_the_probe_in_it(
    examples: Project, name: str
) -> None:
    """Without usable checkpoints in between, everything is executed again."""
    case = CASES[name]
    examples.pin(torch=case.torch)
    expected = truth(examples, case)
    examples.flor("--overhead", "0", case.program, *case.arguments)

    (document,) = examples.replay(case.probe, *case.also)

    (result,) = document["results"]
    assert result["plan"] in ("rerun", "re-execute")
    assert result["failure"] is None and result["diverged"] == 0, result
    column = case.probe.partition("=")[0]
    got = [shown(row[column]) for row in examples.pivot(column) if row[column] is not None]
    assert got == expected


def test_an_unseeded_program_is_followed_exactly(examples: Project) -> None:
    """The accuracy that the program logged, asked for again, is the same number."""
    out = examples.record("digits.py", "--epochs", "4").stdout

    (document,) = examples.replay("again=test(model, test_x, test_labels)")

    assert document["results"][0]["exact"] == 4
    rows = examples.pivot("epoch", "accuracy", "again")
    assert [row["again"] for row in rows] == [row["accuracy"] for row in rows]
    printed = [line.split()[-1] for line in out.splitlines() if line.startswith("epoch")]
    assert [f"{row['accuracy']:.4f}" for row in rows] == printed


def test_a_temporary_of_the_inner_loop_is_found_by_re_execution(examples: Project) -> None:
    """Every step's loss, which train() never returns; restored at epoch 2, executed from there."""
    examples.pin(torch=True)
    source = (examples.path / "digits.py").read_text()
    line = "        total += loss.item()\n"
    assert source.count(line) == 1
    examples.write(
        "asked.py", source.replace(line, "        print('TRUTH', x.sum().item().hex())\n" + line)
    )
    out = examples.plain("asked.py", "--epochs", "3").stdout
    expected = [text[6:] for text in out.splitlines() if text.startswith("TRUTH ")]
    (examples.path / "asked.py").unlink()
    examples.record("digits.py", "--epochs", "3")

    (document,) = examples.replay("xsum=x.sum().item()", "--at", "step", "--where", "epoch >= 2")

    (plan,) = document["plans"]
    assert plan["wanted"] == [1, 2]
    (result,) = document["results"]
    assert (result["plan"], result["failure"], result["diverged"]) == ("re-execute", None, 0)
    per_epoch = len(expected) // 3
    got = [row["xsum"].hex() for row in examples.pivot("xsum") if row["xsum"] is not None]
    assert got == expected[per_epoch:]


def test_a_variable_of_the_old_code_is_asked_where_it_is_stored(examples: Project) -> None:
    examples.pin(torch=True)
    examples.record("--no-auto-log", "digits.py", "--epochs", "2")

    (document,) = examples.replay("train_loss")

    assert document["results"][0]["exact"] == 2
    examples.record("--name", "logging", "digits.py", "--epochs", "2")
    rows = examples.pivot("train_loss")
    half = len([row for row in rows if row["train_loss"] is not None]) // 2
    values = [row["train_loss"] for row in rows if row["train_loss"] is not None]
    assert values[:half] == values[half:]


def test_the_start_of_an_iteration_is_the_end_of_the_one_before(examples: Project) -> None:
    examples.record("scratch.py", "6")
    examples.replay("w=float(weights.sum())")

    examples.replay("w0=float(weights.sum())", "--at", "epoch:start")

    rows = examples.pivot("epoch", "w", "w0")
    assert [row["w0"] for row in rows[1:]] == [row["w"] for row in rows[:-1]]
    assert rows[0]["w0"] is not None


def test_a_function_of_a_probe_file_is_given_the_programs_names(examples: Project) -> None:
    examples.record("digits.py", "--epochs", "2")
    examples.record("--name", "wide", "digits.py", "--epochs", "2", "--hidden", "512")

    (document,) = examples.replay(
        "grad_norm", "--probe-file", "probes.py", "--where", "hidden < 500 and grad_norm.isna()"
    )

    assert len(document["results"]) == 1
    rows = examples.pivot("hidden", "grad_norm")
    assert all((row["grad_norm"] is None) == (row["hidden"] == 512) for row in rows)
    assert any(row["grad_norm"] is not None for row in rows)


def test_what_was_asked_is_remembered_and_not_computed_twice(examples: Project) -> None:
    examples.record("scratch.py", "5")
    examples.replay("norm=float((weights ** 2).sum())")
    examples.record("scratch.py", "5")

    (document,) = examples.replay("norm")

    assert document["answered"] == 5
    assert len(document["results"]) == 1
    assert all(row["norm"] is not None for row in examples.pivot("epoch", "norm"))


def test_a_script_changed_and_recorded_three_times_is_asked_from_the_newest(
    examples: Project,
) -> None:
    """Each version is replayed with its own code: the score has another scale in each."""
    source = (examples.path / "scratch.py").read_text()
    loss = "    loss = total / len(x)\n"
    for version, scale in enumerate(("1.0", "10.0", "100.0")):
        changed = source.replace(loss, f"    scale = {scale}\n    loss = scale * total / len(x)\n")
        assert changed != source
        examples.write("scratch.py", changed)
        if version == 1:
            examples.commit_all("change")
        examples.record("--name", f"v{version}", "scratch.py", "4")
    before = examples.files()

    (document,) = examples.replay("ratio=scale * total / len(x) / loss, scale")

    assert [r["exact"] for r in document["results"]] == [4, 4, 4]
    assert len({run["code"] for run in examples.ls()}) == 3
    rows = [row for row in examples.pivot("epoch", "ratio") if row["ratio"] is not None]
    assert [row["ratio"] for row in rows] == [
        [1.0, s] for s in (1.0, 10.0, 100.0) for _ in range(4)
    ]
    assert examples.files() == before


def test_a_difference_is_found_named_and_kept_out_of_the_pivot(project: Project) -> None:
    """The program reads a number from outside that is another one in the replay."""
    project.write(
        "main.py",
        "import os, time\n"
        "state = [0.0]\n"
        "for epoch in range(4):\n"
        "    state[0] += len(os.environ['OUTSIDE'])\n"
        "    loss = state[0] * 2\n"
        "    time.sleep(0.001)\n",
    )
    project.flor("--overhead", "0", "main.py", env={"OUTSIDE": "aa"})

    done = project.flor(
        "replay", "--yes", "--json", "--probe", "s=state[0]", env={"OUTSIDE": "bbb"}, check=False
    )

    assert done.returncode == 4
    assert "loss at epoch 0 is 6.0, was 4.0" in done.stderr
    (document,) = json.loads(done.stdout)
    assert document["results"][0]["diverged"] == 4
    assert all(row.get("s") is None for row in project.pivot())


def test_clock_readings_are_not_taken_for_differences(project: Project) -> None:
    project.write(
        "main.py",
        "import time\n"
        "began = time.time()\n"
        "total, times = 0, []\n"
        "for epoch in range(4):\n"
        "    t0 = time.perf_counter()\n"
        "    time.sleep(0.002)\n"
        "    total += epoch\n"
        "    seconds = time.perf_counter() - t0\n"
        "    times.append(seconds)\n",
    )
    project.record("main.py")

    (document,) = project.replay("t=total * 10", "--at", "epoch")

    (result,) = document["results"]
    assert (result["difference"], result["exact"]) == (None, 4)


def test_a_probe_that_changes_the_program_is_refused(project: Project) -> None:
    project.write(
        "main.py",
        "import time\nlog = []\nfor i in range(3):\n    log.append(i)\n    time.sleep(0.001)\n",
    )
    project.record("main.py")

    done = project.flor(
        "replay", "--yes", "--json", "--probe", "n=len(log) + len(log.append(9) or [])", check=False
    )

    assert done.returncode == 1
    (document,) = json.loads(done.stdout)
    assert document["results"][0]["error"] >= 2
