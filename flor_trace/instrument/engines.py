"""Choose how loops are made to report on this interpreter, and say why."""

from __future__ import annotations

from flor_trace import pyfacts
from flor_trace.errors import UsageError
from flor_trace.instrument.rewritten import columns_are_kept
from flor_trace.records import dataclass


@dataclass(frozen=True, slots=True)
class Choice:
    """One engine."""

    engine: str  #: ``"bytecode"``, ``"ast"`` or ``"trace"``
    notice: str  #: what the user should know about it, or an empty string


def choose(wanted: str) -> Choice:
    """Return the engine that a setting means on this interpreter.

    ``auto`` is the bytecode engine wherever it can work, else that of the syntax tree.

    Raises `UsageError` for an engine that cannot work here.
    """
    problem = _problem()
    if wanted == "ast" or (wanted == "auto" and problem):
        why = f"{problem}: " if problem else ""
        return Choice("ast", f"{why}loops are recorded by changing the syntax tree alone")
    engine = "bytecode" if wanted == "auto" else wanted
    if problem:
        raise UsageError(f"the engine {engine!r} cannot work here: {problem}; use --engine ast")
    if engine == "trace":
        notice = "loops are recorded from trace events: much slower, and only in the main thread"
        return Choice(engine, notice)
    return Choice(engine, "")


def _problem() -> str:
    if not pyfacts.REWRITER_KNOWS:
        return "the bytecode of this Python version is not known"
    if not columns_are_kept():
        return "Python runs without column positions (-X no_debug_ranges)"
    return ""
