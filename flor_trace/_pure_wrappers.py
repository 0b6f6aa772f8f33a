"""Callables that stand in for a function and tell somebody when it is called."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import MethodType
from typing import Any, final

_own = object.__getattribute__

#: What a `Before` answers itself; every other attribute is the function's.
_ANSWERED = (frozenset(dir(object)) - {"__doc__"}) | {"__call__", "__get__", "__wrapped__"}


def _check(role: str, value: object) -> None:
    if not callable(value):
        kind = type(value).__name__
        raise TypeError(f"the {role} must be callable, not '{kind}': pass a function")


@final
class AfterExec:
    """Runs a module with ``original``, then hands the module to ``callback``.

    Fit to take the place of a loader's bound ``exec_module``.  The callback is not called when
    ``original`` raises; what the callback raises propagates.
    """

    __slots__ = ("__weakref__", "__wrapped__", "_callback")

    __wrapped__: Callable[[Any], Any]
    _callback: Callable[[Any], object]

    def __init__(
        self, original: Callable[[Any], Any], callback: Callable[[Any], object], /
    ) -> None:
        _check("original", original)
        _check("callback", callback)
        object.__setattr__(self, "__wrapped__", original)
        object.__setattr__(self, "_callback", callback)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name!r} of an AfterExec cannot be set: make another one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name!r} of an AfterExec cannot be deleted: make another one")

    def __call__(self, module: Any, /) -> Any:
        """Return what ``original(module)`` returns."""
        try:
            result = self.__wrapped__(module)
            self._callback(module)
        except BaseException as error:
            # A bare raise adds no entry of its own, so the traceback looks as if unwrapped.
            if error.__traceback__ is not None:
                error.__traceback__ = error.__traceback__.tb_next
            raise
        return result

    def __repr__(self) -> str:
        return f"<AfterExec of {self.__wrapped__!r}>"


@final
class Before:
    """Calls ``callback`` with the positional arguments, then ``function`` with all of them.

    Binds like a function, and reads and writes of attributes other than ``__wrapped__`` reach
    the function, so that a method can be replaced without anyone noticing.
    """

    __slots__ = ("__weakref__", "__wrapped__", "_callback")

    __wrapped__: Callable[..., Any]
    _callback: Callable[..., object]

    def __init__(self, function: Callable[..., Any], callback: Callable[..., object], /) -> None:
        _check("function", function)
        _check("callback", callback)
        object.__setattr__(self, "__wrapped__", function)
        object.__setattr__(self, "_callback", callback)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Return what ``function`` returns; an exception of the callback comes first."""
        try:
            _own(self, "_callback")(*args)
            return _own(self, "__wrapped__")(*args, **kwargs)
        except BaseException as error:
            # A bare raise adds no entry of its own, so the traceback looks as if unwrapped.
            if error.__traceback__ is not None:
                error.__traceback__ = error.__traceback__.tb_next
            raise

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Return the method bound to ``instance``, or this object when read from the class."""
        if instance is not None:
            return MethodType(self, instance)
        if owner is None:
            raise TypeError("__get__(None, None) is invalid")
        return self

    def __getattribute__(self, name: str) -> Any:
        if name in _ANSWERED:
            return _own(self, name)
        return getattr(_own(self, "__wrapped__"), name)

    def __setattr__(self, name: str, value: object) -> None:
        if name == "__wrapped__":
            raise AttributeError("'__wrapped__' of a Before cannot be set: make another one")
        setattr(_own(self, "__wrapped__"), name, value)

    def __delattr__(self, name: str) -> None:
        if name == "__wrapped__":
            raise AttributeError("'__wrapped__' of a Before cannot be deleted: make another one")
        delattr(_own(self, "__wrapped__"), name)

    def __reduce__(self) -> str:
        """Return the name under which pickle and copy find this very object."""
        name: str = _own(self, "__wrapped__").__qualname__
        return name

    def __repr__(self) -> str:
        return f"<Before of {_own(self, '__wrapped__')!r}>"


@final
class Unseen:
    """Calls ``function`` where no trace or profile function sees it.

    Binds like a function.  The call of this object itself can be seen here, as its twin's cannot.
    """

    __slots__ = ("__weakref__", "__wrapped__")

    __wrapped__: Callable[..., Any]

    def __init__(self, function: Callable[..., Any], /) -> None:
        _check("function", function)
        object.__setattr__(self, "__wrapped__", function)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name!r} of an Unseen cannot be set: make another one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name!r} of an Unseen cannot be deleted: make another one")

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Return what ``function`` returns."""
        trace, profile = sys.gettrace(), sys.getprofile()
        if trace is None and profile is None:
            return self.__wrapped__(*args, **kwargs)
        sys.settrace(None)
        sys.setprofile(None)
        try:
            return self.__wrapped__(*args, **kwargs)
        finally:
            sys.setprofile(profile)
            sys.settrace(trace)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Return the method bound to ``instance``, or this object when read from the class."""
        if instance is not None:
            return MethodType(self, instance)
        if owner is None:
            raise TypeError("__get__(None, None) is invalid")
        return self

    def __repr__(self) -> str:
        return f"<Unseen of {self.__wrapped__!r}>"
