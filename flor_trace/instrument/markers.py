"""The constants that stand in rewritten code: strings until it is bound, live objects after."""

from __future__ import annotations

from collections.abc import Callable

from flor_trace.hints import Literal
from flor_trace.records import dataclass
from flor_trace.types import Control, Digest

#: What a marker stands for: a loop's site, a pass of a ``while``, the normal end of a ``while``,
#: the four questions that replayed code asks a control, and a spot that it tells of.
Part = Literal["site", "tick", "done", "due", "unbound", "value", "skip", "spot"]


@dataclass(frozen=True, slots=True)
class Marker:
    """One decoded marker."""

    part: Part
    loop: int  #: index among the loops of the module; 0 for a spot
    name: str = ""  #: the local variable, for ``unbound`` and ``value``; which ``spot``


class Marks:
    """Writes and reads the markers of one module.

    A marker holds the digest of the source that it was put into, so no string of that source
    can be taken for one.
    """

    def __init__(self, digest: Digest) -> None:
        self.prefix = f"\0flor_trace:{digest.hex()}:"

    def write(self, part: Part, loop: int, name: str = "") -> str:
        """Return the constant for a marker."""
        return f"{self.prefix}{part}:{loop}:{name}"

    def read(self, constant: object) -> Marker | None:
        """Return the marker that a constant stands for, None for the program's own constants."""
        if type(constant) is not str or not constant.startswith(self.prefix):
            return None
        part, loop, name = constant[len(self.prefix) :].split(":", 2)
        return Marker(part, int(loop), name)  # type: ignore[arg-type]


class _Ask:
    """A bound question: the code says ``~question`` and gets the control's answer.

    ``__invert__`` is the only Python frame between the user's frame and the control's method:
    inside the method ``sys._getframe(2)`` is the frame that holds the loop.
    """

    __slots__ = ("control", "name")

    def __init__(self, control: Control, name: str) -> None:
        self.control = control
        self.name = name


class Due(_Ask):
    """Stands for ``control.due()``."""

    __slots__ = ()

    def __invert__(self) -> bool:
        return self.control.due()


class Unbound(_Ask):
    """Stands for ``control.unbound(name)``."""

    __slots__ = ()

    def __invert__(self) -> bool:
        return self.control.unbound(self.name)


class Value(_Ask):
    """Stands for ``control.value(name)``."""

    __slots__ = ()

    def __invert__(self) -> object:
        return self.control.value(self.name)


class Skip(_Ask):
    """Stands for ``control.skip()``."""

    __slots__ = ()

    def __invert__(self) -> bool:
        return self.control.skip()


class Reached:
    """Stands for what hears of a spot."""

    __slots__ = ("tell",)

    def __init__(self, tell: Callable[[], None]) -> None:
        self.tell = tell

    def __invert__(self) -> None:
        self.tell()


class Never:
    """Stands for the ``due`` of a loop that nobody controls after all: always False."""

    __slots__ = ()

    def __invert__(self) -> bool:
        return False


QUESTIONS: dict[str, type[_Ask]] = {"due": Due, "unbound": Unbound, "value": Value, "skip": Skip}
