"""Put live objects in the place of a compiled module's markers, and find the way back."""

from __future__ import annotations

import warnings
from types import CodeType

from flor_trace.instrument.change import TreeChange, compile_plain
from flor_trace.instrument.markers import QUESTIONS, Marks, Never, Reached
from flor_trace.instrument.places import NOWHERE, Places, find_places
from flor_trace.records import dataclass, field
from flor_trace.types import Control, Hooks, ModuleInfo

TYPE_CHECKING = False  # as in `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any


@dataclass(slots=True, eq=False)
class Source:
    """What a module was compiled from; compiles it again, unmarked, when somebody asks."""

    text: bytes
    path: str
    optimize: int = -1
    flags: int = 0
    change: TreeChange | None = None
    _plain: CodeType | None = None

    def plain(self) -> CodeType:
        """Return the module as Python alone compiles it; the same object every time."""
        if self._plain is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._plain = compile_plain(
                    self.text, self.path, self.flags, self.optimize, self.change
                )
        return self._plain


@dataclass(slots=True, eq=False)
class Origin:
    """Rides along as the last constant of an instrumented code object, which never loads it."""

    source: Source
    steps: tuple[int, ...]  #: which nested code object of which, from the module's downwards

    def code(self) -> CodeType | None:
        """Return the original, None if the way to it cannot be followed."""
        found = self.source.plain()
        for step in self.steps:
            inner = _nested(found)
            if step >= len(inner):
                return None
            found = inner[step]
        return found

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Code that is sent elsewhere goes without its origin."""
        return (type(None), ())


def _nested(code: CodeType) -> list[CodeType]:
    return [constant for constant in code.co_consts if isinstance(constant, CodeType)]


@dataclass(slots=True)
class _Binder:
    info: ModuleInfo
    hooks: Hooks
    source: Source | None
    sites: dict[int, object] = field(default_factory=dict)
    controls: dict[int, Control | None] = field(default_factory=dict)

    def bind(self, code: CodeType, places: Places, steps: tuple[int, ...]) -> CodeType:
        inner, spots = places
        constants: list[Any] = list(code.co_consts)
        for k, nested, below in inner:
            constants[k] = self.bind(constants[k], below, (*steps, nested))
        for k, part, loop, name in spots:
            constants[k] = self._live(part, loop, name)
        if self.source is not None:
            constants.append(Origin(self.source, steps))
        return code.replace(co_consts=tuple(constants))

    def _live(self, part: str, loop: int, name: str) -> object:
        if part == "site":
            return self._site(loop)
        if part == "spot":
            from flor_trace.instrument.spots import read_spot  # noqa: PLC0415 - it needs ast

            return Reached(self.hooks.spot(read_spot(self.info.module, name)))
        control = self._control(loop)
        return Never() if control is None else QUESTIONS[part](control, name)

    def _site(self, index: int) -> object:
        if index not in self.sites:
            self.sites[index] = self.hooks.site(self.info.loops[index])
        return self.sites[index]

    def _control(self, index: int) -> Control | None:
        if index not in self.controls:
            self.controls[index] = self.hooks.control(self.info.loops[index])
        return self.controls[index]


def bind(
    code: CodeType,
    info: ModuleInfo,
    hooks: Hooks,
    *,
    source: Source | None = None,
    places: Places | None = None,
) -> CodeType:
    """Return the code with live sites and controls for its markers.

    Each loop's site and control is asked for once.  Give `source` so that `pristine` works, and
    `places` if they are known.
    """
    if places is None:
        places = find_places(code, Marks(info.digest))
    return code if places == NOWHERE else _Binder(info, hooks, source).bind(code, places, ())


def pristine(code: CodeType) -> CodeType:
    """Return the code object that Python alone would have compiled for an instrumented one.

    The same object for the same code every time; any other code object comes back as it is.
    """
    origin = next((k for k in reversed(code.co_consts) if isinstance(k, Origin)), None)
    if origin is None:
        return code
    found = origin.code()
    return found if found is not None and _corresponds(found, code) else code


def _corresponds(plain: CodeType, instrumented: CodeType) -> bool:
    return (
        plain.co_qualname == instrumented.co_qualname
        and plain.co_firstlineno == instrumented.co_firstlineno
        and plain.co_varnames == instrumented.co_varnames
        and plain.co_cellvars == instrumented.co_cellvars
        and plain.co_freevars == instrumented.co_freevars
    )
