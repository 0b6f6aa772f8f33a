"""The references of a capture in Python, and the loop that describes what they lead to."""

from __future__ import annotations

from itertools import islice

from flor_trace.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_NAN = float("nan")

#: Those that are never anything but themselves: no NaN, no length, no path that may move.
_FREE = frozenset({type(None), bool, int, type(...)})


def _plain_nan(number: complex) -> complex:
    if isinstance(number, float):
        return _NAN
    return complex(*(part if part == part else _NAN for part in (number.real, number.imag)))


class Walker:
    """Gives an atom as it is, and of other objects the id, in the order in which they are met.

    A text or bytes of more than `most` characters is no atom, nor a text that begins with one of
    the prefixes. Which classes are described without their codec is for the C twin only.
    """

    def __init__(
        self,
        parts: dict[str, Any],
        prefixes: tuple[str, ...],
        ids: dict[int, Any],
        owners: list[Any],
        most: int,
    ) -> None:
        self.objects: list[Any] = []
        self._pool: list[Any] = parts["pool"]
        self._more_ids: Callable[[int], object] = parts["more_ids"]
        self._prefixes, self._ids, self._most = prefixes, ids, most

    def __call__(self, obj: Any, /) -> Any:
        cls = type(obj)
        if cls in _FREE:
            return obj
        if cls is str:
            prefixes = self._prefixes
            if len(obj) <= self._most and not (prefixes and obj.startswith(prefixes)):
                return obj
        elif cls is float or cls is complex:
            return obj if obj == obj else _plain_nan(obj)
        elif cls is bytes and len(obj) <= self._most:
            return obj
        found = self._ids.get(id(obj))
        if found is None:
            at = len(self.objects)
            if at >= len(self._pool):
                self._more_ids(at + 1)
            found = self._ids[id(obj)] = self._pool[at]
            self.objects.append(obj)
        return found

    def drain(
        self,
        walk: Any,
        nodes: list[Any],
        captures: dict[type, list[Any]],
        prepare: Callable[[type], list[Any]],
        most: int,
        /,
    ) -> bool:
        """Describe all that was met; False when that is more than `most` objects."""
        objects = self.objects
        for obj in islice(objects, len(nodes), None):
            cls = type(obj)
            known = captures.get(cls)
            if known is None:
                known = captures[cls] = prepare(cls)
            nodes.append(known[0](walk, obj, known[1]))
            if len(objects) > most:
                return False
        return True
