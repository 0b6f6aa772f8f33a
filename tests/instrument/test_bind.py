from __future__ import annotations

import pickle

from instrument_recorder import Recorder, compiled
from instrument_stdlib import codes

from flor_trace.instrument.bind import Origin, bind, pristine
from flor_trace.instrument.compile import compile_module

SOURCE = '''
"""Doc."""
def outer(n):
    """Also."""
    def inner():
        while n:
            return n
    get = lambda: [x for x in range(3)]
    for i in range(n):
        get()
    return inner
class C:
    def method(self):
        for i in ():
            pass
for k in range(2):
    pass
'''


def test_every_instrumented_code_object_leads_back_to_the_original():
    code, _ = compiled(SOURCE, Recorder())
    plain = compile(SOURCE, "<program>", "exec", dont_inherit=True)
    by_name = {(c.co_qualname, c.co_firstlineno): c for c in codes(plain)}
    instrumented = [c for c in codes(code) if pristine(c) is not c]
    assert {c.co_qualname for c in instrumented} == {
        "<module>",
        "outer",
        "outer.<locals>.inner",
        "C",
        "C.method",
    }
    for one in instrumented:
        assert pristine(one) == by_name[one.co_qualname, one.co_firstlineno]


def test_the_original_is_the_same_object_every_time():
    code, _ = compiled(SOURCE, Recorder())
    names = {}
    exec(code, names)
    assert pristine(names["outer"].__code__) is pristine(names["outer"].__code__)
    inner = names["outer"](1)
    assert pristine(inner.__code__) in pristine(names["outer"].__code__).co_consts


def test_code_of_others_comes_back_as_it_is():
    code = test_code_of_others_comes_back_as_it_is.__code__
    assert pristine(code) is code


def test_a_replaced_code_object_is_still_found():
    code, _ = compiled(SOURCE, Recorder())
    names = {}
    exec(code, names)
    moved = names["outer"].__code__.replace(co_filename="elsewhere.py")
    assert pristine(moved).co_filename == "<program>"


def test_another_function_than_the_original_is_not_given_out():
    code, _ = compiled(SOURCE, Recorder())
    names = {}
    exec(code, names)
    renamed = names["outer"].__code__.replace(co_name="other", co_qualname="other")
    assert pristine(renamed) is renamed


def test_docstrings_and_names_are_not_disturbed():
    code, _ = compiled(SOURCE, Recorder())
    names = {}
    exec(code, names)
    assert (names["__doc__"], names["outer"].__doc__) == ("Doc.", "Also.")
    assert names["C"].method.__doc__ is None


def test_each_site_is_asked_for_once_even_when_a_loop_is_compiled_twice():
    source = (
        "def f():\n    try:\n        return 1\n    finally:\n        for i in range(2):\n"
        "            pass\n"
    )
    asked = []
    recorder = Recorder()
    original = recorder.site
    recorder.site = lambda loop: asked.append(loop.key) or original(loop)
    compiled(source, recorder)
    assert asked == ["program.py:f:0"]


def test_code_without_loops_is_not_copied():
    made = compile_module(b"def f(): return 1\nx = f()\n", "x.py", "x.py")
    assert bind(made.code, made.info, Recorder()) is made.code


def test_code_that_is_sent_elsewhere_goes_without_its_origin():
    code, _ = compiled(SOURCE, Recorder())
    (origin,) = [k for k in code.co_consts if isinstance(k, Origin)]
    assert pickle.loads(pickle.dumps(origin)) is None
