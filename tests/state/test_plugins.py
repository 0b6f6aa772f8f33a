"""Codecs of other packages are found, used for their library alone, and never disturb a program."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

from flor_trace.errors import RestoreError
from flor_trace.state.codecs import plugins, registry
from flor_trace.state.codecs.plugins import PLUGINS, Plugins, offers

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "codecs.md"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a distribution that offers codecs; all is forgotten after the test."""
    tables = {name: dict(getattr(registry, name)) for name in ("_by_kind", "_exact", "_bases")}
    loaded, own = set(registry._loaded), set()
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(entries, **modules):
        own.update(modules)
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
        info = tmp_path / "offered-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Name: offered\nVersion: 1.0\n")
        lines = "\n".join(f"{name} = {target}" for name, target in entries.items())
        text = f"[console_scripts]\nx = y:z\n\n[flor_trace.codecs]\n{lines}\n\n[other]\na = b:c\n"
        (info / "entry_points.txt").write_text(text)
        importlib.invalidate_caches()
        fresh = Plugins()
        monkeypatch.setattr(registry, "PLUGINS", fresh)
        return fresh

    yield run
    for name, table in tables.items():
        getattr(registry, name).clear()
        getattr(registry, name).update(table)
    registry._plans.clear()
    registry._loaded.clear()
    registry._loaded.update(loaded)
    for name in own:
        sys.modules.pop(name, None)


def example():
    blocks = re.findall(r"```python (\w+)\.py\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return dict(blocks)


def test_the_example_of_the_documentation_works(install, save, digest_of):
    install({"tally": "tally_codecs:CODECS"}, **example())
    assert save({"x": [1]}).captured.opaque == []
    assert "tally_codecs" not in sys.modules
    tally = importlib.import_module("tally")
    recorded = tally.Tally()
    recorded.add(1)
    recorded.add([2])
    saved = save({"x": recorded})
    assert saved.captured.opaque == []
    assert "tally_codecs" in sys.modules
    recorded.add(3)
    assert digest_of({"x": recorded}) != saved.digests
    for live in (recorded, tally.Tally(), None):
        made = saved.restore({"x": live})
        assert made["x"].numbers() == [1, [2]]
        assert live is None or made["x"] is live
        assert digest_of(made) == saved.digests


def test_without_the_codecs_the_example_is_opaque(save, install):
    install({}, **example())
    recorded = importlib.import_module("tally").Tally()
    assert len(save({"x": recorded}).captured.opaque) == 1


BROKEN = {
    "does not import": ("raise OSError('no licence')", "OSError: no licence"),
    "has no such name": ("", "AttributeError"),
    "raises when called": ("def CODECS():\n    raise KeyError('k')", "KeyError: 'k'"),
    "is no tuple": ("CODECS = 5", "TypeError"),
    "holds no codecs": ("CODECS = (5,)", "TypeError: 5 is not"),
    "exits": ("import nothing_of_this_name", "ModuleNotFoundError"),
}
CODEC = """
from flor_trace.state.codecs.base import Codec
from flor_trace.state.graph import Node
from tally import Tally
class C(Codec):
    {body}
CODECS = (C(),)
"""
BROKEN |= {
    "has no kind": (CODEC.format(body="exact = (Tally,)"), "has no kind"),
    "has no type": (CODEC.format(body="kind = 'c'"), "not for any type"),
    "takes a type of ours": (
        CODEC.format(body="kind, exact = 'c', (dict,)"),
        "builtins:dict has a codec already",
    ),
    "takes all types": (
        CODEC.format(body="kind, bases = 'c', (object,)"),
        "builtins:object has a codec already",
    ),
    "takes a kind of ours": (
        CODEC.format(body="kind, exact = 'tensor' if False else 'dict', (Tally,)"),
        "there is a codec of the kind 'dict' already",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_codecs_that_cannot_be_had_are_named_once_and_the_rest_goes_on(install, save, name):
    text, why = BROKEN[name]
    found = install({"tally": "bad:CODECS"}, bad=text, **example())
    tally = importlib.import_module("tally")
    for _ in range(2):
        assert len(save({"x": tally.Tally(), "y": {"a": [1]}}).captured.opaque) == 1
    (problem,) = found.take_problems()
    assert problem[0] == "codecs of bad:CODECS for tally"
    assert why in problem[1]
    assert found.take_problems() == []


FAULTY = {
    "raises": ("raise ZeroDivisionError('oh')", "ZeroDivisionError: oh"),
    "gives nothing": ("return None", "a NoneType instead of a node"),
    "gives another kind": ("return Node('dict', plan.type_name)", "not its own"),
    "gives objects as payload": ("return Node('c', plan.type_name, [obj])", "payload"),
    "gives objects as children": (
        "return Node('c', plan.type_name, None, [obj])",
        "children that `walk.ref` did not make",
    ),
    "gives another type": ("return Node('c', 'builtins:int')", "another type's name"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_codec_that_fails_makes_its_object_opaque(install, save, name):
    statement, why = FAULTY[name]
    body = (
        f"kind, exact = 'c', (Tally,)\n    def capture(self, walk, obj, plan):\n        {statement}"
    )
    install({"tally": "bad:CODECS"}, bad=CODEC.format(body=body), **example())
    recorded = importlib.import_module("tally").Tally()
    (path,) = save({"x": [recorded]}).captured.opaque
    assert path.startswith("x[0] (bad.C ")
    assert why in path


def test_a_codec_that_fails_to_restore_is_named_with_the_place(install, save):
    body = (
        "kind, exact = 'c', (Tally,)\n"
        "    def capture(self, walk, obj, plan):\n        return Node('c', plan.type_name)\n"
        "    def accepts(self, node, obj):\n        raise OSError\n"
        "    def make(self, build, node):\n        raise ZeroDivisionError('oh')"
    )
    install({"tally": "bad:CODECS"}, bad=CODEC.format(body=body), **example())
    saved = save({"x": [importlib.import_module("tally").Tally()]})
    assert saved.captured.opaque == []
    with pytest.raises(RestoreError, match=r"x\[0\] \(bad.C failed: ZeroDivisionError: oh\)"):
        saved.restore({})


def test_entry_points_are_read_without_running_anything(tmp_path):
    (tmp_path / "a-1.dist-info").mkdir()
    (tmp_path / "b-1.egg-info").mkdir()
    (tmp_path / "c-1.dist-info").mkdir()
    text = "[flor_trace.codecs]\n# none = a:b\nlib.part = mod.sub:X.y [extra]\n[x]\nlib = a:b\n"
    (tmp_path / "a-1.dist-info" / "entry_points.txt").write_text(text)
    (tmp_path / "b-1.egg-info" / "entry_points.txt").write_bytes(b"\xff\xfe")
    assert list(offers([str(tmp_path), str(tmp_path / "missing")])) == [("lib.part", "mod.sub:X.y")]


def test_a_library_in_the_middle_of_its_import_has_to_wait(install, monkeypatch):
    found = install({"tally": "tally_codecs:CODECS"}, **example())
    tally = importlib.import_module("tally")
    monkeypatch.setattr(tally.__spec__, "_initializing", True, raising=False)
    assert list(found.due()) == []
    monkeypatch.setattr(tally.__spec__, "_initializing", False)
    assert [what for what, _ in found.due()] == ["codecs of tally_codecs:CODECS for tally"]


def test_the_checkpoints_and_the_registry_share_one_list_of_problems():
    from flor_trace.runtime import checkpoints

    assert checkpoints.PLUGINS is PLUGINS is plugins.PLUGINS
