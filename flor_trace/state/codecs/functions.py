"""Functions, their closures and attributes, bound methods, and modules."""

from __future__ import annotations

from collections.abc import Iterable
from types import (
    BuiltinFunctionType,
    CellType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)

from flor_trace.hints import Any
from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Unbuildable, Walk
from flor_trace.state.codecs.codeobjects import find_code
from flor_trace.state.graph import ATOM_TYPES, Node, Ref
from flor_trace.state.naming import function_name, importable, namespace

#: What defaults are that calls cannot change.
_UNCHANGING = (*ATOM_TYPES, type, FunctionType, BuiltinFunctionType, ModuleType)


def holds_state(function: FunctionType) -> bool:
    """Say whether calls may leave something in a function: in its attributes or its defaults."""
    if function.__dict__:
        return True
    defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    return not all(isinstance(each, _UNCHANGING) for each in defaults)


class _Function(Codec):
    """Python functions: the code is the live one; what a project's closes over is state."""

    kind = "function"
    exact = (FunctionType,)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        name = f"{obj.__module__}:{obj.__qualname__}"
        code = obj.__code__
        node = Node("function", plan.type_name, (name, code.co_qualname, code.co_firstlineno))
        if not walk.is_project_file(obj.__code__.co_filename):
            return node
        held: dict[str, Any] = {f"<cell {n}>": cell for n, cell in _cells(obj).items()}
        if obj.__defaults__:
            held["<defaults>"] = obj.__defaults__
        if obj.__kwdefaults__:
            held["<kwdefaults>"] = obj.__kwdefaults__
        held.update(obj.__dict__)
        node.names = tuple(held)
        node.children = [walk.ref(value) for value in held.values()]
        return node

    def accepts(self, node: Node, obj: Any) -> bool:
        code = obj.__code__
        name = f"{obj.__module__}:{obj.__qualname__}"
        return (name, code.co_qualname, code.co_firstlineno) == node.payload

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        cells = _cells(obj)
        for name, ref in node.named.items():
            if name.startswith("<cell "):
                pairing.pair(ref, cells.get(name[6:-1]))
            elif name.startswith("<"):
                pairing.pair(ref, getattr(obj, f"__{name[1:-1]}__"))
            else:
                pairing.pair(ref, obj.__dict__.get(name))

    def needs(self, node: Node) -> Iterable[Ref]:
        return [ref for name, ref in node.named.items() if name.startswith("<cell ")]

    def make(self, build: Build, node: Node) -> Any:
        if not isinstance(node.payload, tuple) or len(node.payload) != 3:
            raise Unbuildable("the saved function has no name")
        name, inner, line = map(str, node.payload)
        return self.by_name(build, node, name) or self.by_code(build, node, name, inner, int(line))

    def by_name(self, build: Build, node: Node, name: str) -> Any:
        """Return the function that the name leads to, maybe below decorators, or None."""
        if "<" in name:
            return None
        try:
            found = build.lookup(name)
        except Unbuildable:
            return None
        while found is not None:
            if isinstance(found, FunctionType) and self.accepts(node, found):
                return found
            found = getattr(found, "__wrapped__", None)
        return None

    def by_code(self, build: Build, node: Node, name: str, inner: str, line: int) -> Any:
        """Return a new function with the code of an old one and the saved variables."""
        module_name = name.partition(":")[0]
        code = find_code(f"{module_name}:{inner}", line)
        space = namespace(module_name)
        if code is None or not space:
            raise Unbuildable(f"the function {name} was made while the program ran")
        cells = node.named
        try:
            closure = tuple(build.value(cells[f"<cell {free}>"]) for free in code.co_freevars)
        except KeyError:
            raise Unbuildable(f"the variables that {name} closes over were not saved") from None
        made = FunctionType(code, space, name.rpartition(".")[2], None, closure)
        made.__qualname__ = name.partition(":")[2]
        return made

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        if not node.names:
            return
        values = build.attributes(node.named)
        own = {name: value for name, value in values.items() if not name.startswith("<")}
        if obj.__dict__ != own or list(obj.__dict__) != list(own):
            obj.__dict__.clear()
            obj.__dict__.update(own)
        for name in ("__defaults__", "__kwdefaults__"):
            value = values.get(f"<{name[2:-2]}>")
            if value is not None and getattr(obj, name) is not value:
                setattr(obj, name, value)


