"""Qualified names of types and functions, and the way back from a name to the live thing."""

from __future__ import annotations

import importlib
import sys
import types

from flor_trace.errors import RestoreError
from flor_trace.hints import Any

#: Types that say they are built in and yet are not there under their name.
_UNEXPORTED: dict[str, type] = {
    cls.__qualname__: cls
    for cls in vars(types).values()
    if isinstance(cls, type) and cls.__module__ == "builtins" and cls.__qualname__ != "object"
}
_MODULE = type.__dict__["__module__"]
_QUALNAME = type.__dict__["__qualname__"]


def namespace(module: str) -> dict[str, Any]:
    """Return the globals of a loaded module, or an empty dict."""
    found = getattr(sys.modules.get(module), "__dict__", None)
    return found if isinstance(found, dict) else {}


def type_name(cls: type) -> str:
    """Return ``"module:qualname"`` of a class, past any metaclass that would answer otherwise."""
    return f"{_MODULE.__get__(cls)}:{_QUALNAME.__get__(cls)}"


def function_name(function: Any) -> str | None:
    """Return ``"module:qualname"`` of a function or class, or None when it has no such name."""
    module = getattr(function, "__module__", None)
    qualname = getattr(function, "__qualname__", None)
    if isinstance(module, str) and isinstance(qualname, str):
        return f"{module}:{qualname}"
    return None


def importable(obj: Any) -> str | None:
    """Return the name under which looking it up gives the very object, or None."""
    name = function_name(obj)
    if name is None:
        return None
    try:
        return name if lookup(name) is obj else None
    except RestoreError:
        return None


def lookup(name: str) -> Any:
    """Return what `name` means in this process.

    Only modules that are loaded, parts of loaded packages, and the standard library are looked
    into. Raises `RestoreError` when there is no such thing.
    """
    module_name, _, qualname = name.partition(":")
    value: Any = _module(module_name)
    if module_name == "builtins" and qualname in _UNEXPORTED:
        return _UNEXPORTED[qualname]
    for part in qualname.split(".") if qualname else ():
        try:
            value = getattr(value, part)
        except AttributeError:
            raise RestoreError(
                f"{name} does not exist in this process: {part!r} is not found. The saved state "
                "needs it; restore under the commit that saved it."
            ) from None
    return value


def _module(name: str) -> Any:
    if name in sys.modules:
        return sys.modules[name]
    top = name.partition(".")[0]
    if top in sys.modules or top in sys.stdlib_module_names:
        try:
            return importlib.import_module(name)
        except ImportError:
            pass
    raise RestoreError(
        f"the module {name} is not loaded. The saved state holds objects of it; run the program's "
        "imports before restoring."
    )
