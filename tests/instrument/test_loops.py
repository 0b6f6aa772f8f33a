from __future__ import annotations

import ast
import symtable
import sys

import pytest
from instrument_stdlib import SAMPLE, codes

from flor_trace.instrument.loops import describe, find_loops, source_lines


def infos(source):
    lines = source_lines(source.encode())
    return [describe(loop, "m.py", lines) for loop in find_loops(ast.parse(source))]


DIMENSIONS = {
    "for epoch in range(3):\n    pass\n": "epoch",
    "for i, batch in enumerate(x):\n    pass\n": "i",
    "for batch_idx, (data, target) in enumerate(loader):\n    pass\n": "batch_idx",
    "for (a, b), c in x:\n    pass\n": "a",
    "for first, *rest in x:\n    pass\n": "first",
    "for _, batch in enumerate(x):\n    pass\n": "batch",
    "for _ in range(3):\n    pass\n": "loop@1",
    "for __ in range(3):\n    pass\n": "loop@1",
    "for self.x in y:\n    pass\n": "loop@1",
    "\nwhile True:\n    pass\n": "loop@2",
    "while k < 3:\n    k += 1\n": "k",
    "while k < 3:\n    total += 1\n    k += 1\n": "k",
    "while True:\n    loss = loss + l\n    step += 1\n": "step",
    "while True:\n    step = step + 1\n": "step",
    "while self.step < n:\n    self.step += 1\n": "step",
    "while n > 0:\n    n -= 1\n": "n",
    "while True:\n    name += 'x'\n": "loop@1",
    "while True:\n    if x:\n        k += 1\n": "loop@1",
}


@pytest.mark.parametrize("source", DIMENSIONS)
def test_the_dimension_is_the_target_or_the_counter(source):
    assert infos(source)[0].dimension == DIMENSIONS[source]


STORES = {
    "for i in x:\n    a = b.c = d[0] = 1\n": "i a",
    "for i in x:\n    a += 1\n    b: int = 2\n    c: int\n": "i a b",
    "for i in x:\n    (a, [b, *c]) = y\n": "i a b c",
    "for i in (w := y):\n    print(z := 1, [q := 2 for _ in y])\n": "i z q",
    "for i in x:\n    f = lambda: (w := 1)\n": "i f",
    "while (k := f()):\n    pass\n": "k",
    "for i in x:\n    with a as (b, c), d as e:\n        f = 1\n": "i b c e f",
    "for i in x:\n    try:\n        a = 1\n    except E as b:\n        c = 1\n    else:\n"
    "        d = 1\n"
    "    finally:\n        e = 1\n": "i b a c d e",
    "for i in x:\n    import a.b, c as d\n    from e import f, g as h, i as j\n": "i a d f h j",
    "for i in x:\n    def f(p):\n        q = 1\n    class C:\n        r = 1\n": "i f C",
    "for i in x:\n    match y:\n        case [a, *b] | {'k': c, **d} if (e := 1):\n"
    "            f = 1\n"
    "        case C(g) as h:\n            pass\n": "i a b c d g h e f",
    "for i in x:\n    del a, (b, c)\n": "i a b c",
    "for i in x:\n    if a:\n        b = 1\n    elif c:\n        d = 1\n    else:\n"
    "        e = 1\n": "i b d e",
    "for i in x:\n    global g\n    g = 1\n": "i g",
    "async def f():\n    for i in x:\n        async for j in y:\n            k = 1\n"
    "        async with z as w:\n"
    "            pass\n": "i j k w",
    "class A:\n    def f(self):\n        for __i in x:\n            __j = 1\n": "_A__i _A__j",
    "for i in x:\n    a = 1\nelse:\n    b = 1\n": "i a",
}


@pytest.mark.parametrize("source", STORES)
def test_a_loop_stores_what_its_target_and_body_bind(source):
    assert set(infos(source)[0].stores) == set(STORES[source].split())


