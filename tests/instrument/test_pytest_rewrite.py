"""Test modules that pytest compiles report their loops, and stay what pytest makes of them."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
from instrument_recorder import Recorder, compiled

from flor_trace.errors import RewriteError
from flor_trace.instrument.bind import Source, bind, pristine
from flor_trace.instrument.cache import Unit
from flor_trace.instrument.change import TreeChange
from flor_trace.instrument.compile import compile_module
from flor_trace.instrument.pytest_rewrite import teach_pytest

RUNNER = """
import json, sys
sys.path[:0] = {path!r}
if {recorded}:
    from pathlib import Path
    from instrument_recorder import Recorder
    from flor_trace.instrument.hook import install
    from flor_trace.instrument.select import Project
    if {before}:
        import _pytest.assertion.rewrite
    recorder = Recorder()
    failures = []
    install(Project(Path({root!r})), recorder, cache_dir=Path({cache!r}),
            on_failure=lambda *failure: failures.append(repr(failure)))
import pytest
status = pytest.main(["-q", "-p", "no:randomly", "-p", "no:cacheprovider", *{args!r}])
if {recorded}:
    told = dict(
        modules=[info.module for info in recorder.modules],
        keys=sorted({{event[1] for event in recorder.events}}),
        failures=failures,
    )
    Path({root!r}, "..", "told.json").write_text(json.dumps(told))
sys.exit(status)
"""
TESTS = """
import helper

def test_explained():
    for i in range(3):
        assert i < 9
    while i:
        i -= 1
        assert helper.double(i) != 2, "boom"

def test_good():
    assert [helper.double(k) for k in range(3)] == [0, 2, 4]
"""
HELPER = "def double(x):\n    for _ in range(1):\n        x += x\n    return x\n"
CONFTEST = """
import pytest

@pytest.fixture(autouse=True)
def each():
    for k in range(2):
        assert k < 2
    yield
"""


class Suite:
    """A project with tests, and runs of pytest on it."""

    def __init__(self, root):
        self.root = root
        self.write("test_it.py", TESTS)
        self.write("conftest.py", CONFTEST)
        self.write("helper.py", HELPER)
        self.write("pytest.ini", "[pytest]\n")

    def write(self, name, text):
        (self.root / name).write_text(text)

    def run(self, *args, recorded, before=False, options=()):
        """Return status and output; `told` holds what the hooks heard."""
        here = str(Path(__file__).parent)
        program = RUNNER.format(
            path=[here, *sys.path],
            recorded=recorded,
            before=before,
            root=str(self.root),
            cache=str(self.root.parent / "cache"),
            args=args,
        )
        done = subprocess.run(
            [sys.executable, *options, "-c", program],
            cwd=self.root,
            env={
                name: value
                for name, value in os.environ.items()
                if name != "PYTHONDONTWRITEBYTECODE" and not name.startswith("PYTEST_")
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if recorded:
            self.told = json.loads((self.root.parent / "told.json").read_text())
        varying = re.compile(r"in \d+\.\d+s|0x[0-9a-f]+")
        return done.returncode, varying.sub("", done.stdout), done.stderr

    def copies(self):
        return {p.name: p.read_bytes() for p in self.root.rglob("*-pytest-*.pyc")}


@pytest.fixture
def suite(tmp_path):
    root = tmp_path / "project"
    root.mkdir()
    return Suite(root)


LOOPS = [
    "conftest.py:each:0",
    "helper.py:double:0",
    "test_it.py:test_explained:0",
    "test_it.py:test_explained:1",
]


@pytest.mark.parametrize("before", [False, True])
def test_test_modules_report_and_explain_their_assertions(suite, before):
    plain = suite.run(recorded=False)
    recorded = suite.run(recorded=True, before=before)
    assert recorded == plain
    assert "assert 2 != 2" in plain[1]
    assert "where 2 = " in plain[1]
    assert "1 failed, 1 passed" in plain[1]
    assert suite.told["keys"] == LOOPS
    assert sorted(suite.told["modules"]) == ["conftest.py", "helper.py", "test_it.py"]
    assert suite.told["failures"] == []


def test_a_second_run_uses_our_cache_and_does_the_same(suite):
    assert suite.run(recorded=True) == suite.run(recorded=True)
    assert suite.told["keys"] == LOOPS


def test_pytests_own_copies_hold_nothing_of_ours(suite):
    suite.run(recorded=True)
    assert suite.copies() == {}
    plain = suite.run(recorded=False)
    kept = suite.copies()
    assert len(kept) == 2
    assert suite.run(recorded=True) == plain
    assert suite.told["keys"] == LOOPS
    assert suite.copies() == kept


def test_a_foreign_test_module_is_pytests_alone(suite, tmp_path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    text = "def test_it():\n    for i in [1]:\n        assert i == 2\n"
    (other / "test_other.py").write_text(text)
    status, output, _ = suite.run(str(other / "test_other.py"), str(suite.root), recorded=True)
    assert status == 1
    assert "E           assert 1 == 2" in output
    assert suite.copies() == {}
    assert len(list(other.rglob("*-pytest-*.pyc"))) == 1
    assert suite.told["keys"] == LOOPS


@pytest.mark.parametrize(
    "text",
    [
        "def test_it(:\n    pass\n",
        "def test_it():\n    pass\nreturn 1\n",
        "for i in [1]:\n    1 / 0\n",
        "for i in [1]:\n    assert i == 2\n",
        "import nowhere_to_be_found\n",
    ],
)
def test_a_module_that_cannot_be_collected_is_told_as_ever(suite, text):
    suite.write("test_bad.py", text)
    plain = suite.run(recorded=False)
    recorded = suite.run(recorded=True)
    assert plain[0] == 2
    assert recorded == plain


def test_warnings_about_assertions_come_as_ever(suite):
    text = "def test_it():\n    for i in [1]:\n        assert (i, 'always true')\n"
    suite.write("test_it.py", text)
    recorded = suite.run(recorded=True)
    assert recorded == suite.run(recorded=False)
    assert "assertion is always true" in recorded[1]


def test_the_hook_for_passing_assertions_keeps_working(suite):
    suite.write("pytest.ini", "[pytest]\nenable_assertion_pass_hook = true\n")
    hook = "def pytest_assertion_pass(item, lineno, orig, expl):\n    print(lineno, orig, expl)\n"
    suite.write("conftest.py", CONFTEST + hook)
    recorded = suite.run("-s", recorded=True)
    assert recorded == suite.run("-s", recorded=False)
    assert "6 i < 9 0 < 9" in recorded[1]


def test_without_assertion_rewriting_test_modules_are_modules(suite):
    recorded = suite.run("--assert=plain", recorded=True)
    assert recorded == suite.run("--assert=plain", recorded=False)
    assert suite.told["keys"] == LOOPS


def test_optimized_runs_and_other_import_modes_do_the_same(suite):
    for options, args in [(["-O"], []), ([], ["--import-mode=importlib", "--doctest-modules"])]:
        args = [*args, "-o", "pythonpath=."]
        plain = suite.run(*args, recorded=False, options=options)
        assert suite.run(*args, recorded=True, options=options) == plain
        assert "test_it.py:test_explained:0" in suite.told["keys"]


# -- the parts --------------------------------------------------------------------------------


def renamed(tree, source, path):
    """Stand for a tool that changes a tree: calls of ``one`` become calls of ``two``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "one":
            node.id = "two"


