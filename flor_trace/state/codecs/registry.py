"""Picks the codec of an object by its type, and of a node by its kind."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from types import MemberDescriptorType
from weakref import WeakKeyDictionary

from flor_trace.errors import RestoreError
from flor_trace.state.codecs import (
    buffers,
    classes,
    containers,
    functions,
    generators,
    innards,
    instances,
    iterators,
    kept,
    packed,
    randoms,
    reduced,
    values,
    views,
    weak,
)
from flor_trace.state.codecs.base import Codec, Plan
from flor_trace.state.codecs.plugins import PLUGINS
from flor_trace.state.naming import namespace, type_name

_by_kind: dict[str, Codec] = {}
_exact: dict[type, Codec] = {}
_bases: dict[type, Codec] = {}
_plans: WeakKeyDictionary[type, Plan] = WeakKeyDictionary()
_loaded: set[str] = set()


def _add(codecs: tuple[Codec, ...]) -> None:
    for codec in codecs:
        for kind in (codec.kind, *codec.also):
            _by_kind[kind] = codec
        _exact.update(dict.fromkeys((*codec.exact, *codec.bases), codec))
        _bases.update(dict.fromkeys(codec.bases, codec))


def load_libraries() -> None:
    """Take in the codecs of the libraries that the program has imported by now."""
    for library, (sign, load) in _LIBRARIES.items():
        # The sign is defined late in the module: without it, the import is not over.
        if library not in _loaded and sign in namespace(library):
            _loaded.add(library)
            _add(load(library))
            _plans.clear()
    for what, codecs in PLUGINS.due():
        wrong = _clash(codecs)
        if wrong is None:
            _add(codecs)
            _plans.clear()
        else:
            PLUGINS.problems.append((what, wrong))


def _clash(codecs: tuple[Codec, ...]) -> str | None:
    """Return what the codecs of others would take from those that are there, or None."""
    kinds = [kind for codec in codecs for kind in (codec.kind, *codec.also)]
    for kind in kinds:
        if kind in _by_kind or kinds.count(kind) > 1:
            return f"there is a codec of the kind {kind!r} already"
    for cls in [cls for codec in codecs for cls in (*codec.exact, *codec.bases)]:
        if cls in _exact or cls is object:
            return f"{type_name(cls)} has a codec already"
    return None


def _numpy(_: str) -> tuple[Codec, ...]:
    from flor_trace.state.codecs import numpy_arrays  # noqa: PLC0415

    return numpy_arrays.CODECS


def _numpy_random(_: str) -> tuple[Codec, ...]:
    from flor_trace.state.codecs import numpy_random  # noqa: PLC0415

    return numpy_random.CODECS


def _torch(_: str) -> tuple[Codec, ...]:
    from flor_trace.state.codecs import torch_tensors  # noqa: PLC0415

    return torch_tensors.CODECS


def _dataloader(name: str) -> tuple[Codec, ...]:
    from flor_trace.state.codecs import dataloader  # noqa: PLC0415

    return dataloader.codecs(sys.modules[name])


_LIBRARIES: dict[str, tuple[str, Callable[[str], tuple[Codec, ...]]]] = {
    "_csv": ("reader", innards.of_csv),
    "_struct": ("Struct", values.of_module),
    "array": ("array", buffers.of_module),
    "datetime": ("datetime", values.of_module),
    "decimal": ("Decimal", values.of_module),
    "fractions": ("Fraction", values.of_module),
    "pathlib": ("Path", values.of_module),
    "uuid": ("uuid4", values.of_module),
    "zoneinfo": ("ZoneInfo", values.of_module),
    "numpy": ("ndarray", _numpy),
    "numpy.random": ("default_rng", _numpy_random),
    "torch": ("compile", _torch),
    "torch.utils.data.dataloader": ("_SingleProcessDataLoaderIter", _dataloader),
}


def codec_of_kind(kind: str) -> Codec:
    """Return the codec that wrote nodes of this kind; raise `RestoreError` if there is none."""
    try:
        return _by_kind[kind]
    except KeyError:
        raise RestoreError(
            f"the saved state holds a {kind!r}, which this process cannot read. Its library is "
            "not imported yet, or a newer flor_trace saved it."
        ) from None


def plan_for(cls: type) -> Plan:
    """Return how instances of the class are captured; the answer is remembered."""
    plan = _plans.get(cls)
    if plan is None:
        codec = _choose(cls)
        plan = Plan(codec, type_name(cls), cls.__dictoffset__ != 0, _slots(cls))
        _plans[cls] = plan
    return plan


def _choose(cls: type) -> Codec:
    codec = _exact.get(cls) or (None if issubclass(cls, enum.Enum) else kept.choose(cls))
    if codec is not None:
        return codec
    if issubclass(cls, type):
        return _exact[type]  # whatever its metaclass, and even if `typing` defines that
    if "n_sequence_fields" in vars(cls) or kept.describes_itself(cls):
        return reduced.REDUCED  # among them time.struct_time: a tuple with hidden fields
    for base in cls.__mro__[1:]:
        codec = _bases.get(base)
        if codec is not None:
            return codec if instances.adds_only_attributes(cls, base) else reduced.REDUCED
    plain = instances.adds_only_attributes(cls, object)
    return instances.INSTANCE if plain else reduced.REDUCED


def _slots(cls: type) -> tuple[tuple[str, object], ...]:
    found: dict[str, object] = {}
    for base in cls.__mro__:
        if "__slots__" in vars(base):
            for name, member in vars(base).items():
                if type(member) is MemberDescriptorType:
                    found.setdefault(name, member)
    return tuple(found.items())


for _module in (
    buffers,
    classes,
    containers,
    functions,
    innards,
    generators,
    instances,
    iterators,
    kept,
    packed,
    randoms,
    reduced,
    values,
    views,
    weak,
):
    _add(_module.CODECS)
