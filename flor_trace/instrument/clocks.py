"""Find the names that hold readings of a clock."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

from flor_trace.instrument.names import target_names
from flor_trace.records import dataclass, field

_TIME = {
    f"time.{name}"
    for name in (
        *("time", "perf_counter", "monotonic", "process_time", "thread_time"),
        *("time_ns", "perf_counter_ns", "monotonic_ns", "process_time_ns", "thread_time_ns"),
        *("ctime", "asctime", "strftime", "localtime", "gmtime", "clock_gettime"),
    )
}
_DATES = {
    f"datetime.{name}"
    for name in ("datetime.now", "datetime.utcnow", "datetime.today", "date.today")
}
_MODULES = frozenset({"time", "datetime", "timeit"})
#: Calls that read a clock, by the full name of what is called.
READS_A_CLOCK = frozenset({*_TIME, *_DATES, "timeit.default_timer"})

_CONVERSIONS = {"round", "int", "float", "str", "max", "min", "abs", "sum", "format", "sorted"}
_METHODS = {"mean", "median", "std", "average", "sum", "diff", "array", "asarray", "format"}
_DATE_MAKERS = {"fromtimestamp", "timedelta", "localtime", "strftime"}
#: Functions, and attributes called like one, whose result is a reading when an argument is one.
_PASSES_ON = frozenset(_CONVERSIONS)
_ATTRIBUTE_PASSES_ON = frozenset(_METHODS | _DATE_MAKERS | {"max", "min", "round"})
#: Calls that only hold what they are given, whose other contents are to stay comparable.
_HOLDERS = frozenset({"dict", "list", "tuple", "set", "zip", "enumerate"})
_PROPERTIES = frozenset({"property", "cached_property"})

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(slots=True)
class _Facts:
    """The statements of a module that can hand a reading on, gathered in one walk."""

    imported: dict[str, str] = field(default_factory=dict)  #: local name -> full name
    moves: list[tuple[str, ast.expr]] = field(default_factory=list)  #: what is stored under a name
    returns: list[tuple[str, ast.expr]] = field(default_factory=list)  #: function -> value


def clock_names(tree: ast.Module) -> frozenset[str]:
    """Return the names, attributes and constant keys that hold readings of a clock.

    The analysis goes by name: ``self.seconds`` and ``seconds`` are the same, wherever they occur
    in the module.  It follows assignments, arithmetic, f-strings, ``append``, conversions, the
    results of the module's own functions and those of any function that is given a duration,
    until nothing new is found.
    """
    facts = _gather(tree)
    if _MODULES.isdisjoint(name.partition(".")[0] for name in facts.imported.values()):
        return frozenset()
    taint = _Taint(facts.imported)
    while taint.spread(facts):
        pass
    return frozenset(taint.names)


def _gather(tree: ast.Module) -> _Facts:
    facts = _Facts()
    pending: list[tuple[ast.AST, _Function | None]] = [(tree, None)]
    while pending:
        node, function = pending.pop()
        if isinstance(node, _FUNCTIONS):
            function = node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            facts.imported.update(_imports(node))
        elif isinstance(node, ast.Return) and node.value is not None and function is not None:
            kept = facts.moves if _is_property(function) else facts.returns
            kept.append((function.name, node.value))
        facts.moves.extend(_moves(node))
        pending.extend((child, function) for child in ast.iter_child_nodes(node))
    return facts


def _is_property(function: _Function) -> bool:
    return any(_last_name(decorator) in _PROPERTIES for decorator in function.decorator_list)


def _imports(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            if node.module is not None and node.level == 0:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"
        elif alias.asname is not None:
            yield alias.asname, alias.name
        else:
            top = alias.name.partition(".")[0]
            yield top, top


def _moves(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield (name, value) for everything a node stores under a name, an attribute or a key."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _pairs(target, node.value)
    elif isinstance(node, ast.AugAssign | ast.NamedExpr | ast.AnnAssign):
        if node.value is not None:
            yield from _pairs(node.target, node.value)
    elif isinstance(node, ast.For | ast.comprehension) and isinstance(node.target, ast.Name):
        yield node.target.id, node.iter
    elif isinstance(node, ast.Dict):
        yield from _items(node)
    elif isinstance(node, ast.Call):
        yield from _given(node)


def _items(node: ast.Dict) -> Iterator[tuple[str, ast.expr]]:
    for key, value in zip(node.keys, node.values, strict=True):
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield key.value, value


def _given(node: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    """``times.append(x)`` stores under ``times``, ``dict(seconds=x)`` under ``seconds``."""
    if isinstance(node.func, ast.Attribute) and node.func.attr in ("append", "insert", "add"):
        holder = _last_name(node.func.value)
        if holder is not None and node.args:
            yield holder, node.args[-1]
    elif isinstance(node.func, ast.Name) and node.func.id == "dict":
        for keyword in node.keywords:
            if keyword.arg is not None:
                yield keyword.arg, keyword.value


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Match the parts of a target with the parts of a value as far as both are displays."""
    if isinstance(target, ast.Tuple | ast.List):
        same = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts)
        if same and not any(isinstance(part, ast.Starred) for part in target.elts):
            for one, its in zip(target.elts, value.elts, strict=True):  # type: ignore[attr-defined]
                yield from _pairs(one, its)
        else:
            for name in target_names(target):
                yield name, value
        return
    last = _last_name(target)
    if last is not None:
        yield last, value


