from __future__ import annotations

import sys

import pytest

from flor_trace.errors import ProbeError
from flor_trace.replay.probes import Probe, Question, names_needed, parse


@pytest.fixture
def probe_file(tmp_path):
    file = tmp_path / "probes.py"
    file.write_text("def norm(model, p=2, *, eps=0.0):\n    return (model, p, eps)\n")
    return file


@pytest.mark.parametrize(
    ("text", "name", "kind", "body"),
    [
        ("loss", "loss", "variable", "loss"),
        (" loss ", "loss", "variable", "loss"),
        ("n=len(x)", "n", "expression", "len(x)"),
        ("n = len(x) ", "n", "expression", "len(x)"),
        ("flag=a==b", "flag", "expression", "a==b"),
        ("d={'a': 1}['a']", "d", "expression", "{'a': 1}['a']"),
        ("f=(lambda a=1: a)()", "f", "expression", "(lambda a=1: a)()"),
        ("größe=x", "größe", "expression", "x"),
    ],
)
def test_a_probe_is_read(text, name, kind, body):
    probe = parse(text)

    assert (probe.name, probe.kind, probe.text) == (name, kind, body)
    assert (probe.at, probe.start, probe.path) == (None, False, None)


@pytest.mark.parametrize("text", ["", "a.b", "a==b", "len(x)", "a b", "1x=2", "a<=3", "x[0]=1"])
def test_what_is_neither_a_name_nor_a_definition_is_explained(text):
    with pytest.raises(ProbeError, match=r"write NAME=EXPRESSION"):
        parse(text)


@pytest.mark.parametrize("text", ["x=", "x=a b", "x=1 +", "x=(", "x=a = b", "x=for"])
def test_a_syntax_error_is_shown_with_its_place(text):
    with pytest.raises(ProbeError, match="not an expression") as caught:
        parse(text)

    _, line, caret = str(caught.value).split("\n")
    assert line.strip() == text[2:].strip()
    assert caret.strip() == "^"


@pytest.mark.parametrize(
    "text", ["x=(yield 1)", "x=(await f())", "x=*a", "x=a\0b", "x=f(a=1, a=2)"]
)
def test_what_only_the_compiler_refuses_is_a_syntax_error_too(text):
    with pytest.raises(ProbeError, match="not an expression"):
        parse(text)


@pytest.mark.parametrize(
    ("at", "dimension", "start"),
    [("epoch", "epoch", False), ("epoch:end", "epoch", False), ("epoch:start", "epoch", True)],
)
def test_the_place_is_a_dimension_and_perhaps_start_or_end(at, dimension, start):
    probe = parse("loss", at=at)

    assert (probe.at, probe.start) == (dimension, start)


@pytest.mark.parametrize("at", ["", ":start", "epoch:middle", "epoch:start:end"])
def test_a_place_that_cannot_be_read_is_explained(at):
    with pytest.raises(ProbeError, match="DIMENSION:start"):
        parse("loss", at=at)


def test_a_name_of_a_probe_file_is_its_function_and_others_are_variables(probe_file):
    assert parse("norm", probe_file=probe_file).kind == "function"
    assert parse("loss", probe_file=probe_file).kind == "variable"
    assert parse("norm=1", probe_file=probe_file).kind == "expression"


@pytest.mark.parametrize("text", ["def f(:\n", "x = \n"])
def test_a_probe_file_with_a_syntax_error_is_shown(tmp_path, text):
    file = tmp_path / "probes.py"
    file.write_text(text)

    with pytest.raises(ProbeError, match="syntax error in line 1"):
        parse("f", probe_file=file)


def test_a_probe_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ProbeError, match="nowhere"):
        parse("f", probe_file=tmp_path / "nowhere.py")


def test_equal_probes_have_one_identity_wherever_their_file_lies(probe_file, tmp_path):
    other = tmp_path / "other.py"
    other.write_text(probe_file.read_text())
    one, two = (parse("norm", probe_file=file) for file in (probe_file, other))

    assert one.identity == two.identity
    assert one.identity != parse("norm", probe_file=probe_file, at="epoch").identity
    assert parse("x=1").identity != parse("x=2").identity


# -- the names a probe needs ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("a + b * a", ("a", "b")),
        ("len(x)", ("x",)),
        ("model.fc.weight", ("model",)),
        ("[y * k for y in ys]", ("ys", "k")),
        ("{y: z for y, z in pairs if y in known}", ("pairs", "known")),
        ("sum(y for y in ys)", ("ys",)),
        ("[[c for c in row] for row in rows]", ("rows",)),
        ("(lambda a, b=d: a + b + c)(1)", ("d", "c")),
        ("(y := loss) + y", ("loss",)),
        ("[y := x for x in xs][-1] + y", ("xs",)),
        ("(lambda: (z := q))()", ("q",)),
        ("f'{loss:.2f} {name}'", ("loss", "name")),
        ("1", ()),
    ],
)
def test_an_expression_needs_what_it_reads_from_outside(text, needed):
    assert set(names_needed(Probe("p", "expression", text))) == set(needed)


