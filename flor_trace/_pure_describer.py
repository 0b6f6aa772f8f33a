"""What the digest of a root is made of, in Python."""

from __future__ import annotations

import marshal

from flor_trace.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: Version 2 of marshal writes no references and no interning: equal values give equal bytes.
_PLAIN = 2


class Describer:
    """Writes the descriptions of all nodes of a root; most of what it is given C alone uses."""

    def __init__(self, nodes: list[Any], *rest: Any) -> None:
        self._nodes = nodes
        self._describe: Callable[[Any, Any, list[object]], object] = rest[-1]

    def root(
        self, first: object, tokens: dict[Any, Any], order: list[Any], vague: set[int], /
    ) -> bytes:
        """Return what the digest of a root is made of; `order` grows as nodes are met."""
        out = [first]
        for at in order:
            self._describe(at, self._nodes[at], out)
        return marshal.dumps(out, _PLAIN)
