"""The test suites of packages from PyPI, with every loop of package and tests rewritten."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from soak_sdists import unpacked

COMMON = ("-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--tb=short")


@dataclass(frozen=True)
class Suite:
    """How the suite of one package is run."""

    name: str
    tests: tuple[str, ...]
    source: str = "."  #: what goes onto ``sys.path``
    options: tuple[str, ...] = ()
    seconds: int = 900


SYMPY = [f"sympy/{part}" for part in ("core", "polys", "combinatorics", "sets", "logic")]
NETWORKX = (
    [f"networkx/{part}" for part in ("classes", "generators", "utils", "readwrite", "linalg")]
    + [
        f"networkx/algorithms/{part}"
        for part in ("bipartite", "centrality", "components", "connectivity", "flow", "isomorphism")
    ]
    + [f"networkx/algorithms/{part}" for part in ("shortest_paths", "traversal", "tree", "tests")]
)

SMALL = [
    Suite("toolz", ("toolz",)),
    Suite("boltons", ("tests",)),
    Suite("tinydb", ("tests",)),
]
LARGE = [
    Suite("sqlparse", ("tests",)),
    Suite("jinja2", ("tests",), source="src"),
    Suite("lark", ("tests/__main__.py",)),
    Suite("more-itertools", ("tests",)),
    Suite("networkx", tuple(NETWORKX), seconds=3000),
    Suite("parso", ("test",)),
    Suite(
        "pyparsing",
        tuple(f"tests/test_{part}.py" for part in ("unit", "simple_unit", "util", "testing")),
    ),
    Suite("sympy", tuple(SYMPY), options=("-m", "not slow"), seconds=3000),
]
SUITES = [
    *[pytest.param(suite, id=suite.name, marks=pytest.mark.soak_slice) for suite in SMALL],
    *[pytest.param(suite, id=suite.name) for suite in LARGE],
]


@pytest.mark.parametrize("suite", SUITES)
def test_a_package_passes_its_own_tests_as_it_does_without_us(cage, suite):
    root = unpacked(suite.name, cage.folder)
    job = {
        "runner": "pytest",
        "args": [*COMMON, *suite.options, *suite.tests],
        "project": str(root),
        "path": [str(root / suite.source)],
        "cwd": str(root),
    }
    plain, _ = cage.compare(suite.name, job, seconds=suite.seconds)
    shown = [way for ways in plain["outcomes"].values() for way in ways]
    assert shown.count("passed") > 100
