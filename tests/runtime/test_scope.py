from __future__ import annotations

import sys
from types import ModuleType

import pytest

from flor_trace import _speedups
from flor_trace._speedups import frames
from flor_trace.runtime.scope import Modules, cells_of, local_names, roots

HERE = frozenset({__file__})
native_cells = pytest.mark.skipif(not _speedups.NATIVE, reason="cells are seen by the C twin only")


def is_test(name):
    return ":test_" in name and "<locals>" not in name


def seen(modules=None):
    """The roots that the caller's frame can see, without those of pytest and of generators."""
    stack = [frame for frame in frames(HERE) if frame[0].co_name != "seen"]
    return {
        name: value
        for name, value in roots(stack, modules or {}).items()
        if not name.startswith("rng:") and not is_test(name)
    }


def test_the_locals_of_the_innermost_frame_are_all_roots():
    def train():
        lr, model, history, name = 0.1, object(), [], "x"
        return seen(), model, history, (lr, name)

    found, model, history, _ = train()

    assert found == {
        "local:lr": 0.1,
        "local:model": model,
        "local:history": history,
        "local:name": "x",
    }


def test_code_is_no_state():
    def train():
        import math

        def helper():
            return 1

        kind, builtin, value = dict, len, 1
        return seen(), (math, helper, kind, builtin, value)

    found, _ = train()

    assert set(found) == {"local:value"}


def test_a_closure_is_state():
    def train():
        count = [0]

        def bump():
            count[0] += 1

        return seen(), bump

    found, bump = train()

    assert found["local:bump"] is bump
    assert "local:count" in found


def inner_step(batch):
    return seen()


def outer_train():
    optimizer, epoch, lr = object(), 3, 0.1
    return inner_step([1]), optimizer, (epoch, lr)


def test_callers_give_what_can_be_changed_and_no_atoms():
    found, optimizer, _ = outer_train()

    callers = {name: value for name, value in found.items() if name.startswith("caller:")}
    ((name, value),) = callers.items()
    assert name.split(":")[0] == "caller"
    assert name.endswith(":outer_train:optimizer")
    assert value is optimizer
    assert found["local:batch"] == [1]


def test_callers_are_counted_from_the_outermost():
    def a():
        first = []
        return b(), first

    def b():
        second = []
        return seen(), second

    found = a()[0][0]

    depths = {name.split(":")[2].rpartition(".")[2]: int(name.split(":")[1])
              for name in found if name.startswith("caller:")}  # fmt: skip
    assert list(depths) == ["a"]
    assert [name for name in found if name.startswith("local:")] == ["local:second"]


@native_cells
def test_a_callers_atom_in_a_cell_is_state():
    def train():
        best, steps = 0.5, 7

        def step():
            nonlocal best
            best += 0.25
            return seen(), list(cells_of(frames(HERE)))

        return step(), steps

    (found, cells), _ = train()

    names = {name.rpartition(":")[2]: value for name, value in found.items()}
    assert names["best"] == 0.75
    assert "steps" not in names
    assert ("local:best", 0.75) in [(name, cell.cell_contents) for name, cell in cells]


@native_cells
def test_every_cell_that_is_listed_belongs_to_a_root():
    def train():
        held, kept = [1], 2

        def step(batch):
            return seen(), dict(cells_of(frames(HERE))), (held, batch, kept)

        return step(3)

    found, cells, _ = train()

    assert {"held", "kept"} <= {name.rpartition(":")[2] for name in cells}
    for name, cell in cells.items():
        if name in found:
            assert found[name] is cell.cell_contents


class Trainer:
    def __init__(self):
        self.step = 0

    def run(self, loader):
        return seen()


def test_a_method_sees_its_object():
    trainer = Trainer()

    found = trainer.run([1, 2])

    assert found["local:self"] is trainer
    assert found["local:loader"] == [1, 2]


def test_a_modules_names_are_globals_and_no_locals():
    namespace = {"seen": None, "frames": frames, "roots": roots}
    source = (
        "lr = 0.1\nstate = [1]\n__private = 2\n"
        "result = roots(frames({'<m>'}), {'m.py': globals()})\n"
    )
    exec(compile(source, "<m>", "exec"), namespace)

    found = {k: v for k, v in namespace["result"].items() if not k.startswith("rng:")}

    assert found == {"global:m.py:lr": 0.1, "global:m.py:state": [1], "global:m.py:seen": None}


