"""Run one suite in this process, plain or with every loop of a project rewritten, and report.

Started as ``python soak_launch.py JOB.json``.  The loops report to handlers that only count: the
point is what the suite makes of rewritten code, so nothing is logged or saved.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import sys
import types
from functools import partial
from pathlib import Path


class Counting:
    """The hooks of rewritten code, and a handler that counts every boundary without a frame."""

    def __init__(self):
        self.modules = {}
        self.left_alone = []
        self.failures = []
        self.sites = []
        self.ways = {}
        self.boundaries = itertools.count()

    # -- hooks --------------------------------------------------------------------------------

    def module(self, info, path):
        self.modules[path] = len(info.loops)
        self.left_alone += [
            [loop.key, loop.left_alone] for loop in info.loops if loop.left_alone is not None
        ]
        self.left_alone += [[f"{info.module}:{name}", why] for name, why in info.left_alone]

    def site(self, loop):
        from flor_trace._speedups import Site

        self.sites.append(Site(None, 0 if loop.kind == "for" else 1))
        return self.sites[-1]

    def control(self, loop):
        return None

    # -- the handler --------------------------------------------------------------------------

    def handlers(self):
        """Return what is called at a boundary, in C, and when a loop is left."""
        ways = self.ways

        def leave(loop, how):
            ways[how] = ways.get(how, 0) + 1

        return partial(next, self.boundaries), leave

    def failed(self, name, failure):
        self.failures.append([name, f"{type(failure).__name__}: {failure}"])

    def summary(self):
        return {
            "modules": len(self.modules),
            "loops": sum(self.modules.values()),
            "sites": len(self.sites),
            "entries": sum(site.entries for site in self.sites),
            "iterations": sum(site.iterations for site in self.sites),
            "boundaries": next(self.boundaries),
            "leaves": self.ways,
            "left_alone": self.left_alone,
            "failures": self.failures,
        }


def plain_modules(project, told):
    """Return the loaded modules of the project that nobody rewrote."""
    found = []
    for name, module in sorted(sys.modules.items()):
        path = vars(module).get("__file__") if isinstance(module, types.ModuleType) else None
        # Paths into zip files are none of files.
        rewritable = path and path.endswith(".py") and os.path.isfile(path)
        rewritable = rewritable and project.module_of(path)
        if rewritable and path not in told:
            found.append(name)
    return found


def instrument(job):
    """Install the product's import hook, and count."""
    from flor_trace._speedups import NATIVE, set_handler
    from flor_trace.instrument.compile import compile_module
    from flor_trace.instrument.hook import install
    from flor_trace.instrument.select import Project

    assert NATIVE, "the soak is about the C extension"
    # The rewriter imports its own modules when it is first used: with the hook in place, and the
    # standard library in the project, these imports would need the rewriter.
    compile_module(b"for x in y:\n    while x:\n        pass\n", "warm.py", "warm.py")
    counting = Counting()
    project = Project(Path(job["project"]))
    cache = Path(job["cache"])
    install(project, counting, cache_dir=cache, on_failure=counting.failed)
    if job.get("loaded"):
        rewrite_loaded(project, counting, cache)
    set_handler(*counting.handlers())
    return project, counting


def rewrite_loaded(project, counting, cache):
    """Give rewritten code to the functions of modules that were imported before the hook."""
    from flor_trace.instrument.cache import CodeCache
    from flor_trace.instrument.load import CodeLoader
    from flor_trace.types import NO_CONTROLS

    loader = CodeLoader(counting, CodeCache(cache), NO_CONTROLS, counting.failed)
    exchange = {}
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        name = project.module_of(path) if path and path.endswith(".py") else None
        if name is None or path in counting.modules:
            continue
        source = Path(path).read_bytes()
        bound = loader.load(source, path, name)
        plain = compile(source, path, "exec", dont_inherit=True)
        pairs = zip(codes(plain), codes(bound), strict=True)
        exchange.update({(path, old): new for old, new in pairs})
    for function in gc.get_objects():
        if type(function) is types.FunctionType:
            code = function.__code__
            new = exchange.get((code.co_filename, code))
            if new is not None:
                function.__code__ = new


def codes(code):
    """Yield a code object and all nested ones."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


# -- suites -----------------------------------------------------------------------------------


class PytestOutcomes:
    """A pytest plugin that keeps how each phase of each test came out."""

    def __init__(self):
        self.outcomes = {}

    def pytest_runtest_logreport(self, report):
        shown = report.outcome
        if hasattr(report, "wasxfail"):
            shown = "xfailed" if report.skipped else "xpassed"
        context = getattr(report, "context", None)
        name = report.nodeid if context is None else f"{report.nodeid} {context}"
        if report.when == "call" or shown != "passed":
            self.add(name, shown if report.when == "call" else f"{report.when} {shown}", report)

    def pytest_collectreport(self, report):
        if report.outcome != "passed":
            self.add(report.nodeid, f"collection {report.outcome}", report)

    def add(self, name, shown, report):
        self.outcomes.setdefault(name, []).append(shown)
        if "failed" in shown:
            print(f"--- {name}\n{report.longreprtext}"[:3000])


def run_pytest(args):
    import pytest

    # What sympy's conftest tells it, which its archive lacks: slow tests can be told then.
    sys._running_pytest = True
    outcomes = PytestOutcomes()
    pytest.main(args, plugins=[outcomes])
    return outcomes.outcomes


def run_unittest(names):
    import unittest

    from test import support

    support.use_resources = ()

    class Result(unittest.TextTestResult):
        def note(self, test, shown):
            outcomes.setdefault(str(test.id()), []).append(shown)

        def addSuccess(self, test):
            super().addSuccess(test)
            self.note(test, "passed")

        def addError(self, test, err):
            super().addError(test, err)
            self.note(test, "error")

        def addFailure(self, test, err):
            super().addFailure(test, err)
            self.note(test, "failed")

        def addSkip(self, test, reason):
            super().addSkip(test, reason)
            self.note(test, "skipped")

        def addExpectedFailure(self, test, err):
            super().addExpectedFailure(test, err)
            self.note(test, "xfailed")

        def addUnexpectedSuccess(self, test):
            super().addUnexpectedSuccess(test)
            self.note(test, "xpassed")

        def addSubTest(self, test, subtest, err):
            super().addSubTest(test, subtest, err)
            if err is not None:
                self.note(test, "failed")

    outcomes = {}
    suite = unittest.defaultTestLoader.loadTestsFromNames(names)
    unittest.TextTestRunner(resultclass=Result, verbosity=0).run(suite)
    return outcomes


def main():
    job = json.loads(Path(sys.argv[1]).read_text())
    sys.path[:1] = job["path"]
    sys.argv[:] = [job["runner"], *job["args"]]
    pid = os.getpid()
    watched = None
    if job["rewrite"]:
        watched = instrument(job)
    outcomes = {"pytest": run_pytest, "unittest": run_unittest}[job["runner"]](job["args"])
    if os.getpid() != pid:
        os._exit(70)  # a test forked, and came back here
    report = {"outcomes": outcomes}
    if watched is not None:
        from flor_trace._speedups import set_handler

        set_handler(None, None)
        project, counting = watched
        report |= counting.summary()
        report["plain_modules"] = plain_modules(project, counting.modules)
    Path(job["report"]).write_text(json.dumps(report))


if __name__ == "__main__":
    main()