def _cells(function: Any) -> dict[str, CellType]:
    return dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))


class _Cell(Codec):
    """The variables that closures share."""

    kind = "cell"
    exact = (CellType,)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        try:
            return Node("cell", plan.type_name, None, [walk.ref(obj.cell_contents)])
        except ValueError:
            return Node("cell", plan.type_name, "empty")

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        try:
            value = obj.cell_contents
        except ValueError:
            return
        for ref in node.children:
            pairing.pair(ref, value)

    def make(self, build: Build, node: Node) -> Any:
        return CellType()

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        if node.children:
            value = build.value(node.children[0])
            obj.cell_contents = value
        else:
            del obj.cell_contents


class _Method(Codec):
    """Bound methods: the object they are bound to is state."""

    kind = "method"
    exact = (MethodType,)
    in_place = False

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        return Node(
            "method", plan.type_name, None, [walk.ref(obj.__self__), walk.ref(obj.__func__)]
        )

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        pairing.pair(node.children[0], obj.__self__)
        pairing.pair(node.children[1], obj.__func__)

    def needs(self, node: Node) -> Iterable[Ref]:
        return node.children

    def make(self, build: Build, node: Node) -> Any:
        bound, function = build.values(node.children)
        live = build.adopted()
        if live is not None and live.__self__ is bound and live.__func__ is function:
            return live
        return MethodType(function, bound)


class _Builtin(Codec):
    """Functions written in C: by name, or by the object they are bound to."""

    kind = "builtin"
    exact = (BuiltinFunctionType, MethodWrapperType, MethodDescriptorType, WrapperDescriptorType)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        owner = getattr(obj, "__self__", None)
        name = _public_name(obj)
        if name is not None:
            return Node("builtin", plan.type_name, name)
        if owner is not None and not isinstance(owner, ModuleType):
            return Node("builtin", plan.type_name, obj.__name__, [walk.ref(owner)])
        return Node("builtin", plan.type_name, _member_name(obj))

    def accepts(self, node: Node, obj: Any) -> bool:
        if node.children:
            return bool(getattr(obj, "__name__", None) == node.payload)
        return (_public_name(obj) or _member_name(obj)) == node.payload

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        for ref in node.children:
            pairing.pair(ref, obj.__self__)

    def needs(self, node: Node) -> Iterable[Ref]:
        return node.children

    def make(self, build: Build, node: Node) -> Any:
        if node.payload is None:
            raise Unbuildable(f"a {node.type_name} has no name under which it could be found")
        if not node.children:
            return build.lookup(str(node.payload))
        return getattr(build.value(node.children[0]), str(node.payload))


#: Modules that export functions under another name than the one they give themselves.
_EXPORTERS = ("torch", "torch.nn.functional", "torch.linalg", "torch.special", "torch.fft")


def _public_name(obj: Any) -> str | None:
    found = importable(obj)
    short = str(getattr(obj, "__name__", ""))
    for module in _EXPORTERS if found is None else ():
        if namespace(module).get(short) is obj:
            return f"{module}:{short}"
    return found


def _member_name(obj: Any) -> str | None:
    owner = getattr(obj, "__objclass__", None)
    return None if owner is None else f"{function_name(owner)}.{obj.__name__}"


class _Module(Codec):
    """Modules: always the live one; a project's globals are roots of their own."""

    kind = "module"
    bases = (ModuleType,)

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        return Node("module", plan.type_name, str(vars(obj).get("__name__")))

    def accepts(self, node: Node, obj: Any) -> bool:
        return bool(vars(obj).get("__name__") == node.payload)

    def make(self, build: Build, node: Node) -> Any:
        return build.lookup(f"{node.payload!s}:")


CODECS: tuple[Codec, ...] = (
    _Function(),
    _Cell(),
    _Method(),
    _Builtin(),
    _Module(),
)
