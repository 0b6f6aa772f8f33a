"""What this interpreter does, named for the behaviour and not for the version."""

from __future__ import annotations

import sys

_V = sys.version_info[:2]  # noqa: TID251 - the one place that asks

#: Versions whose bytecode the rewriter knows.
REWRITER_KNOWS = (3, 11) <= _V <= (3, 13)

#: ``for`` loops: location of GET_ITER and FOR_ITER is the whole statement (3.11, 3.12) or only its
#: iterable expression (3.13).  Seen with ``dis.get_instructions(...).positions``.
FOR_LOCATION_IS_STATEMENT = _V < (3, 13)

#: FOR_ITER leaves END_FOR at its target (3.12+), followed by POP_TOP (3.13+).
HAS_END_FOR = _V >= (3, 12)
END_FOR_HAS_POP_TOP = _V >= (3, 13)

#: ``frame.f_locals`` of a function is a fresh snapshot or proxy and no longer a shared dict.
F_LOCALS_IS_PROXY = _V >= (3, 13)

#: ``python script.py`` gives ``__main__`` an ``__annotations__`` dict.
MAIN_HAS_ANNOTATIONS = _V < (3, 14)

#: Tracebacks show the lines of ``-c`` programs, for which ``linecache`` is imported.
TRACEBACKS_SHOW_COMMANDS = _V >= (3, 13)

#: What a program gives to ``sys.exit`` is printed before its frames are let go, not after.
EXIT_TELLS_FIRST = _V < (3, 12)

#: Threads run Python code at the same time: what a loop's frame holds can change while it is read.
FREE_THREADED = "t" in getattr(sys, "abiflags", "")

CACHE_TAG = sys.implementation.cache_tag or "unknown"
