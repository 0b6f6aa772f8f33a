"""Run an old commit again, with probes that were not there."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class _CallableModule(ModuleType):
    """``flor_trace.replay`` is this package and, as in Flor, a function: it can be called."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return importlib.import_module("flor_trace.api").replay(*arguments, **options)


sys.modules[__name__].__class__ = _CallableModule
