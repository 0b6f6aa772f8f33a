"""Find the configuration of a run: what the program's names hold when its first loop begins."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MemberDescriptorType

from flor_trace.hints import Any
from flor_trace.runtime.values import scalar
from flor_trace.types import Scalar, StackFrame

#: Part of a name that marks its value as a secret; ``max_tokens`` and ``tokenizer`` are none.
_SECRET = re.compile(r"passw(or)?d|secret|api_?key|credential|private_?key|token(?![a-z])")
REDACTED = "‹redacted›"

#: Dictionaries with more entries are data, not configuration.
MAX_ENTRIES = 64
CONFIG_NAMES = ("config", "cfg", "conf", "args", "opt", "opts", "hparams", "params", "settings")


def configuration(frames: Iterable[StackFrame], varying: Collection[str] = ()) -> dict[str, Scalar]:
    """Name and value of every configuration scalar that the frames can see.

    Parsed arguments come first, then dataclasses and dictionaries that hold configuration, then
    plain scalars, each from the innermost frame outwards and last the module's globals.  The
    first value found under a name is kept; secrets are redacted.  Plain scalars called as in
    `varying`, the names that loops store, are variables and not configuration.
    """
    scopes = list(_scopes(frames))
    found: dict[str, Scalar] = {}
    for reader in (_namespaces, _holders, _scalars):
        for scope in scopes:
            for name, value in reader(scope):
                if reader is not _scalars or name not in varying:
                    found.setdefault(name, _redacted(name, value))
    return found


def _scopes(frames: Iterable[StackFrame]) -> Iterator[Mapping[str, Any]]:
    modules: dict[int, Mapping[str, Any]] = {}
    for _, module_globals, names, _ in frames:
        modules[id(module_globals)] = module_globals
        yield names
    yield from modules.values()


def _namespaces(scope: Mapping[str, Any]) -> Iterator[tuple[str, Scalar]]:
    argparse = sys.modules.get("argparse")
    if argparse is None:
        return
    for value in list(scope.values()):
        if issubclass(type(value), argparse.Namespace):
            yield from _scalars(object.__getattribute__(value, "__dict__"))


def _holders(scope: Mapping[str, Any]) -> Iterator[tuple[str, Scalar]]:
    for name, value in list(scope.items()):
        kind = type(value)  # isinstance() would ask the objects of the program
        if hasattr(kind, "__dataclass_fields__"):
            from dataclasses import fields  # noqa: PLC0415 - the program has imported it

            yield from _scalars({f.name: _field(value, kind, f.name) for f in fields(kind)})
        elif name.lower() in CONFIG_NAMES:
            held = value if kind is dict else _attributes(value)
            if len(held) <= MAX_ENTRIES:
                yield from _scalars({k: v for k, v in held.items() if isinstance(k, str)})


def _attributes(value: Any) -> dict[Any, Any]:
    """What an object of a plain class holds, read past whatever its class does."""
    try:
        held = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return held if type(held) is dict else {}


def _field(value: Any, kind: type, name: str) -> Any:
    """What a dataclass holds under `name`, without running any code of its class."""
    member = next((each.__dict__[name] for each in kind.__mro__ if name in each.__dict__), None)
    try:
        if type(member) is MemberDescriptorType:
            return member.__get__(value)
        return object.__getattribute__(value, "__dict__").get(name)
    except AttributeError:  # a slot without a value, or no dictionary
        return None


def _scalars(mapping: Mapping[str, Any]) -> Iterator[tuple[str, Scalar]]:
    for name, value in list(mapping.items()):
        if name.startswith("_"):
            continue
        item = scalar(value)
        if item is not None:
            yield name, item


def _redacted(name: str, value: Scalar) -> Scalar:
    found = _SECRET.search(name.lower())
    if found is None or not value or (found[0] == "token" and not isinstance(value, str)):
        return value
    return REDACTED