def _last_name(node: ast.expr) -> str | None:
    """Return ``x`` for ``x``, ``self.x``, ``d["x"]`` and ``x[i]``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript):
        if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            return node.slice.value
        return _last_name(node.value)
    return None


class _Taint:
    """Names and functions known to hold or return readings so far."""

    def __init__(self, imported: dict[str, str]) -> None:
        self.imported = imported
        self.names: set[str] = set()
        self.functions: set[str] = set()
        self.durations: set[str] = set()  #: the names that hold differences of readings

    def spread(self, facts: _Facts) -> bool:
        """Go over all moves once; tell whether that found anything new."""
        before = self._size()
        self.names.update(name for name, value in facts.moves if self.is_reading(value))
        self.functions.update(name for name, value in facts.returns if self.is_reading(value))
        self.durations.update(name for name, value in facts.moves if self.is_duration(value))
        return before != self._size()

    def _size(self) -> tuple[int, int, int]:
        return len(self.names), len(self.functions), len(self.durations)

    def is_duration(self, node: ast.expr) -> bool:
        """Tell whether an expression's value is a difference of readings, or made from one."""
        pending = [node]
        while pending:
            part = pending.pop()
            subtracts = isinstance(part, ast.BinOp) and isinstance(part.op, ast.Sub)
            if _last_name(part) in self.durations or (subtracts and self.is_reading(part)):
                return True
            pending.extend(_made_of(part))
        return False

    def is_reading(self, node: ast.expr | None) -> bool:
        """Tell whether an expression's value is a reading, or is made from one."""
        pending: list[ast.expr] = [node] if node is not None else []
        while pending:
            part = pending.pop()
            if self._is_known(part):
                return True
            pending.extend(_made_of(part))
        return False

    def _is_known(self, part: ast.expr) -> bool:
        if isinstance(part, ast.Call):
            return self._gives_reading(part)
        if isinstance(part, ast.Name):
            # A module is no reading, even where an attribute of the same name is one.
            return part.id in self.names and part.id not in self.imported
        return isinstance(part, ast.Attribute | ast.Subscript) and _last_name(part) in self.names

    def _gives_reading(self, call: ast.Call) -> bool:
        full = self._full_name(call.func)
        if full in READS_A_CLOCK:
            return True
        name = _last_name(call.func) or ""
        return name in self.functions or (name not in _HOLDERS and self._given_duration(call, name))

    def _given_duration(self, call: ast.Call, name: str) -> bool:
        """A rate, a text, an estimate of the rest: but an instance of a class is more than that."""
        given = (*call.args, *(keyword.value for keyword in call.keywords))
        return not name[:1].isupper() and any(map(self.is_duration, given))

    def _full_name(self, node: ast.expr) -> str | None:
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.imported:
            return None
        return ".".join([self.imported[node.id], *reversed(parts)])


def _made_of(node: ast.expr) -> list[ast.expr]:
    """Return the parts of an expression that its value is made from."""
    find = _PARTS.get(type(node))
    return find(node) if find is not None else []


def _carried(call: ast.Call) -> list[ast.expr]:
    """Conversions and reductions carry their arguments; a method of a reading gives a reading."""
    if isinstance(call.func, ast.Name):
        return list(call.args) if call.func.id in _PASSES_ON else []
    if isinstance(call.func, ast.Attribute):
        carries = call.func.attr in _ATTRIBUTE_PASSES_ON
        return [call.func.value, *(call.args if carries else ())]
    return []


_PARTS: dict[type, Callable[[Any], list[ast.expr]]] = {
    ast.BinOp: lambda node: [node.left, node.right],
    ast.UnaryOp: lambda node: [node.operand],
    ast.Starred: lambda node: [node.value],
    ast.FormattedValue: lambda node: [node.value],
    ast.NamedExpr: lambda node: [node.value],
    ast.Await: lambda node: [node.value],
    ast.JoinedStr: lambda node: node.values,
    ast.BoolOp: lambda node: node.values,
    ast.Tuple: lambda node: node.elts,
    ast.List: lambda node: node.elts,
    ast.ListComp: lambda node: [node.elt],
    ast.GeneratorExp: lambda node: [node.elt],
    ast.IfExp: lambda node: [node.body, node.orelse],
    ast.Call: _carried,
}
