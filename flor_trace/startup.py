"""What was there before us: taken down by the first lines that the launcher runs."""

from __future__ import annotations

import sys

#: The modules that a program finds under plain python, too.
BEFORE = frozenset(sys.modules)


def leave_first_path() -> None:
    """Take away what python put first on ``sys.path`` for us: not ours to import from.

    ``python -m flor_trace`` would take a ``queue.py`` of the current directory for that of the
    standard library, although the program may not even look there.
    """
    if not sys.flags.safe_path and sys.path:
        del sys.path[0]
