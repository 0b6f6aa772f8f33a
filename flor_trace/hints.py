"""The names of `typing` that the record path uses, without importing it: that takes too long."""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import (
        IO,
        Any,
        BinaryIO,
        ClassVar,
        Final,
        Literal,
        NamedTuple,
        NewType,
        NoReturn,
        Protocol,
        Self,
        TypeAlias,
        TypedDict,
        TypeGuard,
        cast,
    )
else:

    class _Hint:
        """Stands for a hint; nobody asks it anything."""

        __slots__ = ()

        def __getitem__(self, parameters):
            return self

        def __or__(self, other):
            return self

        __ror__ = __or__

    Any = ClassVar = Final = Literal = NoReturn = Self = TypeAlias = TypeGuard = _Hint()
    IO = BinaryIO = Any

    class Protocol:
        """A base class that adds nothing."""

        __slots__ = ()

    class TypedDict(dict):
        """A base class that adds nothing to dicts."""

        __slots__ = ()

    def NewType(name, kind):  # noqa: N802
        """Return the type itself: calling it gives the same value."""
        return kind

    def cast(kind, value):
        """Return the value."""
        return value

    class _NamedTuple(type):
        def __new__(cls, name, bases, space):
            fields = list(space.get("__annotations__", ()))
            defaults = [space[field] for field in fields if field in space]
            made = namedtuple(name, fields, defaults=defaults, module=space["__module__"])
            for key, value in space.items():
                if key not in ("__annotations__", "__qualname__", "__module__", *fields):
                    setattr(made, key, value)
            made.__qualname__ = space["__qualname__"]
            return made

    NamedTuple = type.__new__(_NamedTuple, "NamedTuple", (), {})


__all__ = [
    "IO",
    "TYPE_CHECKING",
    "Any",
    "BinaryIO",
    "ClassVar",
    "Final",
    "Literal",
    "NamedTuple",
    "NewType",
    "NoReturn",
    "Protocol",
    "Self",
    "TypeAlias",
    "TypeGuard",
    "TypedDict",
    "cast",
]
