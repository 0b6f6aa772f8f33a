from __future__ import annotations

import ast
from textwrap import dedent

import pytest
from replay_helpers import enter, header, leave, loop, module, recorded, rows

from flor_trace.errors import ProbeError
from flor_trace.instrument.loops import describe, find_loops, source_lines
from flor_trace.replay.probes import parse
from flor_trace.replay.resolve import place, visible_names


def infos(source):
    found = find_loops(ast.parse(source))
    return [describe(each, "train.py", source_lines(source.encode())) for each in found]


def visible(source, index=0):
    source = dedent(source)
    return visible_names(infos(source)[index], lambda module: source)


# -- the names that a place can see --------------------------------------------------------------


def test_a_loop_of_a_module_sees_what_the_module_binds_in_any_way():
    names = visible("""
        import os, numpy as np
        from json import dumps as d
        a = b = 1
        (c, *e), f.attribute = [1, 2, 3], 4
        g: int = 5
        g += 1
        with open(os.devnull) as h: pass
        try: pass
        except OSError as i: pass
        def j(): local = 1
        class K: member = 1
        if (l := 3): pass
        for m in range(3):
            n = m
        match a:
            case [o, *p]: pass
        """)

    assert names >= set("abcdeghijlmnop") | {"os", "np", "K"}
    assert not names & {"local", "member", "attribute", "json", "dumps", "numpy"}


def test_a_loop_of_a_function_sees_its_locals_and_the_module():
    names = visible("""
        lr = 0.1
        def other(): hidden = 1
        def main(args, *rest, key=1, **more):
            model = lr
            for epoch in range(3):
                loss = undefined_anywhere
        """)

    assert names >= {"lr", "other", "main", "args", "rest", "key", "more", "model", "epoch", "loss"}
    assert not names & {"hidden", "undefined_anywhere"}


def test_a_nested_function_sees_the_names_it_uses_of_those_around_it():
    names = visible("""
        def main():
            used, unused = 1, 2
            def step():
                for batch in range(3):
                    total = used
            step()
        """)

    assert {"used", "batch", "total"} <= names
    assert "unused" not in names


def test_a_method_sees_its_parameters_and_not_its_class():
    names = visible("""
        class Trainer:
            rate = 1
            def run(self, loader):
                for batch in loader:
                    loss = self.step(batch)
        """)

    assert {"self", "loader", "batch", "loss", "Trainer"} <= names
    assert "rate" not in names


def test_a_class_body_sees_its_names():
    assert {"member", "k", "outside"} <= visible("""
        outside = 1
        class K:
            member = 1
            for k in range(3): pass
        """)


def test_a_name_that_only_a_function_makes_global_is_visible():
    names = visible("""
        def setup():
            global model
            def inner():
                global deep
                deep = 1
            model = 1
        for epoch in range(3): pass
        """)

    assert {"model", "deep"} <= names


def test_of_two_functions_with_one_name_the_one_with_the_loop_counts():
    source = """
        class Trainer:
            @property
            def rate(self):
                first = 1
                return first
            @rate.setter
            def rate(self, value):
                second = value
                for k in range(3):
                    third = second
        """

    assert {"second", "third", "value"} <= visible(source)
    assert "first" not in visible(source)


def test_a_generic_function_is_looked_into():
    try:
        compile("def f[T](x): pass", "", "exec")
    except SyntaxError:
        pytest.skip("this Python has no type parameters")
    names = visible("""
        def main[T](data: T):
            model = data
            for epoch in range(3):
                loss = model
        """)

    assert names is None or {"data", "model", "epoch", "loss"} <= names
    names = visible("""
        class A[T]:
            def run(self):
                for epoch in range(3):
                    loss = 1
        """)
    assert names is None or {"self", "epoch", "loss"} <= names


@pytest.mark.parametrize("source", ["from os import *\nfor i in x: pass\n"])
def test_what_a_star_import_brings_cannot_be_told(source):
    assert visible(source) is None


def test_a_module_that_is_not_in_the_snapshot_cannot_be_told():
    (what,) = infos("for i in x: pass\n")

    assert visible_names(what, lambda module: None) is None
    assert visible_names(what, lambda module: "x = (") is None


# -- the place ------------------------------------------------------------------------------------

SOURCE = dedent("""
    import torch
    def evaluate(model):
        for batch in range(2):
            correct = batch
        return correct
    def main(args):
        model = 1
        for file in args:
            size = file
        for epoch in range(3):
            for step in range(5):
                loss = step
            accuracy = evaluate(model)
    main([1])
    """)
BATCH, FILE, EPOCH, STEP = infos(SOURCE)