CHANGED = TreeChange("renamed", renamed)
PROGRAM = "two = lambda: 'two'\ndef f():\n    for i in [1]:\n        out = one()\n    return out\n"


def test_a_change_is_in_the_code_and_in_the_original_but_not_in_the_description():
    made = compile_module(PROGRAM.encode(), "m.py", "m.py", change=CHANGED)
    names = {}
    origin = Source(PROGRAM.encode(), "m.py", change=CHANGED)
    exec(bind(made.code, made.info, Recorder(), source=origin), names)
    code = names["f"].__code__
    assert names["f"]() == "two"
    plain = pristine(code)
    assert plain is not code
    assert plain.co_names == ("two",)
    assert made.info.loops[0].own_stores == ("i", "out")
    assert made.info.left_alone == ()


def test_what_a_change_adds_is_not_taken_for_the_programs_names():
    def add(tree, source, path):
        store = ast.parse("made_up = 1").body
        tree.body[1].body[0].body[:0] = store

    made = compile_module(PROGRAM.encode(), "m.py", "m.py", change=TreeChange("add", add))
    assert made.info.loops[0].own_stores == ("i", "out")


def test_a_change_of_the_loops_themselves_leaves_the_module_alone():
    def drop(tree, source, path):
        tree.body[1].body[0].lineno += 1

    made = compile_module(PROGRAM.encode(), "m.py", "m.py", change=TreeChange("drop", drop))
    ((name, reason),) = made.info.left_alone
    assert name == "<module>"
    assert reason.startswith(RewriteError.__name__)


def test_the_cache_keeps_a_changed_module_apart():
    unit = Unit(b"x", "m.py", "m.py")
    changed = Unit(b"x", "m.py", "m.py", change=CHANGED)
    other = Unit(b"x", "m.py", "m.py", change=TreeChange("other", renamed))
    assert len({unit.key(), changed.key(), other.key()}) == 3


class Rewriter(types.ModuleType):
    """Like pytest's module, as far as it is looked at."""

    version = "0"

    def __init__(self):
        super().__init__("rewrite")
        rewriter = self
        self.executed = []

        class AssertionRewritingHook:
            config = types.SimpleNamespace(getini=lambda name: False)

            def exec_module(self, module):
                path = Path(module.__spec__.origin)
                code = rewriter._read_pyc(path, path)
                if code is None:
                    _, code = rewriter._rewrite_test(path, self.config)
                    rewriter._write_pyc(None, code, None, path)
                rewriter.executed.append(code)

        self.AssertionRewritingHook = AssertionRewritingHook
        self._read_pyc = lambda source, pyc, trace=None: "kept"
        self._rewrite_test = lambda fn, config: (None, "pytest's")
        self._write_pyc = lambda state, co, source_stat, pyc: True


def executed(code_of, failures=None):
    rewriter = Rewriter()
    teach_pytest(rewriter, code_of, lambda *failure: (failures or []).append(failure))
    spec = types.SimpleNamespace(origin="test_x.py")
    module = types.SimpleNamespace(__name__="test_x", __spec__=spec)
    rewriter.AssertionRewritingHook().exec_module(module)
    return rewriter.executed


def test_our_code_goes_past_the_copy_and_pytests_own_does_not():
    code, _ = compiled("for i in range(2):\n    pass\n", Recorder())
    assert executed(lambda path, change: code) == [code]
    assert executed(lambda path, change: None) == ["kept"]


def test_a_failure_of_ours_leaves_the_module_to_pytest():
    def fail(path, change):
        raise RuntimeError("not today")

    failures = [None]
    assert executed(fail, failures) == ["kept"]
    assert [(name, str(failure)) for name, failure in failures[1:]] == [("test_x", "not today")]


def test_a_pytest_with_other_parts_is_left_alone():
    rewriter = Rewriter()
    del rewriter._write_pyc
    before = rewriter.AssertionRewritingHook.exec_module
    with pytest.raises(AttributeError):
        teach_pytest(rewriter, lambda path, change: None, lambda *failure: None)
    assert rewriter.AssertionRewritingHook.exec_module is before
