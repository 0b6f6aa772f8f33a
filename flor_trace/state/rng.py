"""The process-wide random generators, as roots of the state."""

from __future__ import annotations

import random
import sys

from flor_trace.hints import Any
from flor_trace.state.codecs.registry import load_libraries


def rng_roots() -> dict[str, object]:
    """Return the generators behind random, numpy.random and torch, by root name."""
    load_libraries()
    found: dict[str, object] = {"rng:random": random._inst}
    mtrand: Any = sys.modules.get("numpy.random.mtrand")
    if mtrand is not None:
        found["rng:numpy"] = mtrand._rand
    tensors: Any = sys.modules.get("flor_trace.state.codecs.torch_tensors")
    if tensors is not None:
        found.update(tensors.default_generators())
    return found
