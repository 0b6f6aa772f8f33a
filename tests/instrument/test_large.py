"""Functions of a size and runs of a depth that programs written by hand do not have."""

from __future__ import annotations

import threading

import pytest
from instrument_engines import Log
from instrument_recorder import Recorder, compiled

from flor_trace import _pure
from flor_trace.instrument.compile import compile_module
from flor_trace.instrument.verify import verify

LARGE = (
    "def f(n):\n    total = 0\n"
    + "".join(f"    v{k} = {k}.5\n" for k in range(400))
    + "    for i in range(n):\n        while total < 9 * n:\n            total += 1\n"
    + "".join(f"            v{k % 400} += n * {k}\n" for k in range(8000))
    + "            if total % 2: continue\n            if total == 12: break\n"
    + "        else:\n            total += 100\n"
    + "    return total, v7\nout = f(2)\n"
)


@pytest.mark.parametrize("engine", ["bytecode", "ast"])
def test_a_function_of_more_than_70000_instructions_is_rewritten_and_runs_right(engine):
    recorder = Recorder()
    if engine == "bytecode":
        code, info = compiled(LARGE, recorder, engine=engine)
        expected = {}
        exec(compile(LARGE, "<program>", "exec", dont_inherit=True), expected)
        names = {}
        exec(code, names)
        assert names["out"] == expected["out"]
        counts = [event[0] for event in recorder.events]
        assert (counts.count("enter"), counts.count("exhausted")) == (3, 2)
        assert counts.count("left") == 1
        function = next(k for k in code.co_consts if hasattr(k, "co_code"))
        verify(function)
    else:
        made = compile_module(LARGE.encode(), "<program>", "program.py", engine=engine)
        function, info = next(k for k in made.code.co_consts if hasattr(k, "co_code")), made.info
    assert len(function.co_code) // 2 > 70_000
    assert [loop.left_alone for loop in info.loops] == [None, None]


@pytest.mark.parametrize("engine", ["bytecode", "ast"])
def test_deep_recursion_ends_as_in_the_plain_program(engine):
    source = (
        "def f(n):\n    for i in range(1):\n        while True:\n            return f(n + 1)\n"
        "try:\n    f(0)\nexcept RecursionError as error:\n    out = str(error)\n"
    )
    log = Log(_pure)
    made = compile_module(source.encode(), "<program>", "program.py", engine=engine)
    from flor_trace.instrument.bind import bind

    names = {}
    exec(bind(made.code, made.info, log), names)
    assert "maximum recursion depth exceeded" in names["out"]


@pytest.mark.parametrize("engine", ["bytecode", "ast"])
def test_loops_in_many_threads_come_to_their_ends(twin, engine):
    source = (
        "def f(n):\n    total = 0\n    for i in range(300):\n        k = 3\n"
        "        while k:\n            k -= 1\n            total += i\n    out.append(total)\n"
    )
    log = Log(twin)
    made = compile_module(source.encode(), "<program>", "program.py", engine=engine)
    from flor_trace.instrument.bind import bind

    names = {"out": []}
    exec(bind(made.code, made.info, log), names)
    twin.set_handler(log.boundary, log.leave)
    threads = [threading.Thread(target=names["f"], args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    names["f"](9)
    for thread in threads:
        thread.join()
    assert names["out"] == [3 * sum(range(300))] * 7
