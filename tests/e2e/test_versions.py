"""What today's code defines is asked of versions that did not have it, where it would be."""

from __future__ import annotations

import re

import pytest
from harness import Project

FIRST = """\
import sys

import numpy as np


def evaluate(weights, x, y):
    return float(((x @ weights - y) ** 2).mean())


def main(rate):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(200, 6))
    y = x @ np.arange(6.0)
    weights = np.zeros(6)
    for epoch in range(5):
        for batch in rng.permutation(200).reshape(10, 20):
            error = x[batch] @ weights - y[batch]
            weights = weights - rate * (x[batch].T @ error) / 20
            noise = rng.normal() * 1e-3
        score = evaluate(weights, x, y)
        weights = weights * 0.99
        print(f"epoch {epoch}: {score:.5f}")


main(float(sys.argv[1]))
"""

#: Another file, other names, another order, and a loop that says more.
SECOND = (
    FIRST.replace("evaluate", "mean_error")
    .replace("weights", "w")
    .replace("import sys\n\nimport numpy as np", "import numpy as np\nimport sys")
    .replace("for epoch in range(5):", "for epoch in range(4):\n        seen = 0")
    .replace("noise = rng", "seen += 1\n            noise = rng")
)

#: What nobody logged: it needs an import, a helper and a line before it.
METRIC = """\
        residual = x @ w - y
        spread = largest(residual) / math.sqrt(len(residual))
"""
TODAY = (
    SECOND.replace("import sys\n", "import math\nimport sys\n")
    .replace("def main", "def largest(values):\n    return float(abs(values).max())\n\n\ndef main")
    .replace("        w = w * 0.99\n", METRIC + "        w = w * 0.99\n")
)


def truth(bare, source, rate, name="spread"):
    """What the program prints with the statement written into it."""
    (bare.path / "truth.py").write_text(source)
    done = bare.plain("truth.py", rate)
    (bare.path / "truth.py").unlink()
    return [float.fromhex(found) for found in re.findall(rf"{name} (\S+)", done.stdout)]


def told(source, name="spread", after="spread = .*"):
    """The program, telling a value right after the statement that gives it."""
    return re.sub(rf"( +)({after})\n", rf"\1\2\n\1print('{name}', float({name}).hex())\n", source)


@pytest.fixture
def versions(project: Project):
    (project.path / "train.py").write_text(FIRST)
    project.record("--name", "first", "train.py", "0.1")
    (project.path / "train.py").unlink()
    (project.path / "fit.py").write_text(SECOND)
    project.record("--name", "second", "fit.py", "0.2")
    (project.path / "fit.py").write_text(TODAY)
    return project


def test_todays_statement_is_asked_of_all_versions_in_their_words(versions, tmp_path_factory):
    documents = versions.replay("spread")
    plans = {plan["run"]: plan for plan in documents[0]["plans"]}
    assert len(plans) == 2
    for result in documents[0]["results"]:
        assert (result["failure"], result["difference"]) == (None, None)
        assert result["exact"] == result["cells"]
    first = next(p["carried"] for p in plans.values() if p["at"].endswith("train.py"))
    assert first["renamed"] == {"w": "weights"}
    assert set(first["brought"]) == {"largest", "math"}
    assert "residual = x @ weights - y" in first["text"]

    bare = Project(tmp_path_factory.mktemp("truth"))
    old = METRIC.replace("w ", "weights ")
    with_metric = (
        FIRST.replace("import sys\n", "import math\nimport sys\n")
        .replace(
            "def main", TODAY[TODAY.index("def largest") : TODAY.index("def main")] + "def main"
        )
        .replace("        weights = weights * 0.99\n", old + "        weights = weights * 0.99\n")
    )
    rows = versions.pivot("epoch", "spread")
    expected = truth(bare, told(with_metric), "0.1") + truth(bare, told(TODAY), "0.2")
    assert sorted(row["spread"] for row in rows) == sorted(expected)
    assert len(expected) == 9


def test_asked_again_nothing_is_computed_and_a_changed_definition_is_another_question(versions):
    versions.replay("spread")
    assert versions.replay("spread")[0]["answered"] == 9
    text = TODAY.replace("math.sqrt(len(residual))", "2")
    (versions.path / "fit.py").write_text(text)
    again = versions.replay("spread")
    assert again[0]["answered"] == 0
    assert sum(result["exact"] for result in again[0]["results"]) == 9


