"""Generators: before they begin, at any ``yield``, and when they have ended."""

from __future__ import annotations

import gc
import sys
from collections.abc import Generator, Iterator, Mapping
from functools import cache
from types import CellType, CodeType, FrameType, FunctionType, GeneratorType

from flor_trace._speedups import NATIVE, UNBOUND, Site, read_generator, write_generator
from flor_trace.hints import Any, Final
from flor_trace.records import dataclass
from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Unbuildable, Walk
from flor_trace.state.codecs.codeobjects import codes_of
from flor_trace.state.codecs.kept import opaque
from flor_trace.state.graph import Node
from flor_trace.state.naming import namespace
from flor_trace.state.yields import ITERATOR, Place, Yield, yields_of

_ENDED: Final = "ended"
_NOT_BEGUN: Final = "not begun"
_SUSPENDED: Final = "suspended"
#: What a generator expression runs over, in the interpreter's words and in ours.
_RUN_OVER: Final = {".0": "<items>"}


_NEEDED: Final = (
    "this interpreter does not lay it out as a known one does"
    if NATIVE
    else "reading it needs the native extension"
)


@dataclass(frozen=True, slots=True)
class _Origin:
    """The code of a generator, as every process that has the same source can find it."""

    module: str
    qualname: str
    line: int
    fingerprint: str

    def has(self, code: CodeType) -> bool:
        """Say whether this is the code, however its loops were rewritten."""
        return (
            code.co_qualname == self.qualname
            and code.co_firstlineno == self.line
            and yields_of(code).fingerprint == self.fingerprint
        )


@dataclass(frozen=True, slots=True)
class _Saved:
    """The payload of a node, with names."""

    state: str
    qualname: str  #: of the generator, which a program may change
    name: str
    origin: _Origin
    place: Place | tuple[()]  #: of the ``yield`` at which it stands
    copy: int
    absent: tuple[int, ...]  #: slots of the value stack that hold nothing


def _saved(node: Node) -> _Saved | None:
    """Return the payload; None of a generator that has ended or could not be read."""
    payload: Any = node.payload
    if len(payload) == 2:
        return None
    state, qualname, name, origin, *rest = payload
    return _Saved(state, qualname, name, _Origin(*origin), *rest)


class _Standing:
    """Where a generator is at rest, and what it holds there."""

    def __init__(self, read: tuple[Any, ...]) -> None:
        self.code: CodeType
        self.code, self.globals, self.offset, self.held, self.slots, self.handles = read
        self.yields = yields_of(self.code)
        self.names = variables_of(self.code)

    @property
    def begun(self) -> bool:
        return bool(self.offset >= 0)

    @property
    def at(self) -> Yield | None:
        """The ``yield`` at which it stands."""
        return self.yields.by_offset.get(self.offset)

    @property
    def origin(self) -> _Origin:
        code, module = self.code, self.globals.get("__name__")
        name = module if type(module) is str else ""
        return _Origin(name, code.co_qualname, code.co_firstlineno, self.yields.fingerprint)

    @property
    def variables(self) -> dict[str, Any]:
        """Those that are bound, by name: their order in the frame may change with a rewriting."""
        pairs = sorted(zip(self.names, self.held, strict=True), key=lambda pair: pair[0])
        return {name: value for name, value in pairs if value is not UNBOUND}

    @property
    def stack(self) -> list[Any]:
        """What plain Python would have on the value stack."""
        slots = () if self.at is None else self.at.slots
        return [v for v, slot in zip(self.slots, slots, strict=True) if type(slot) is not Site]

    def why_not(self) -> str:
        """Return why it cannot be saved, or nothing."""
        if self.handles:
            return "waits while an exception is handled"
        if namespace(self.origin.module) is not self.globals:
            return "has code that belongs to no module"
        if len(set(self.names)) != len(self.held):
            return "has two variables of the same name"
        return self._unlike_code() if self.begun else ""

    def _unlike_code(self) -> str:
        if self.at is None:
            return f"waits where its code has no yield {self.yields.why_not}".rstrip()
        lies = [value if type(value) is Site else None for value in self.slots]
        known = [slot if type(slot) is Site else None for slot in self.at.slots]
        same = len(lies) == len(known) and all(a is b for a, b in zip(lies, known, strict=True))
        return "" if same else "has a value stack that its code does not account for"


