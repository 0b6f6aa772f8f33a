from __future__ import annotations

import importlib
import importlib.resources
import importlib.util
import inspect
import os
import runpy
import sys
import traceback
import zipfile
from importlib.machinery import SourceFileLoader

import pytest
from instrument_recorder import Recorder

from flor_trace._speedups import NATIVE, Site
from flor_trace.instrument import load as loading
from flor_trace.instrument.hook import install, program_code
from flor_trace.instrument.select import Project

LOOP = "def run(n):\n    out = 0\n    for i in range(n):\n        out += i\n    return out\n"


class World:
    """A project on ``sys.path`` with the hook in place."""

    def __init__(self, root):
        self.root = root
        self.recorder = Recorder()
        self.failures = []

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        importlib.invalidate_caches()
        return path

    def install(self, **options):
        options.setdefault("cache_dir", None)
        return install(
            Project(self.root),
            self.recorder,
            on_failure=lambda name, failure: self.failures.append((name, failure)),
            **options,
        )

    def seen(self):
        return [info.module for info in self.recorder.modules]


@pytest.fixture
def world(tmp_path, monkeypatch):
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = set(sys.modules)
    yield World(root)
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_imports_of_the_project_report_their_loops(world):
    world.write("one.py", LOOP)
    with world.install():
        import one

        assert one.run(3) == 3
    assert world.seen() == ["one.py"]
    assert world.recorder.paths == [one.__file__] == [one.run.__code__.co_filename]
    assert world.recorder.events[0] == ("enter", "one.py:run:0")
    assert world.failures == []


def test_the_hooks_hear_of_a_module_before_its_first_loop_and_site(world):
    world.write("one.py", "for i in range(1):\n    pass\n")
    order = []
    world.recorder.module = lambda info, path: order.append("module")
    site = world.recorder.site
    world.recorder.site = lambda loop: order.append("site") or site(loop)
    with world.install():
        import one  # noqa: F401
    assert order == ["module", "site"]


def test_no_pyc_is_read_or_written_and_the_spec_is_pythons(world):
    world.write("one.py", LOOP)
    import one

    plain = {k: getattr(one, k) for k in ("__file__", "__cached__", "__package__", "__name__")}
    assert os.path.exists(one.__cached__)
    before = os.stat(one.__cached__)
    del sys.modules["one"]
    with world.install():
        again = importlib.import_module("one")
        assert again.run(2) == 1
    assert {k: getattr(again, k) for k in plain} == plain
    assert isinstance(again.__loader__, SourceFileLoader)
    assert again.__spec__.origin == one.__spec__.origin
    assert again.__spec__.has_location
    assert os.stat(again.__cached__).st_mtime_ns == before.st_mtime_ns
    assert world.seen() == ["one.py"]
    world.write("two.py", LOOP)
    with world.install():
        import two

        assert not os.path.exists(two.__cached__)


def test_sources_and_resources_are_found(world):
    world.write("pkg/__init__.py", "")
    world.write("pkg/m.py", LOOP)
    world.write("pkg/data.txt", "hello")
    with world.install():
        from pkg import m

        assert inspect.getsource(m.run) == LOOP
        assert m.__loader__.get_source("pkg.m") == LOOP
        assert (importlib.resources.files("pkg") / "data.txt").read_text() == "hello"


def test_relative_imports_packages_and_namespace_packages_work(world):
    world.write("pkg/__init__.py", "from .m import run\n")
    world.write("pkg/m.py", "from . import n\nfrom .sub import deep\n" + LOOP)
    world.write("pkg/n.py", "value = 1\n")
    world.write("pkg/sub/deep.py", LOOP)
    with world.install():
        import pkg
        import pkg.sub

        assert pkg.run(3) == 3
        assert pkg.sub.__spec__.loader is not None
    assert world.seen() == ["pkg/__init__.py", "pkg/m.py", "pkg/n.py", "pkg/sub/deep.py"]


def test_reload_runs_the_new_source(world):
    path = world.write("one.py", LOOP)
    with world.install():
        import one

        world.write("one.py", LOOP.replace("out += i", "out += 10 * i"))
        os.utime(path, (1, 1))
        importlib.reload(one)
        assert one.run(3) == 30
    assert world.seen() == ["one.py", "one.py"]
    assert world.recorder.modules[0].digest != world.recorder.modules[1].digest


