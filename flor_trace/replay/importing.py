"""Make a replay import the project's modules from the old commit, whatever names their place."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

#: Libraries that are installed below the project's root are the environment, not the project.
_INSTALLED = ("site-packages", "dist-packages")


def lead_imports(root: str, tree: str) -> None:
    """Lead ``sys.path``, and what editable installs say, from `root` to `tree`.

    ``PYTHONPATH=.`` and ``pip install -e .`` give absolute places below the project's root.  What
    the tree does not have is left where it is: a virtual environment, for one.
    """

    def led(place: str) -> str:
        return _led(place, os.path.realpath(root), tree)

    sys.path[:] = map(led, sys.path)
    sys.path_importer_cache.clear()
    for finder in sys.meta_path:
        module = getattr(finder, "__module__", None) or ""
        if module.startswith("__editable__"):
            _lead_mapping(getattr(sys.modules.get(module), "MAPPING", None), led)


def _lead_mapping(mapping: Any, led: Callable[[str], str]) -> None:
    """The table of an editable install: name of a package to its place."""
    if isinstance(mapping, dict):
        for name, place in list(mapping.items()):
            if isinstance(place, str):
                mapping[name] = led(place)


def _led(place: str, root: str, tree: str) -> str:
    real = os.path.realpath(place) if place else ""
    if real != root and not real.startswith(root + os.sep):
        return place
    rest = os.path.relpath(real, root)
    if any(part in _INSTALLED for part in rest.split(os.sep)):
        return place
    there = os.path.normpath(os.path.join(tree, rest))
    return there if os.path.exists(there) or os.path.exists(f"{there}.py") else place