def test_a_variable_needs_itself():
    assert names_needed(Probe("max", "variable", "max")) == ("max",)


@pytest.mark.parametrize(
    ("signature", "needed"),
    [
        ("model, x", ("model", "x")),
        ("model, p=2", ("model",)),
        ("a, /, b, *, c, d=1", ("a", "b", "c")),
        ("a, *rest, b, **more", ("a", "b")),
        ("", ()),
    ],
)
def test_a_function_needs_its_parameters_without_defaults(signature, needed):
    source = f"import os\ndef f({signature}):\n    return 1\n"

    assert names_needed(Probe("f", "function", source)) == needed


# -- asking --------------------------------------------------------------------------------------


def ask(text, local_names=None, global_names=None):
    return Question(Probe("p", "expression", text)).ask(local_names or {}, global_names or {})


def test_locals_are_seen_before_globals_before_builtins():
    assert ask("(a, b)", {"a": 1}, {"a": 2, "b": 3}) == (1, 3)
    assert ask("len(x)", {"x": [1, 2]}) == 2
    assert ask("max(x)", {"x": [1, 2]}, {"max": min}) == 1


@pytest.mark.parametrize("name", ["input", "id", "max", "type", "hash", "iter"])
def test_a_variable_called_like_a_builtin_is_the_variable(name):
    assert ask(f"{name} + 1", {name: 41}) == 42
    assert ask(f"[{name} + k for k in (1,)]", {name: 41}) == [42]


def test_comprehensions_and_lambdas_see_the_locals():
    names = {"xs": [1, 2], "k": 10}

    assert ask("[x * k for x in xs]", names) == [10, 20]
    assert ask("{x: k for x in xs}", names) == {1: 10, 2: 10}
    assert ask("list(map(lambda x: x + k, xs))", names) == [11, 12]
    assert ask("[(x, y) for x in xs for y in xs if x < k]", names)[-1] == (2, 2)


def test_a_name_given_in_the_probe_is_its_own():
    assert ask("(y := loss) + y", {"loss": 2}) == 4
    assert ask("(y := loss) + y", {"loss": 2, "y": 50}) == 4
    assert ask("[y := x for x in xs] and y", {"xs": [1, 2]}, {}) == 2


def test_the_programs_names_are_not_assigned():
    local_names, global_names = {"y": 1, "xs": [5]}, {"z": 2}

    ask("(y := 3) + (z := 4) + [w := x for x in xs][0]", local_names, global_names)

    assert (local_names["y"], global_names["z"]) == (1, 2)
    assert "w" not in global_names


def test_the_same_question_can_be_asked_where_other_names_are_bound():
    question = Question(Probe("p", "expression", "x + 1"))

    assert question.ask({"x": 1}, {"x": 10}) == 2
    assert question.ask({}, {"x": 10}) == 11
    assert question.ask({"x": 5}, {}) == 6


def test_an_error_of_the_probe_is_the_probes():
    with pytest.raises(ZeroDivisionError):
        ask("x / 0", {"x": 1})
    with pytest.raises(NameError, match="'y'"):
        ask("y", {})


def test_a_variable_is_asked_by_its_name():
    question = Question(Probe("input", "variable", "input"))

    assert question.ask({"input": 3}, {}) == 3


def test_a_class_private_name_is_asked_for_as_the_program_has_it():
    assert ask("_A__x", {"_A__x": 1}) == 1


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("model, loss", "model, loss"),
        ("model, p=2", "model, p"),
        ("model, lr=2", "model, lr"),
        ("model, /, lr", "model, lr"),
        ("model, *, lr, p=3", "model, lr, p"),
        ("model, *rest, lr, **more", "model, rest, lr, more"),
    ],
)
def test_a_function_is_given_the_programs_names(signature, expected):
    source = f"def f({signature}):\n    return ({expected},)\n"
    local_names, global_names = {"model": "m", "loss": 1}, {"loss": 2, "lr": 0.1}
    held = {"model": "m", "loss": 1, "lr": 0.1, "p": 3 if "p=3" in signature else 2,
            "rest": (), "more": {}}  # fmt: skip

    got = Question(Probe("f", "function", source)).ask(local_names, global_names)

    assert got == tuple(held[name] for name in expected.split(", "))


def test_a_function_uses_what_its_file_imports_and_defines():
    source = (
        "import math\nK = 3\ndef helper(x):\n    return x * K\n"
        "def f(x):\n    return math.sqrt(helper(x))\n"
    )

    assert Question(Probe("f", "function", source)).ask({"x": 12}, {"K": 99}) == 6.0


def test_a_parameter_that_the_program_does_not_have_is_named():
    question = Question(Probe("f", "function", "def f(model):\n    return model\n"))

    with pytest.raises(NameError, match="'model' is not defined at this place"):
        question.ask({}, {})


def test_asking_leaves_no_trace_in_the_modules_of_the_process():
    before = set(sys.modules)
    Question(Probe("f", "function", "def f():\n    return 1\n")).ask({}, {})

    assert set(sys.modules) == before
