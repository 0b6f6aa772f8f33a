"""Read a probe and turn it into something that can be asked of a frame of the past."""

from __future__ import annotations

import ast
import builtins
import dis
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Literal

from flor_trace._speedups import digest
from flor_trace.errors import ProbeError
from flor_trace.replay.selection import Selection, read_selection

Kind = Literal["expression", "variable", "function"]
Beside = Literal["", "before", "after"]


@dataclass(frozen=True, slots=True)
class Probe:
    """A value wanted from the past.

    An *expression* over the names that the program's frame has at that place; a *variable*, one
    of those names; or a *function* of a probe file, whose parameters are such names.
    """

    name: str  #: the column it gives
    kind: Kind
    text: str  #: the expression, the variable's name, or the source of the probe file
    at: str | None = None  #: dimension; None: the main loop, or the loop that stores the variable
    start: bool = False  #: at the start of an iteration instead of its end
    path: str | None = None  #: of the probe file
    beside: Beside = ""  #: `at` is not a dimension but a statement: before or after it
    pick: str = ""  #: which iterations of `at`, as `read_selection` reads it; empty: all
    carried: str = (
        ""  #: the statements of today's code that define the variable, if they were asked
    )

    @property
    def selection(self) -> Selection:
        """Which iterations of the place are asked at."""
        return read_selection(self.pick)

    @property
    def definition(self) -> dict[str, Any]:
        """What makes two probes the same: results are kept under it."""
        later = ("beside", "pick", "carried")  # earlier releases wrote definitions without them
        return {k: v for k, v in asdict(self).items() if k != "path" and (v or k not in later)}

    @property
    def identity(self) -> str:
        """Short digest of the definition."""
        return digest(repr(sorted(self.definition.items())).encode()).hex()[:16]


def parse(text: str, *, at: str | None = None, probe_file: Path | None = None) -> Probe:
    """Read ``name=expression`` or ``name``.

    A bare name is a function of `probe_file` if it has one of that name, else a variable.

    Raises:
        ProbeError: for a syntax error, with its position.

    """
    place = _place(at)
    name, equals, expression = text.partition("=")
    name = name.strip()
    if equals and not expression.startswith("=") and name.isidentifier():
        _check_expression(expression.strip())
        return Probe(name, "expression", expression.strip(), **place)
    if not text.strip().isidentifier():
        raise ProbeError(
            f"cannot read the probe {text!r}: write NAME=EXPRESSION, the NAME of a variable of the "
            "recorded program, or that of a function in a probe file"
        )
    if probe_file is not None:
        source = _read(probe_file)
        if name in functions_of(source, str(probe_file)):
            return Probe(name, "function", source, path=str(probe_file), **place)
    return Probe(name, "variable", name, **place)


def _place(at: str | None) -> dict[str, Any]:
    if at is None:
        return {}
    dimension, _, where = at.partition(":")
    name = re.match(r"[\w@]*", dimension)
    assert name is not None  # it may be empty
    pick = dimension[name.end() :].strip()
    if dimension.strip() in ("before", "after") and where.strip():
        return {"at": where.strip(), "beside": dimension.strip()}
    if dimension.endswith(".py") and where.isdigit():
        return {"at": at, "beside": "after"}
    if where not in ("", "start", "end") or not name[0] or (pick and pick[0] not in "%="):
        raise ProbeError(
            f"cannot read --at {at!r}: write DIMENSION, DIMENSION:start or DIMENSION:end, "
            "DIMENSION=3..7 or DIMENSION%100, 'after: STATEMENT', 'before: STATEMENT' or "
            "FILE.py:LINE"
        )
    read_selection(pick)
    return {"at": name[0], "start": where == "start", "pick": pick}


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProbeError(f"cannot read the probe file {path}: {error}") from error


def _check_expression(text: str) -> None:
    try:
        compile(text, "<probe>", "eval")  # sees more than a parser: `yield`, repeated arguments
    except SyntaxError as error:
        caret = " " * ((error.offset or 1) - 1) + "^"
        raise ProbeError(
            f"the probe is not an expression: {error.msg}\n    {text}\n    {caret}"
        ) from None


