"""Let a program have its own modules under names that we have imported already."""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from types import ModuleType

from flor_trace.startup import BEFORE


def give_way(folder: str) -> None:
    """Forget those of our imports that the program's first folder holds under the same name.

    A ``queue.py`` beside the script is what plain python gives to ``import queue``, while we have
    the standard library's.  We keep what we hold, and the program gets its own.
    """
    try:
        names = {entry.partition(".")[0] for entry in os.listdir(folder)}
    except OSError:
        return
    for name in names & sys.modules.keys() - BEFORE - {"__main__", "flor_trace"}:
        if _is_hidden(name, sys.modules[name], folder):
            for each in [k for k in sys.modules if k == name or k.startswith(name + ".")]:
                del sys.modules[each]


def _is_hidden(name: str, module: ModuleType, folder: str) -> bool:
    """Whether the folder has another module of that name, which python would take instead."""
    ours = getattr(module, "__spec__", None)
    if name in sys.builtin_module_names or getattr(ours, "origin", None) == "frozen":
        return False
    found = PathFinder.find_spec(name, [folder])
    if found is None or found.loader is None:
        return False
    return ours is None or found.origin != ours.origin