def test_a_value_is_asked_after_a_statement_of_an_inner_loop(versions, tmp_path_factory):
    line = 1 + next(n for n, text in enumerate(TODAY.splitlines()) if "w = w - rate" in text)
    probe = "size=float(abs(error).sum())"
    documents = versions.replay(probe, "--at", f"fit.py:{line}", "--run", "second")
    assert documents[0]["results"][0]["exact"] == 40
    bare = Project(tmp_path_factory.mktemp("truth"))
    source = SECOND.replace(
        "            seen += 1\n", "            size = abs(error).sum()\n            seen += 1\n"
    )
    expected = truth(bare, told(source, "size", "size = .*"), "0.2", "size")
    rows = versions.pivot("epoch", "batch", "size")
    assert sorted(row["size"] for row in rows if row["size"] is not None) == sorted(expected)


def test_before_and_after_a_statement_are_different_places(versions):
    statement = "weights = weights * 0.99"
    for name, where in (("early", "before"), ("late", "after")):
        versions.replay(
            f"{name}=float(weights.sum())", "--at", f"{where}: {statement}", "--run", "first"
        )
    rows = versions.pivot("epoch", "early", "late")
    rows = [row for row in rows if row["early"] is not None]
    assert len(rows) == 5
    assert all(row["late"] == pytest.approx(0.99 * row["early"], rel=1e-12) for row in rows)


def test_a_place_that_is_not_sure_is_left_out_unless_it_is_accepted(versions):
    lines = TODAY.splitlines()
    at = lines.index("        w = w * 0.99")
    lines.insert(at, "        drift = keeper(float(w.sum()))")
    lines.insert(at - 10, "    keeper = Keeper(0.5)")
    text = "\n".join(lines).replace("import math", "import math\nfrom keepers import Keeper")
    (versions.path / "fit.py").write_text(text + "\n")
    (versions.path / "keepers.py").write_text("class Keeper:\n    pass\n")
    done = versions.flor("replay", "--yes", "--probe", "drift", check=False)
    assert done.returncode == 2
    assert "is not sure (confidence 0.6" in done.stderr
    assert "--min-confidence 0.6" in done.stderr


def test_names_can_be_mapped_and_what_is_wrong_is_said(versions):
    (versions.path / "fit.py").write_text(TODAY.replace("residual = x @ w", "residual = x @ gain"))
    done = versions.flor("replay", "--yes", "--probe", "spread", check=False)
    assert done.returncode == 2
    assert "needs 'gain', which the old version does not have" in done.stderr
    arguments = ("--map", "weights=gain", "--run", "first")
    documents = versions.replay("spread", *arguments)
    assert documents[0]["results"][0]["exact"] == 5
    for pair in ("weights", "a=b c", "=x"):
        done = versions.flor("replay", "--yes", "--probe", "spread", "--map", pair, check=False)
        assert done.returncode == 2
        assert f"cannot read --map {pair!r}" in done.stderr


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("after: nothing = 5", "has no statement `nothing = 5`"),
        ("after: (((", "names no statement"),
        ("fit.py:1000", "no statement begins in line 1000"),
        ("other.py:3", "there is no file other.py"),
    ],
)
def test_a_place_that_is_not_there_is_refused(versions, at, said):
    done = versions.flor("replay", "--yes", "--probe", "a=1", "--at", at, check=False)
    assert done.returncode == 2
    assert said in done.stderr


def test_some_iterations_are_asked_at(versions):
    run = ("--run", "first")
    plain = versions.replay("size=float(abs(weights).sum())", "--at", "epoch=1..2", *run)
    assert (plain[0]["results"][0]["cells"], plain[0]["results"][0]["exact"]) == (2, 2)
    rows = versions.pivot("epoch", "size")
    assert [row["epoch"] for row in rows if row["size"] is not None] == [1, 2]
    text = "after: error = x[batch] @ weights - y[batch]"
    every = versions.replay("far=float(abs(error).max())", "--at", text, *run)
    assert every[0]["results"][0]["exact"] == 50
    some = versions.replay("near=float(abs(error).min())", "--at", "batch%5", *run)
    assert some[0]["results"][0]["exact"] == 10
