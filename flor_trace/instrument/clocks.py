"""Find the names that hold readings of a clock."""

from __future__ import annotations

import ast


def clock_names(tree: ast.Module) -> frozenset[str]:
    """Return the names, attributes and constant keys that hold readings of a clock."""
    return frozenset()
