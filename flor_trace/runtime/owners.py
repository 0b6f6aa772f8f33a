"""Tell where in memory a buffer lies, and whose memory it is."""

from __future__ import annotations

import sys
from _random import Random
from collections.abc import Callable
from os import urandom

from flor_trace.hints import Any, cast
from flor_trace.runtime.constants import Place


def locate(leaf: memoryview) -> tuple[Place, memoryview] | None:
    """Return the place of a leaf, and its bytes as one flat view.

    None for what cannot be found again at the next boundary: a copy made for this one, or memory
    in a program that has not imported numpy, which is what tells the address.
    """
    numpy = sys.modules.get("numpy")
    array_type = getattr(numpy, "ndarray", None)
    if numpy is None or array_type is None or not hasattr(numpy, "frombuffer"):
        return None
    owner, exporter = 0, cast(Any, leaf.obj)
    if type(exporter) is array_type:
        base = exporter.base
        if base is None or type(base) is bytes:
            return None
        # Two arrays that follow each other at one address are hardly ever one Python object.
        owner = id(base) if issubclass(type(base), array_type) else 0
    flat = numpy.frombuffer(leaf, numpy.uint8)
    return (flat.__array_interface__["data"][0], leaf.nbytes, owner), memoryview(flat)


def private_draw() -> Callable[[int], int]:
    """Return a function that draws an integer below its argument, from a generator of our own."""
    generator = Random(int.from_bytes(urandom(16), "little"))
    return lambda count: int(generator.random() * count)
