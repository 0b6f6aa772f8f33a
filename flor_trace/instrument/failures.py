"""What may go wrong inside the rewriting without being the program's fault."""

from __future__ import annotations

from flor_trace.errors import FlorTraceError

#: `bytecode` reports what it cannot do by assertions, index errors and others; a callback of the
#: session by anything.  Interrupts and exits are not in here: those belong to the program.
OUR_FAILURES: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    FlorTraceError,
    ImportError,
    LookupError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
