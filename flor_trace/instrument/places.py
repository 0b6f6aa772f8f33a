"""Where the markers of a compiled module are, so that binding it need not look for them."""

from __future__ import annotations

from types import CodeType

from flor_trace.instrument.markers import Marks

#: A marker: its index among the constants, its part, its loop, its name.
Spot = tuple[int, str, int, str]

#: The nested code objects with markers in them or below, and the markers, of one code object.  Of a
#: nested one: its index among the constants, its number among the code objects there, its places.
Places = tuple[tuple[tuple[int, int, "Places"], ...], tuple[Spot, ...]]

NOWHERE: Places = ((), ())


def find_places(code: CodeType, marks: Marks) -> Places:
    """Return where the code has markers; `NOWHERE` if it has none."""
    inner: list[tuple[int, int, Places]] = []
    spots: list[Spot] = []
    nested = 0
    for k, constant in enumerate(code.co_consts):
        if isinstance(constant, CodeType):
            below = find_places(constant, marks)
            if below != NOWHERE:
                inner.append((k, nested, below))
            nested += 1
        else:
            marker = marks.read(constant)
            if marker is not None:
                spots.append((k, marker.part, marker.loop, marker.name))
    return tuple(inner), tuple(spots)