def variables_of(code: CodeType) -> list[str]:
    """Return the names of all variables of a frame, in order, cells marked as such."""
    cells = {*code.co_cellvars, *code.co_freevars}
    own = [n for n in code.co_cellvars if n not in code.co_varnames]
    every = (*code.co_varnames, *own, *code.co_freevars)
    return [f"<cell {name}>" if name in cells else _RUN_OVER.get(name, name) for name in every]


def standing(generator: Any) -> _Standing | None:
    """Return where the generator is at rest; None of one that runs, has ended or is unreadable."""
    read = read_generator(generator) if readable() else None
    return None if read is None else _Standing(read)


@cache
def readable() -> bool:
    """Say whether a known generator is read, and put elsewhere, as it should be."""
    if not NATIVE:
        return False
    first: Any = _specimen(5)
    second = _specimen(8)
    if (next(first), next(first)) != (0, 1):
        return False
    read: Any = read_generator(first)
    if read is None or read[0] is not first.gi_code or read[1] is not globals():
        return False
    _, _, offset, variables, stack, handles = read
    if handles or variables != (5, 1) or [type(item) for item in stack] != [type(iter(range(0)))]:
        return False
    if offset not in yields_of(first.gi_code).by_offset:
        return False
    write_generator(second, offset, variables, stack)
    return (next(second), next(second)) == (2, 3)


def _specimen(count: int) -> Generator[int, None, None]:
    for number in range(count):  # noqa: UP028 - the loop has to be in this frame
        yield number


def _has_ended(generator: Any) -> bool:
    # Asking one at rest for its frame would make an object of it.
    if generator.gi_running or generator.gi_suspended:
        return False
    return standing(generator) is None if readable() else generator.gi_frame is None


class _Generator(Codec):
    """Generators: their variables are named children, what lies on their value stack the others.

    Nothing in a node depends on how the loops of the code were rewritten.
    """

    kind = "generator"
    exact = (GeneratorType,)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        if obj.gi_running:
            return opaque(plan.type_name, f"the generator {obj.__qualname__} is running")
        if _has_ended(obj):
            return Node("generator", plan.type_name, (_ENDED, obj.__qualname__))
        at = standing(obj)
        if at is not None:
            why_not = at.why_not()
            if why_not:
                return opaque(plan.type_name, f"the generator {obj.__qualname__} {why_not}")
            return _node(walk, plan, obj, at)
        if not obj.gi_suspended:
            return Node("generator", plan.type_name, (_NOT_BEGUN, obj.__qualname__))
        return opaque(plan.type_name, f"the generator {obj.__qualname__} has begun: {_NEEDED}")

    def accepts(self, node: Node, obj: Any) -> bool:
        saved, at = _saved(node), standing(obj)
        if saved is None:
            return _takes_simple(node, obj)
        if at is None or at.why_not() or at.origin != saved.origin:
            return False
        return saved.state == _SUSPENDED or not at.begun

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        saved, at = _saved(node), standing(obj)
        if saved is None or at is None:
            return
        variables = at.variables
        for name, ref in node.named.items():
            if name in variables:
                pairing.pair(ref, variables[name])
        if at.at is not None and (at.at.place, at.at.copy) == (saved.place, saved.copy):
            for ref, value in zip(node.items, at.stack, strict=False):
                pairing.pair(ref, value)

    def make(self, build: Build, node: Node) -> Any:
        assert isinstance(node.payload, tuple)
        saved = _saved(node)
        if saved is not None:
            return _made(saved)
        if node.payload[0] != _ENDED:
            raise Unbuildable(f"the generator {node.payload[1]!s} is not there in the live program")
        made: Any = (item for item in range(0))
        made.__qualname__ = str(node.payload[1])
        return made

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        assert isinstance(node.payload, tuple)
        saved = _saved(node)
        if saved is not None:
            values = {name: build.value(ref) for name, ref in node.named.items()}
            _put(obj, saved, values, build.values(node.items))
        elif node.payload[0] == _ENDED:
            obj.close()