def functions_of(source: str, path: str) -> dict[str, ast.FunctionDef]:
    """The functions at the top level of a probe file."""
    try:
        tree = ast.parse(source, path)
    except SyntaxError as error:
        raise ProbeError(
            f"the probe file {path} has a syntax error in line {error.lineno}: {error.msg}\n"
            f"    {(error.text or '').rstrip()}"
        ) from None
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def names_needed(probe: Probe) -> tuple[str, ...]:
    """The names that the program must provide, in order of first use."""
    if probe.kind == "variable":
        return (probe.text,)
    if probe.kind == "expression":
        return tuple(free_names(ast.parse(probe.text, mode="eval")))
    arguments = functions_of(probe.text, probe.path or "")[probe.name].args
    positional = [*arguments.posonlyargs, *arguments.args]
    required = positional[: len(positional) - len(arguments.defaults)]
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return (*(a.arg for a in required), *(a.arg for a, default in keywords if default is None))


def free_names(tree: ast.Expression) -> list[str]:
    """Names an expression reads from outside of itself, builtins left out."""
    code = compile(tree, "<probe>", "eval")
    given = set(_names(code, "STORE_NAME", "STORE_GLOBAL"))  # by ``:=``
    used = _names_read(code)
    return [name for name in used if name not in given and not hasattr(builtins, name)]


def _names_read(code: CodeType) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_names(code, "LOAD_NAME", "LOAD_GLOBAL")))


def _names(code: CodeType, *operations: str) -> Sequence[str]:
    """Names that such instructions of the code have, nested code included."""
    found = [
        instruction.argval
        for instruction in dis.get_instructions(code)
        if instruction.opname in operations
    ]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found.extend(_names(constant, *operations))
    return found


class Question:
    """A probe, ready to be asked of a frame."""

    def __init__(self, probe: Probe, statements: str | None = None) -> None:
        self.probe = probe
        self._statements = (
            compile(statements, "<probe>", "exec") if statements is not None else None
        )
        # A variable may be called like a builtin, so these are looked for as well.
        self._names = (
            () if probe.kind == "function" else _names_read(compile(probe.text, "<probe>", "eval"))
        )
        self._function = self._load() if probe.kind == "function" else None
        self._compiled: dict[tuple[str, ...], CodeType] = {}

    def ask(self, local_names: Mapping[str, Any], global_names: dict[str, Any]) -> Any:
        """Evaluate the probe; raises what the probe raises."""
        if self._statements is not None:
            # One namespace, so that functions among the statements see what the others define.
            space = {**global_names, **local_names}
            exec(self._statements, space)
            return space[self.probe.name]
        if self._function is not None:
            return self._call(self._function, local_names, global_names)
        own = tuple(name for name in self._names if name in local_names)
        code = self._compiled.get(own)
        if code is None:
            code = self._compiled[own] = _as_function(self.probe.text, own)
        return FunctionType(code, global_names)(*(local_names[name] for name in own))

    def _call(
        self,
        function: Callable[..., Any],
        local_names: Mapping[str, Any],
        global_names: Mapping[str, Any],
    ) -> Any:
        positional, named = [], {}
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            scope = local_names if name in local_names else global_names
            value = scope.get(name, parameter.default)
            if value is parameter.empty:
                raise NameError(f"name {name!r} is not defined at this place of the program")
            if parameter.kind is parameter.POSITIONAL_ONLY:
                positional.append(value)
            else:
                named[name] = value
        return function(*positional, **named)

    def _load(self) -> Callable[..., Any]:
        namespace: dict[str, Any] = {"__name__": "flor_trace_probes", "__file__": self.probe.path}
        exec(compile(self.probe.text, self.probe.path or "<probes>", "exec"), namespace)
        function: Callable[..., Any] = namespace[self.probe.name]
        return function


def _as_function(expression: str, parameters: Sequence[str]) -> CodeType:
    """The code of ``lambda parameters: expression``: comprehensions in it see the parameters."""
    tree = ast.parse(f"lambda {', '.join(parameters)}: None", "<probe>", mode="eval")
    assert isinstance(tree.body, ast.Lambda)
    tree.body.body = ast.parse(expression, "<probe>", mode="eval").body
    outer = compile(ast.fix_missing_locations(tree), "<probe>", "eval")
    return next(constant for constant in outer.co_consts if isinstance(constant, CodeType))
