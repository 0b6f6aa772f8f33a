"""Record training runs without editing them, and ask them new questions afterwards."""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # as in `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

__all__ = ["DATA_PREP", "Artifact", "changes", "full_pivot", "log_records", "pivot", "replay"]

if TYPE_CHECKING:
    from flor_trace.api import DATA_PREP, Artifact, changes, full_pivot, log_records, pivot, replay


def __getattr__(name: str) -> Any:
    # The recorder imports this package before the user's program: nothing heavy may load here.
    if name in __all__:
        api = importlib.import_module("flor_trace.api")
        # Importing it has put the sub-package `replay` here, under the name of the function.
        globals().update({each: getattr(api, each) for each in __all__})
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
