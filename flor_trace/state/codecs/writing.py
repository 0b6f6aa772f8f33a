"""Writes saved contents into live dicts, and tells whether what is there is what was saved."""

from __future__ import annotations

from collections import OrderedDict

from flor_trace.errors import RestoreError
from flor_trace.hints import Any
from flor_trace.state.graph import ATOM_TYPES


def same(one: Any, other: Any) -> bool:
    """Say whether two values are one object, or equal atoms of one type."""
    if one is other:
        return True
    if type(one) is not type(other) or type(one) not in ATOM_TYPES:
        return False
    return bool(one == other) and repr(one) == repr(other)


def write_dict(obj: dict[Any, Any], pairs: list[tuple[Any, Any]]) -> None:
    """Make the dict hold exactly these pairs, in this order, keeping its identity."""
    ordered = isinstance(obj, OrderedDict)
    base: Any = OrderedDict if ordered else dict
    keys = list(base.__iter__(obj))
    if len(keys) != len(pairs) or not all(map(same, keys, (key for key, _ in pairs))):
        base.clear(obj)
    for key, value in pairs:
        base.__setitem__(obj, key, value)
    if len(obj) != len(pairs):
        raise RestoreError(
            f"a {type(obj).__qualname__} of {len(pairs)} saved keys has only {len(obj)} after it "
            "was filled: keys that were different are equal now. Check the __eq__ and __hash__ of "
            "the class of its keys."
        )