def run(*, main_seconds=10.0, file_seconds=1.0, seen=True):
    return recorded(
        header(name="base"), module(BATCH, FILE, EPOCH, STEP),
        loop(0, FILE), enter(0), rows(0, [1]), leave(0, 1, seconds=file_seconds),
        loop(1, EPOCH), enter(1), loop(2, STEP), loop(3, BATCH),
        *([rows(2, [0, 1], outer=[[1, 0, 0]]), rows(3, [0], outer=[[1, 0, 0]])] if seen else []),
        rows(1, [0]), leave(1, 1, seconds=main_seconds),
    )  # fmt: skip


def found(text, at=None, the_run=None, probe_file=None):
    probe = parse(text, at=at, probe_file=probe_file)
    where = place(probe, the_run or run(), lambda module: SOURCE)
    return where.loop.dimension, where.stage.loop.dimension, where.inner


def test_an_expression_is_asked_in_the_main_loop():
    assert found("x=model + accuracy") == ("epoch", "epoch", False)
    assert found("x=size", the_run=run(file_seconds=99)) == ("file", "file", False)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("epoch", ("epoch", "epoch", False)),
        ("file", ("file", "file", False)),
        ("step", ("step", "epoch", True)),
    ],
)
def test_a_dimension_is_where_it_says(at, expected):
    assert found("x=args", at=at) == expected


def test_a_variable_is_asked_where_it_is_stored():
    assert found("accuracy") == ("epoch", "epoch", False)
    assert found("loss") == ("step", "epoch", True)
    assert found("correct") == ("batch", "epoch", True)
    assert found("size") == ("file", "file", False)


def test_a_variable_that_no_loop_stores_is_asked_in_the_main_loop():
    assert found("model") == ("epoch", "epoch", False)
    assert found("torch") == ("epoch", "epoch", False)


def test_a_variable_of_several_loops_is_asked_in_the_main_one_else_in_that_with_most_rows():
    source = dedent("""
        for a in range(2):
            x = y = a
        for b in range(9):
            for c in range(2):
                y = c
            x = b
        """)
    a, b, c = infos(source)
    both = recorded(
        header(), module(a, b, c), loop(0, a), enter(0), rows(0, [0, 1]), leave(0, 2),
        loop(1, b), enter(1), loop(2, c), *(rows(2, [0, 1], outer=[[1, k, k]]) for k in range(9)),
        rows(1, range(9)), leave(1, 9, seconds=9.0),
    )  # fmt: skip

    for name, expected in (("x", "b"), ("y", "c")):
        where = place(parse(name), both, lambda module: source)
        assert where.loop.dimension == expected


def test_a_place_says_where_it_is():
    text = str(place(parse("x=model", at="step"), run(), lambda module: SOURCE))

    assert text == f"the end of an iteration of `{STEP.header}` in main (train.py:{STEP.span[0]})"


def test_names_that_are_not_visible_are_named_with_near_ones():
    with pytest.raises(ProbeError) as caught:
        found("x=modle + acuracy + torch + nothing_like_it")

    message = str(caught.value)
    assert "'modle' (near: model)" in message
    assert "'acuracy' (near: accuracy)" in message
    assert "'nothing_like_it'," in message
    assert "torch'" not in message
    assert "run base" in message


def test_names_of_another_function_are_not_visible():
    with pytest.raises(ProbeError, match="'correct'"):
        found("x=correct")


def test_a_parameter_of_a_probe_function_must_be_visible(tmp_path):
    file = tmp_path / "probes.py"
    file.write_text("def norm(model, p=2): ...\ndef off(modle): ...\n")

    assert found("norm", probe_file=file) == ("epoch", "epoch", False)
    with pytest.raises(ProbeError, match="'modle' \\(near: model"):
        found("off", probe_file=file)


def test_an_unknown_dimension_is_answered_with_a_near_one_or_all():
    with pytest.raises(ProbeError, match="did you mean 'epoch'"):
        found("model", at="epochs")
    with pytest.raises(ProbeError, match="it has batch, epoch, file, step"):
        found("model", at="zzz")


def test_an_unknown_variable_is_answered_with_near_ones_and_other_ways():
    with pytest.raises(ProbeError) as caught:
        found("acuracy")

    assert "near names: accuracy" in str(caught.value)
    assert "acuracy=EXPRESSION" in str(caught.value)


def test_a_run_without_loops_cannot_be_asked():
    with pytest.raises(ProbeError, match="no loop that was watched"):
        place(parse("x"), recorded(header()), lambda module: SOURCE)


def test_a_dimension_that_was_never_watched_is_looked_for_in_the_main_loop():
    """It was too tight to be recorded; a replay can step through it all the same."""
    quiet = recorded(
        header(), module(BATCH, FILE, EPOCH, STEP), loop(1, EPOCH), enter(1), rows(1, [0]),
        leave(1, 1),
    )  # fmt: skip

    assert found("x=loss", at="step", the_run=quiet) == ("step", "epoch", True)


def test_the_start_of_an_inner_iteration_is_refused_and_not_silently_left_out():
    with pytest.raises(ProbeError, match="start"):
        found("x=model", at="step:start")