def test_run_module_uses_the_rewritten_code(world):
    world.write("pkg/__init__.py", "")
    world.write("pkg/__main__.py", LOOP + "result = run(4), __name__, __package__\n")
    with world.install():
        assert runpy.run_module("pkg", run_name="__main__")["result"] == (6, "__main__", "pkg")
    assert ("enter", "pkg/__main__.py:run:0") in world.recorder.events


def test_modules_in_zip_files_are_left_to_their_loader(world, tmp_path, monkeypatch):
    archive = world.root / "lib.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("zipped.py", LOOP)
    monkeypatch.syspath_prepend(str(archive))
    with world.install():
        import zipped

        assert zipped.run(3) == 3
    assert world.seen() == []


def test_a_foreign_module_is_left_alone(world, tmp_path, monkeypatch):
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "foreign.py").write_text(LOOP)
    monkeypatch.syspath_prepend(str(other))
    with world.install():
        import foreign

        assert type(foreign.__loader__) is SourceFileLoader
    assert world.seen() == []


def test_a_missing_module_is_reported_as_ever(world):
    with world.install(), pytest.raises(ModuleNotFoundError, match="No module named 'nowhere'"):
        import nowhere  # noqa: F401


@pytest.mark.parametrize("text", ["x = = 1\n", "def f():\n    return 1 / 0\nf()\n"])
def test_a_failing_import_has_the_traceback_it_has_without_us(world, text):
    world.write("bad.py", text)

    def attempt():
        try:
            importlib.import_module("bad")
        except (SyntaxError, ZeroDivisionError) as error:
            return "".join(traceback.format_exception(error))
        return "no error"

    plain = attempt()
    sys.modules.pop("bad", None)
    with world.install():
        assert attempt() == plain
    assert "no error" not in plain
    assert world.failures == []


def test_our_own_failure_leaves_the_plain_module_and_is_told(world):
    world.write("one.py", LOOP)

    def fail(loop):
        raise RuntimeError("no site today")

    world.recorder.site = fail
    with world.install():
        import one

        assert one.run(3) == 3
    ((name, failure),) = world.failures
    assert (name, str(failure)) == ("one.py", "no site today")


def test_an_interrupt_is_not_taken_for_a_failure(world):
    world.write("one.py", LOOP)

    def interrupt(info, path):
        raise KeyboardInterrupt

    world.recorder.module = interrupt
    with world.install(), pytest.raises(KeyboardInterrupt):
        import one  # noqa: F401


def test_after_uninstalling_imports_are_plain(world):
    world.write("one.py", LOOP)
    world.write("two.py", LOOP)
    path = list(sys.meta_path)
    installed = world.install()
    import one

    installed.uninstall()
    installed.uninstall()
    import two

    assert sys.meta_path == path
    assert world.seen() == ["one.py"]
    assert two.run(2) == 1
    assert one.__loader__.get_code("one").co_consts == two.__loader__.get_code("two").co_consts


def test_the_cache_is_used_by_imports(world, tmp_path):
    world.write("one.py", LOOP)
    with world.install(cache_dir=tmp_path / "cache"):
        import one  # noqa: F401

        del sys.modules["one"]
        again = importlib.import_module("one")
        assert again.run(3) == 3
    assert len(os.listdir(tmp_path / "cache")) == 1
    assert world.seen() == ["one.py", "one.py"]


def test_built_in_and_frozen_modules_keep_their_precedence(world):
    world.write("zipimport.py", "fake = True\n")
    sys.modules.pop("zipimport", None)
    with world.install():
        module = importlib.import_module("zipimport")
        assert not hasattr(module, "fake")


@pytest.mark.skipif(not NATIVE, reason="the Python twins have frames")
@pytest.mark.parametrize("set_function", [sys.settrace, sys.setprofile])
def test_who_traces_an_import_sees_nothing_of_ours(world, set_function):
    world.write("one.py", LOOP + "run(2)\n")
    world.write("two.py", "import one\n")
    world.recorder.site = lambda loop: Site(None, 0)
    files = set()

    def hear(frame, event, arg):
        files.add(frame.f_code.co_filename)
        return hear

    before = sys.gettrace() if set_function is sys.settrace else sys.getprofile()
    with world.install(after_import={"one": lambda module: None}):
        set_function(hear)
        try:
            import two
        finally:
            set_function(before)
        importlib.reload(two)
    assert world.seen() == ["two.py", "one.py", "two.py"]
    assert two.one.__file__ in files
    ours = os.path.dirname(os.path.dirname(loading.__file__))
    assert [name for name in files if name.startswith(ours)] == []