def test_a_class_body_has_locals():
    namespace = {"frames": frames, "roots": roots}
    source = "class C:\n    x = [1]\n    result = roots(frames({'<m>'}), {})\n"
    exec(compile(source, "<m>", "exec"), namespace)

    assert namespace["C"].result["local:x"] == [1]


def test_the_generators_of_the_process_are_roots():
    def train():
        return roots(frames(HERE)[:1], {})

    assert "rng:random" in train()


def test_local_names_of_a_module_are_none():
    code = compile("", "<m>", "exec")

    assert local_names((code, {}, {"x": 1}, {})) == {}


# -- modules -------------------------------------------------------------------------------------


def module(name, file):
    made = ModuleType(name)
    made.__file__ = file
    return made


def test_namespaces_are_those_of_the_projects_modules_in_a_fixed_order(monkeypatch):
    modules = Modules()
    for name in ("zeta", "alpha"):
        monkeypatch.setitem(sys.modules, name, module(name, f"/project/{name}.py"))
    modules.add("/project/zeta.py", "zeta.py")
    modules.add("/project/alpha.py", "alpha.py")

    found = modules.namespaces()

    assert list(found) == ["alpha.py", "zeta.py"]
    assert found["zeta.py"] is sys.modules["zeta"].__dict__
    assert modules.filenames == {"/project/alpha.py", "/project/zeta.py"}


def test_a_module_that_is_imported_later_is_found(monkeypatch):
    modules = Modules()
    modules.add("/project/late.py", "late.py")
    assert modules.namespaces() == {}

    monkeypatch.setitem(sys.modules, "late", module("late", "/project/late.py"))

    assert list(modules.namespaces()) == ["late.py"]


def test_the_main_program_is_given_and_not_looked_for():
    modules, names = Modules(), {"x": 1}
    modules.add("<string>", "-c", names)

    assert modules.namespaces()["-c"] is names


def test_things_in_sys_modules_that_are_no_modules_do_no_harm(monkeypatch):
    class Lazy:
        def __getattr__(self, name):
            raise AssertionError(name)

    monkeypatch.setitem(sys.modules, "strange", Lazy())
    monkeypatch.setitem(sys.modules, "none", None)
    modules = Modules()
    modules.add("/project/a.py", "a.py", {})

    assert list(modules.namespaces()) == ["a.py"]


def test_a_lazy_module_is_not_loaded_by_looking_for_the_programs(tmp_path, monkeypatch):
    import importlib.util

    (tmp_path / "lazy_one.py").write_text("loaded = True\n")
    spec = importlib.util.spec_from_file_location("lazy_one", tmp_path / "lazy_one.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "lazy_one", module)
    spec.loader.exec_module(module)

    Modules().namespaces()

    assert "loaded" not in object.__getattribute__(module, "__dict__")
    assert module.loaded


CODE = """
class Bare:
    def step(self): pass

class Holding(Bare):
    made = 0

class Gathering:
    def step(self, x, seen=[]): seen.append(x)

class Below(Holding):
    pass

def plain(x, y=1, *, z=None, how=print): pass
def keeping(x, seen=[]): pass
def counting(x): pass
counting.calls = 3
"""


def test_classes_and_functions_that_hold_something_are_roots(tmp_path):
    (tmp_path / "holds.py").write_text(CODE)
    sys.path.insert(0, str(tmp_path))
    try:
        import holds

        file = holds.__file__
        modules = {"holds.py": vars(holds)}
        mine = {n for n in roots([_NOTHING], modules, frozenset({file})) if n.startswith("global")}
        other = {n for n in roots([_NOTHING], modules, frozenset()) if n.startswith("global")}
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("holds", None)

    names = {"Holding", "Gathering", "Below", "keeping", "counting"}
    assert mine == {f"global:holds.py:{name}" for name in names}
    assert other == set(), "what a library's classes hold is its own matter"


_NOTHING = (compile("", "", "exec"), {}, {}, {})
