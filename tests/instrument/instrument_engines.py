"""Run a program under an engine and keep everything that can be seen of it from outside."""

from __future__ import annotations

import contextlib
import io
import linecache
import sys
import traceback
import warnings

from instrument_grammar import HELPERS

from flor_trace.instrument.bind import bind
from flor_trace.instrument.compile import analyse_module, compile_module
from flor_trace.instrument.tracing import TraceEngine

PATH = "<program>"
_HELPERS = compile(HELPERS, "<helpers>", "exec", dont_inherit=True)
linecache.cache["<helpers>"] = (len(HELPERS), None, HELPERS.splitlines(True), "<helpers>")


class Log:
    """Handler and hooks: a list of what loops tell."""

    def __init__(self, twin):
        self.twin = twin
        self.events = []

    def site(self, loop):
        return self.twin.Site(loop.key, 0 if loop.kind == "for" else 1)

    def control(self, loop):
        return None

    def boundary(self, li):
        if li.tag is None:
            li.tag = True
            self.events.append(("enter", li.site.info, 0))
        self.events.append(("boundary", li.site.info, li.n))

    def leave(self, li, how):
        self.events.append((how, li.site.info, li.n))


class Outcome:
    """What was printed, the traceback that ended the program, and what its loops told."""

    def __init__(self, output, error, events, left_alone):
        self.output = output
        self.error = error
        self.events = events
        self.left_alone = left_alone  #: keys of loops that the engine does not watch


def run(code):
    """Return what the program prints and the text of the traceback that ends it."""
    output = io.StringIO()
    error = ""
    names = {"__name__": "program"}
    exec(_HELPERS, names)
    with contextlib.redirect_stdout(output), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exec(code, names)
        except BaseException as caught:
            shown = traceback.TracebackException.from_exception(caught)
            shown.stack.pop(0)  # ours
            error = "".join(shown.format())
            traceback.clear_frames(caught.__traceback__)
    return output.getvalue(), error


def plain(source):
    linecache.cache[PATH] = (len(source), None, source.splitlines(True), PATH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = compile(source, PATH, "exec", dont_inherit=True)
    return Outcome(*run(code), None, frozenset())


def rewritten(source, engine, twin):
    """Run under the engine ``"bytecode"`` or ``"ast"``."""
    log = Log(twin)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = compile_module(source.encode(), PATH, "program.py", engine=engine)
    code = bind(made.code, made.info, log)
    twin.set_handler(log.boundary, log.leave)
    try:
        output, error = run(code)
    finally:
        twin.set_handler(None, None)
    return Outcome(output, error, log.events, _left_alone(made.info))


def traced(source, twin):
    """Run under the engine that rewrites nothing."""
    log = Log(twin)
    problems = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made, flows = analyse_module(source.encode(), PATH, "program.py")
    engine = TraceEngine(log.boundary, log.leave, problems.append)
    engine.watch(flows, [log.site(loop) for loop in made.info.loops])
    before = sys.gettrace()
    engine.start()
    try:
        output, error = run(made.code)
    finally:
        engine.stop()
        sys.settrace(before)
    assert problems == []
    return Outcome(output, error, log.events, _left_alone(made.info))


def _left_alone(info):
    return frozenset(loop.key for loop in info.loops if loop.left_alone is not None)