def _takes_simple(node: Node, obj: Any) -> bool:
    assert isinstance(node.payload, tuple)
    state, qualname = node.payload
    if obj.gi_running or obj.gi_suspended or obj.__qualname__ != qualname:
        return False
    return state == _ENDED or not _has_ended(obj)


def _node(walk: Walk, plan: Plan, obj: Any, at: _Standing) -> Node:
    origin, stack, variables = at.origin, at.stack, at.variables
    absent = tuple(n for n, value in enumerate(stack) if value is UNBOUND)
    where = () if at.at is None else (at.at.place, at.at.copy)
    payload = (
        _SUSPENDED if at.begun else _NOT_BEGUN,
        *(obj.__qualname__, obj.__name__),
        (origin.module, origin.qualname, origin.line, origin.fingerprint),
        *(where or ((), 0)),
        absent,
    )
    refs = [None if value is UNBOUND else walk.ref(value) for value in stack]
    refs += [walk.ref(value) for value in variables.values()]
    return Node("generator", plan.type_name, payload, refs, tuple(variables))


def _made(saved: _Saved) -> Any:
    """Return a generator of the live code that has not begun; its variables are still to come."""
    code = _live_code(saved.origin)
    if code is None:
        raise Unbuildable(f"the code of the generator {saved.qualname} is not in the live program")
    cells = tuple(CellType() for _ in code.co_freevars)
    function = FunctionType(code, namespace(saved.origin.module), saved.name, None, cells)
    keywords = code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount]
    return function(*(None,) * code.co_argcount, **dict.fromkeys(keywords))


def _live_code(origin: _Origin) -> CodeType | None:
    for source in (_named, _running, _alive):
        for code in source(origin.module):
            if origin.has(code):
                return code
    return None


def _named(module: str) -> Iterator[CodeType]:
    return codes_of(module)


def _running(module: str) -> Iterator[CodeType]:
    """The code of a module itself is found only while it runs."""
    space = namespace(module)
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals is space:
            yield from _nested(frame.f_code)
        frame = frame.f_back


def _alive(module: str) -> Iterator[CodeType]:
    """Functions that only a decorator or a closure holds, and other generators."""
    space = namespace(module)
    for obj in gc.get_objects():
        if type(obj) is FunctionType and obj.__globals__ is space:
            yield from _nested(obj.__code__)
        elif type(obj) is GeneratorType:
            yield obj.gi_code


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _put(obj: Any, saved: _Saved, values: Mapping[str, Any], stack: list[Any]) -> None:
    """Let the generator stand where the saved one stood, with the same in its frame."""
    live = standing(obj)
    if live is None:
        raise Unbuildable(f"the generator {saved.qualname} has run on while it was restored")
    variables = tuple(values.get(name, UNBOUND) for name in live.names)
    for n in saved.absent:
        stack[n] = UNBOUND
    if saved.state == _NOT_BEGUN:
        write_generator(obj, -1, variables, ())
    else:
        at = live.yields.at(saved.place, saved.copy) if saved.place else None
        if at is None:
            raise Unbuildable(f"the live code of {saved.qualname} has no such yield")
        write_generator(obj, at.offset, variables, _slots(saved, at, stack))
    obj.__name__, obj.__qualname__ = saved.name, saved.qualname


def _slots(saved: _Saved, at: Yield, stack: list[Any]) -> tuple[Any, ...]:
    """Return the value stack with the sites of those loops that the live code reports."""
    known = [slot for slot in at.slots if type(slot) is not Site]
    if len(known) != len(stack):
        raise Unbuildable(f"the live code of {saved.qualname} has another value stack there")
    iterated = [slot == ITERATOR for slot in known]
    if at.delegates:
        iterated[-1] = True
    for value, needed in zip(stack, iterated, strict=True):
        if needed and not hasattr(type(value), "__next__"):
            raise Unbuildable(f"{saved.qualname} iterates over a {type(value).__qualname__}")
    values = iter(stack)
    return tuple(slot if type(slot) is Site else next(values) for slot in at.slots)


CODECS: tuple[Codec, ...] = (_Generator(),)
