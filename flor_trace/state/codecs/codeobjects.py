"""Finds the code of a nested function from its qualified name and first line."""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType, FunctionType

from flor_trace.hints import Any
from flor_trace.state.naming import namespace


def find_code(name: str, line: object) -> CodeType | None:
    """Return the code of ``"module:outer.<locals>.inner"`` that begins at `line`, or None."""
    module_name, _, qualname = name.partition(":")
    for code in codes_of(module_name):
        if code.co_qualname == qualname and code.co_firstlineno == line:
            return code
    return None


def codes_of(module_name: str) -> Iterator[CodeType]:
    """Give the code of the functions and methods of a module, and of those defined in them."""
    return _codes(namespace(module_name), module_name)


def _codes(space: dict[str, Any], module_name: str) -> Iterator[CodeType]:
    pending: list[Any] = list(space.values())
    seen: set[int] = set()
    for value in pending:
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, CodeType):
            yield value
            pending.extend(value.co_consts)
        elif isinstance(value, FunctionType) and value.__module__ == module_name:
            pending.append(value.__code__)
        elif isinstance(value, type) and value.__module__ == module_name:
            pending.extend(vars(value).values())
        elif isinstance(value, staticmethod | classmethod):
            pending.append(value.__func__)
        elif isinstance(value, property):
            pending.extend((value.fget, value.fset, value.fdel))
