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
    notice: str  #: why it is not the one that is best elsewhere, or an empty string


def choose(wanted: str) -> Choice:
    """Return the engine that a setting means on this interpreter.

    ``auto`` is the bytecode engine wherever it can work, else that of the syntax tree.

    Raises `UsageError` for an engine that cannot work here.
    """
    problem = _problem()
    if wanted == "ast":
        return Choice("ast", "")
    if problem and wanted == "auto":
        return Choice("ast", f"{problem}: loops are recorded by changing the syntax tree alone")
    if problem:
        raise UsageError(f"the engine {wanted!r} cannot work here: {problem}; use --engine ast")
    return Choice("bytecode" if wanted == "auto" else wanted, "")


def _problem() -> str:
    if not pyfacts.REWRITER_KNOWS:
        return "the bytecode of this Python version is not known"
    if not columns_are_kept():
        return "Python runs without column positions (-X no_debug_ranges)"
    return ""
