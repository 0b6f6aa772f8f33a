"""Start the interpreter over with a hash seed that we know: set order is data in many programs."""

from __future__ import annotations

import os
import sys

from flor_trace import settings


def with_known_hash_seed() -> None:
    """Replace this process unless its hash seed is known, or nothing is to be recorded.

    Called before anything else is imported: what is imported until then is imported twice.
    """
    if settings.take_drawn_hash_seed() is not None or settings.hash_seed() is not None:
        return
    if sys.flags.ignore_environment or settings.switched_off():
        return
    seed = int.from_bytes(os.urandom(4), "big")
    environ = settings.environment_with_hash_seed(seed)
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)
