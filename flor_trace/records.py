"""Plain classes of fields, as `dataclasses` makes them, at a fraction of its start-up cost."""

from __future__ import annotations

from operator import attrgetter

TYPE_CHECKING = False

if TYPE_CHECKING:
    from dataclasses import asdict, dataclass, field, replace
else:
    # `dataclasses` imports `inspect`, and compiles several methods for every class: together a
    # third of what it costs to start recording.  Here only `__init__` is compiled, when the first
    # object is made.

    class _Field:
        __slots__ = ("default_factory",)

        def __init__(self, default_factory):
            self.default_factory = default_factory

    def field(*, default_factory):
        """Say how the default of a field is made for each object."""
        return _Field(default_factory)

    def dataclass(cls=None, /, *, frozen=False, slots=False, eq=True):
        """Turn the annotations of a class into fields; the arguments are those of dataclasses."""
        if cls is None:
            return lambda cls: _made(cls, frozen, slots, eq)
        return _made(cls, frozen, slots, eq)

    def _made(cls, frozen, slots, eq):
        names = tuple(vars(cls).get("__annotations__", ()))
        defaults = {name: cls.__dict__[name] for name in names if name in cls.__dict__}
        own = dict(cls.__dict__)
        for name, default in defaults.items():
            if slots or type(default) is _Field:
                del own[name]
        own["__match_args__"] = names
        own["__qualname__"] = cls.__qualname__
        own.setdefault("__repr__", _repr)
        if eq:
            _add_comparison(own, names, frozen)
        if frozen:
            own["__setattr__"], own["__delattr__"] = _set_refused, _delete_refused
        if slots:
            own["__slots__"] = names
        if frozen and slots:
            own["__getstate__"], own["__setstate__"] = _get_state, _set_state
        own.pop("__dict__", None)
        own.pop("__weakref__", None)
        made = type(cls)(cls.__name__, cls.__bases__, own)
        made.__init__ = _first_init(made, names, defaults, frozen)
        return made

    def _add_comparison(own, names, frozen):
        values = attrgetter(*names) if names else _nothing

        def __eq__(self, other):  # noqa: N807
            if other.__class__ is not self.__class__:
                return NotImplemented
            return values(self) == values(other)

        def __hash__(self):  # noqa: N807
            return hash(values(self))

        own.setdefault("__eq__", __eq__)
        own.setdefault("__hash__", __hash__ if frozen else None)

    def _nothing(self):
        return ()

    def _first_init(made, names, defaults, frozen):
        """Return an ``__init__`` that puts the compiled one in its place when it is called."""

        def __init__(self, *args, **kwargs):  # noqa: N807
            if made.__init__ is __init__:
                made.__init__ = _compiled_init(made, names, defaults, frozen)
            made.__init__(self, *args, **kwargs)

        return __init__

    def _compiled_init(made, names, defaults, frozen):
        space = {"_set": object.__setattr__}
        given, body = ["self"], []
        for name in names:
            value = name
            if name in defaults:
                default = defaults[name]
                if type(default) is _Field:
                    space[f"_make_{name}"], default = default.default_factory, space
                    value = f"_make_{name}() if {name} is _missing else {name}"
                space[f"_default_{name}"] = default
                given.append(f"{name}=_default_{name}")
            else:
                given.append(name)
            body.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
        space["_missing"] = space
        text = f"def __init__({', '.join(given)}):\n  " + "\n  ".join(body or ["pass"])
        # Not the text: executing that makes the interpreter forget that SIGINT ended the program.
        exec(compile(text, "<fields>", "exec"), space)
        init = space["__init__"]
        init.__qualname__ = f"{made.__qualname__}.__init__"
        init.__module__ = made.__module__
        return init

    def _repr(self):
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__qualname__}({shown})"

    def _set_refused(self, name, value):
        raise AttributeError(f"cannot assign to field {name!r} of a {type(self).__qualname__}")

    def _delete_refused(self, name):
        raise AttributeError(f"cannot delete field {name!r} of a {type(self).__qualname__}")

    def _get_state(self):
        return [getattr(self, name) for name in self.__match_args__]

    def _set_state(self, state):
        for name, value in zip(self.__match_args__, state, strict=True):
            object.__setattr__(self, name, value)

    def replace(self, **changes):
        """Return a copy with some fields changed."""
        for name in self.__match_args__:
            changes.setdefault(name, getattr(self, name))
        return type(self)(**changes)

    def asdict(self):
        """Return the fields by name; records inside of them are turned into dicts, too."""
        return {name: _plain(getattr(self, name)) for name in self.__match_args__}

    def _plain(value):
        if type(value) in (list, tuple):
            return type(value)([_plain(item) for item in value])
        if type(value) is dict:
            return {key: _plain(item) for key, item in value.items()}
        return asdict(value) if hasattr(value, "__match_args__") else value


__all__ = ["asdict", "dataclass", "field", "replace"]
