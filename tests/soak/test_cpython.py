"""Test modules of CPython itself, with the standard library and the tests rewritten."""

from __future__ import annotations

import importlib.util
import sysconfig

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("test.support") is None,
    reason="this interpreter was installed without its test package",
)

SLICE = (
    *("contextlib", "coroutines", "exceptions", "generators", "iter", "sys_settrace"),
    *("sys_setprofile", "traceback", "with"),
)
MODULES = (
    *("abc", "asyncgen", "bdb", "bisect", "calendar", "class", "code", "collections", "compile"),
    *("configparser", "context", "contextlib_async", "copy", "cprofile", "csv", "dataclasses"),
    *("decorators", "deque", "descr", "dict", "dictcomps", "difflib", "dis", "doctest", "enum"),
    *("enumerate", "except_star", "exception_group", "exception_variations", "fractions"),
    *("frame", "functools", "gc", "generator_stop", "genexps", "grammar", "graphlib", "heapq"),
    *("inspect", "itertools", "json", "linecache", "list", "listcomps", "monitoring"),
    *("named_expressions", "patma", "pdb"),
    *("positional_only_arg", "pprint", "profile", "queue", "raise", "random", "range", "sched"),
    *("scope", "set", "setcomps", "statistics", "string", "super", "syntax", "textwrap"),
    *("threading_local", "tokenize", "trace", "types", "unpack", "unpack_ex", "weakref"),
)


def of(module, case, *names):
    return [f"test.test_{module}.{case}.test_{name}" for name in names]


#: The tests that differ, and why; one that is listed and does not differ is a failure, too.
EXPECTED = {
    # A debugger that moves a frame to another line finds the loop's sentinel on the stack where
    # there was nothing, or misses it.
    "sys_settrace": of(
        *("sys_settrace", "JumpTestCase", "jump_backwards_into_while_block"),
        *("jump_forwards_into_while_block", "no_jump_infinite_while_loop"),
    ),
    # These look at the constants and count the instructions of their own functions.
    "compile": of(
        *("compile", "TestSpecifics", "32_63_bit_values"),
        *("dead_blocks_do_not_generate_bytecode", "false_while_loop"),
    ),
    # The interpreter tells tools of a generator's end as of an exception where it takes its
    # shortcut for a `for` over a generator; the iterator of ours in between ends without one.
    "monitoring": of("monitoring", "ExceptionMonitoringTest", "implicit_stop_iteration"),
    # These compare the listing of code that is compiled with the test module.
    "dis": [
        *of("dis", "DisTests", "bug_708901", "loop_quicken", "show_caches"),
        *of("dis", "DisWithFileTests", "bug_708901", "loop_quicken", "show_caches"),
        *of("dis", "InstructionTests", "jumpy"),
        *of("dis", "TestFinderMethods", "findlabels"),
    ],
}
CASES = [
    *[pytest.param(name, id=name, marks=pytest.mark.soak_slice) for name in SLICE],
    *[pytest.param(name, id=name) for name in MODULES],
]


@pytest.mark.parametrize("name", CASES)
def test_a_module_of_cpython_passes_its_tests_as_it_does_without_us(cage, name):
    if importlib.util.find_spec(f"test.test_{name}") is None:
        pytest.skip("this version of Python has no such module")
    job = {
        "runner": "unittest",
        "args": [f"test.test_{name}"],
        "project": sysconfig.get_path("stdlib"),
        "path": [],
        "loaded": True,
    }
    cage.compare(
        f"test_{name}",
        job,
        expected=EXPECTED.get(name, ()),
        options=("-X", "frozen_modules=off"),
        seconds=600,
    )


def test_the_list_is_long_enough():
    assert len({*SLICE, *MODULES}) >= 40
