"""Test modules of CPython itself, with the standard library and the tests rewritten."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("test.support") is None,
    reason="this interpreter was installed without its test package",
)

SLICE = (
    *("asyncgen", "contextlib", "coroutines", "exceptions", "generators", "iter", "itertools"),
    *("sys_settrace", "sys_setprofile", "traceback", "weakref", "with"),
)
MODULES = (
    *("abc", "bdb", "bisect", "calendar", "class", "code", "collections", "compile"),
    *("configparser", "context", "contextlib_async", "copy", "cprofile", "csv", "dataclasses"),
    *("decorators", "deque", "descr", "dict", "dictcomps", "difflib", "dis", "doctest", "enum"),
    *("enumerate", "except_star", "exception_group", "exception_variations", "fractions"),
    *("frame", "functools", "gc", "generator_stop", "genexps", "grammar", "graphlib", "heapq"),
    *("inspect", "json", "linecache", "list", "listcomps", "named_expressions", "patma", "pdb"),
    *("positional_only_arg", "pprint", "profile", "queue", "raise", "random", "range", "sched"),
    *("scope", "set", "setcomps", "statistics", "string", "super", "syntax", "textwrap"),
    *("threading_local", "tokenize", "trace", "types", "unpack", "unpack_ex"),
)


def jumps(*names):
    return [f"test.test_sys_settrace.JumpTestCase.test_{name}" for name in names]


#: What differs, by the interpreter's version, and why.  A debugger that moves a frame to another
#: line finds the loop's sentinel on the stack where there was nothing, or misses it.
JUMPS_OF_3_12 = jumps(
    "jump_backwards_into_while_block",
    "jump_forwards_into_while_block",
    "no_jump_infinite_while_loop",
)
EXPECTED = {
    "sys_settrace": {(3, 11): JUMPS_OF_3_12, (3, 12): JUMPS_OF_3_12, (3, 13): JUMPS_OF_3_12},
}
CASES = [
    *[pytest.param(name, id=name, marks=pytest.mark.soak_slice) for name in SLICE],
    *[pytest.param(name, id=name) for name in MODULES],
]


@pytest.mark.parametrize("name", CASES)
def test_a_module_of_cpython_passes_its_tests_as_it_does_without_us(cage, name):
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
        expected=EXPECTED.get(name, {}).get(sys.version_info[:2], ()),
        options=("-X", "frozen_modules=off"),
        seconds=600,
    )


def test_the_list_is_long_enough():
    assert len({*SLICE, *MODULES}) >= 40