def test_own_stores_leave_out_what_nested_loops_bind():
    source = (
        "for i in x:\n    a = 1\n    for j in y:\n        b = 1\n    else:\n        c = 1\n"
        "    while d:\n        e = 1\n"
    )
    outer, middle, last = infos(source)
    assert outer.stores == ("i", "a", "j", "b", "c", "e")
    assert outer.own_stores == ("i", "a", "c")
    assert middle.own_stores == ("j", "b")
    assert last.own_stores == ("e",)


def test_loops_are_numbered_per_code_object_in_source_order():
    source = (
        "for a in x: pass\n"
        "def f():\n    while b: pass\n    class C:\n        for c in x: pass\n"
        "        def g(self):\n            for d in x: pass\n"
        "            global h\n            def h():\n                for e in x: pass\n"
        "    for f in x: pass\n"
        "while g: pass\n"
    )
    assert [loop.key for loop in infos(source)] == [
        "m.py:<module>:0",
        "m.py:f:0",
        "m.py:f.<locals>.C:0",
        "m.py:f.<locals>.C.g:0",
        "m.py:h:0",
        "m.py:f:1",
        "m.py:<module>:1",
    ]


def test_a_function_defined_twice_keeps_its_loop_keys_apart():
    source = (
        "if x:\n    def f():\n        for a in y: pass\nelse:\n    def f():\n"
        "        for b in y: pass\n"
    )
    assert [loop.key for loop in infos(source)] == ["m.py:f:0", "m.py:f:1"]


def test_span_header_kind_and_targets_are_those_of_the_source():
    source = "if 1:\n    for i, (a,\n            b) in x:  # all\n        pass\n"
    (loop,) = infos(source)
    assert loop.span == (2, 4, 4, 12)
    assert loop.header == "for i, (a,"
    assert (loop.kind, loop.targets) == ("for", ("i", "a", "b"))


def test_a_form_feed_does_not_shift_the_header_lines():
    assert infos("x = 1\x0c\ny = 2\nwhile y: break\n")[0].header == "while y: break"


def test_a_thousand_elifs_are_walked():
    branches = "".join(f"elif x == {k}:\n    for i in y: pass\n" for k in range(150))
    assert len(infos(f"if x:\n    pass\n{branches}")) == 150


def functions(table):
    for child in table.get_children():
        if child.get_type() == "function":
            yield child
        yield from functions(child)


@pytest.mark.parametrize("path", SAMPLE, ids=lambda path: path.name)
def test_names_agree_with_the_compiler_on_the_standard_library(path):
    source = path.read_bytes()
    loops = find_loops(ast.parse(source))
    known = {(c.co_qualname, c.co_firstlineno) for c in codes(compile(source, path, "exec"))}
    assert {(loop.scope.qualname, loop.scope.line) for loop in loops} <= known


@pytest.mark.parametrize("path", SAMPLE[::4], ids=lambda path: path.name)
def test_assignable_names_are_exactly_the_locals_the_compiler_knows(path):
    text = path.read_text(encoding="utf-8")
    local = {}
    for table in functions(symtable.symtable(text, str(path), "exec")):
        names = {
            s.get_name()
            for s in table.get_symbols()
            if s.is_local() and (s.is_assigned() or s.is_imported())
        }
        names |= set(table.get_parameters())
        local.setdefault(table.get_name(), []).append(names)
    for loop in find_loops(ast.parse(text)):
        if loop.scope.kind == "function":
            ours = set(loop.scope.assignable())
            assert any(ours <= names for names in local[loop.scope.qualname.split(".")[-1]]), loop


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters came with 3.12")
def test_generic_functions_and_type_aliases_keep_their_names():
    source = "class A[T]:\n    def f[U](self):\n        for i in x:\n            type V = int\n"
    (loop,) = infos(source)
    assert (loop.qualname, loop.stores) == ("A.f", ("i", "V"))