# -- after_import ---------------------------------------------------------------------------------


def test_callbacks_come_right_after_the_module_has_run(world):
    world.write(
        "pkg/__init__.py", "order = ['package']\nfrom . import inner\norder.append('end')\n"
    )
    world.write("pkg/inner.py", "import pkg\npkg.order.append('inner')\n")
    seen = []
    with world.install(
        after_import={
            "pkg": lambda module: seen.append(("pkg", list(module.order))),
            "pkg.inner": lambda module: seen.append(
                (module.__name__, list(sys.modules["pkg"].order))
            ),
        }
    ):
        import pkg

    assert seen == [("pkg.inner", ["package", "inner"]), ("pkg", ["package", "inner", "end"])]
    assert "exec_module" not in vars(pkg.__loader__)


def test_the_loader_is_itself_again_while_the_module_runs(world, monkeypatch):
    world.write(
        "m.py",
        "import sys\nnames = sorted(vars(__loader__))\n"
        "depth = len(__import__('inspect').stack())\n",
    )
    plain = importlib.import_module("m").depth
    del sys.modules["m"]
    called = []
    with world.install(after_import={"m": called.append}):
        again = importlib.import_module("m")
    assert called == [again]
    assert "exec_module" not in again.names
    assert again.depth == plain or not NATIVE  # the Python twins have frames


def test_a_module_that_is_imported_already_is_handed_over_at_once(world):
    seen = []
    with world.install(after_import={"json": seen.append, "not_there": seen.append}):
        import json

        assert seen == [json]


def test_extension_modules_are_watched(world):
    name = next(
        n
        for n in ("_json", "_csv", "_heapq", "_bisect", "_opcode", "_xxtestfuzz", "_ctypes_test")
        if (spec := importlib.util.find_spec(n)) and type(spec.loader).__name__.startswith("Ext")
    )
    kept = sys.modules.pop(name, None)
    seen = []
    try:
        with world.install(after_import={name: seen.append}):
            assert seen == []
            module = importlib.import_module(name)
    finally:
        if kept is not None:
            sys.modules[name] = kept
    assert seen == [module]


def test_a_failing_callback_does_not_break_the_import(world):
    world.write("one.py", LOOP)

    def fail(module):
        raise ValueError("not today")

    with world.install(after_import={"one": fail}):
        import one

        assert one.run(3) == 3
    assert [(name, str(failure)) for name, failure in world.failures] == [("one", "not today")]


def test_a_module_that_fails_is_not_handed_over(world):
    world.write("one.py", "raise KeyError('mine')\n")
    seen = []
    with world.install(after_import={"one": seen.append}), pytest.raises(KeyError, match="mine"):
        import one  # noqa: F401
    assert seen == []


# -- program_code ---------------------------------------------------------------------------------


def test_the_program_reports_and_its_module_is_told_first(tmp_path):
    recorder = Recorder()
    source = b"for i in range(2):\n    out = i\n"
    for _ in range(2):  # the second time from the cache
        code = program_code(source, "train.py", "train.py", recorder, cache_dir=tmp_path)
        names = {}
        exec(code, names)
        assert names["out"] == 1
    assert code.co_filename == "train.py"
    assert recorder.events[:4] == recorder.events[4:]


def test_warnings_of_the_program_come_once_a_run_from_the_cache_too(tmp_path):
    source = b"x = 1\nfor i in range(2):\n    x is 1\n"
    for _ in range(2):
        with pytest.warns(SyntaxWarning) as caught:
            program_code(source, "train.py", "train.py", Recorder(), cache_dir=tmp_path)
        assert len(caught) == 1


def test_a_syntax_error_in_the_program_is_pythons():
    with pytest.raises(SyntaxError) as caught:
        program_code(b"x = = 1\n", "train.py", "train.py", Recorder())
    assert caught.value.filename == "train.py"
    assert caught.value.__context__ is None


def test_a_program_that_cannot_be_bound_runs_plain(capsys):
    recorder = Recorder()

    def fail(loop):
        raise RuntimeError("no site")

    recorder.site = fail
    code = program_code(b"for i in range(2):\n    out = i\n", "train.py", "train.py", recorder)
    names = {}
    exec(code, names)
    assert names["out"] == 1
    assert "train.py runs, but is not recorded: RuntimeError: no site" in capsys.readouterr().err


def test_a_failure_is_told_to_nobody_without_a_standard_error_stream(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    loading.tell("m.py", RuntimeError("x"))
