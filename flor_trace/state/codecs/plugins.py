"""Codecs that installed packages offer for libraries that this package does not know."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator

from flor_trace.hints import Any, Final, NoReturn
from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Unbuildable, Walk
from flor_trace.state.codecs.kept import opaque
from flor_trace.state.graph import ATOM_TYPES, Node, NodeId, Ref

GROUP: Final = "flor_trace.codecs"
_PLAIN: Final = ATOM_TYPES | {NodeId}


def offers(path: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Give (library, "module:attribute") for each entry point of the group in these directories.

    Looks at the files of the distributions alone: ``importlib.metadata`` would be a heavy import
    that the recorded program can notice.
    """
    for directory in path:
        try:
            names = sorted(os.listdir(directory or "."))
        except OSError:
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                yield from _in_file(os.path.join(directory or ".", name, "entry_points.txt"))


def _in_file(filename: str) -> Iterator[tuple[str, str]]:
    try:
        with open(filename, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, ValueError):
        return
    inside = False
    for line in map(str.strip, lines):
        if line.startswith("["):
            inside = line == f"[{GROUP}]"
        elif inside and "=" in line and not line.startswith("#"):
            library, _, target = line.partition("=")
            yield library.strip(), target.partition("[")[0].strip()


def load(target: str) -> tuple[Codec, ...]:
    """Return the codecs behind ``"module:attribute"``; raise `TypeError` if there are none.

    Raises whatever the module raises.
    """
    module, _, attribute = target.partition(":")
    found: Any = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    if callable(found):
        found = found()
    codecs = tuple(found)
    for codec in codecs:
        _check(codec)
    return tuple(map(Guarded, codecs))


def _check(codec: Any) -> None:
    if not isinstance(codec, Codec):
        raise TypeError(f"{codec!r} is not a flor_trace.state.codecs.base.Codec")
    if not isinstance(getattr(codec, "kind", None), str):
        raise TypeError(f"{type(codec).__qualname__} has no kind")
    kinds, types = (codec.kind, *codec.also), (*codec.exact, *codec.bases)
    if not all(isinstance(kind, str) for kind in kinds):
        raise TypeError(f"{type(codec).__qualname__} has a kind that is not a string")
    if not types or not all(isinstance(cls, type) for cls in types):
        raise TypeError(f"{type(codec).__qualname__} is not for any type")


class Guarded(Codec):
    """A codec of others: whatever goes wrong in it makes the one object opaque."""

    kind = ""

    def __init__(self, inner: Codec) -> None:
        self._inner = inner
        self.kind, self.also = inner.kind, tuple(inner.also)  # type: ignore[misc]
        self.exact, self.bases = tuple(inner.exact), tuple(inner.bases)
        self.in_place = bool(inner.in_place)  # type: ignore[misc]

    @property
    def name(self) -> str:
        """Where the codec comes from."""
        cls = type(self._inner)
        return f"{cls.__module__}.{cls.__qualname__}"

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        """Return the node, or an opaque one that says what the codec did."""
        try:
            node = self._inner.capture(walk, obj, plan)
        except Exception as error:  # noqa: BLE001 - the recorded program must not see it
            return opaque(plan.type_name, f"{self.name} failed: {type(error).__name__}: {error}")
        wrong = self._wrong(node, plan)
        return opaque(plan.type_name, f"{self.name} gave {wrong}") if wrong else node

    def _wrong(self, node: Any, plan: Plan) -> str | None:
        if type(node) is not Node:
            return f"a {type(node).__qualname__} instead of a node"
        if node.kind not in (self.kind, *self.also, "opaque"):
            return f"a node of the kind {node.kind!r}, which is not its own"
        if node.type_name != plan.type_name or not _is_plain(node.payload):
            return "a node with another type's name, or with objects in its payload"
        fits = type(node.children) is list and len(node.names) <= len(node.children)
        if not fits or not {type(child) for child in node.children} <= _PLAIN:
            return "children that `walk.ref` did not make"
        named = type(node.names) is tuple and {type(name) for name in node.names} <= {str}
        return None if named and type(node.leaf) is int else "names that are not strings"

    def accepts(self, node: Node, obj: Any) -> bool:
        """Ask the codec; a failure is a no."""
        return bool(self._ask(False, self._inner.accepts, node, obj))

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        """Let the codec pair what it can."""
        self._ask(None, self._inner.pair, pairing, node, obj)

    def confirm(self, build: Build, node: Node, obj: Any) -> bool:
        """Ask the codec; a failure is a no."""
        return bool(self._ask(False, self._inner.confirm, build, node, obj))

    def needs(self, node: Node) -> Iterable[Ref]:
        """Return what the codec says, or all children."""
        return tuple(self._ask(node.children, self._inner.needs, node))

    def make(self, build: Build, node: Node) -> Any:
        """Let the codec make the object; whatever it raises is the reason why it cannot be had."""
        try:
            return self._inner.make(build, node)
        except Exception as error:  # noqa: BLE001 - it becomes the reason at the object's path
            self._give_up(error)

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        """Let the codec fill the object; whatever it raises is the reason why it cannot be had."""
        try:
            self._inner.fill(build, node, obj)
        except Exception as error:  # noqa: BLE001 - it becomes the reason at the object's path
            self._give_up(error)

    def _give_up(self, error: Exception) -> NoReturn:
        if isinstance(error, Unbuildable):
            raise error
        why = f"{self.name} failed: {type(error).__name__}: {error}"
        raise Unbuildable(why) from error

    def _ask(self, instead: Any, question: Callable[..., Any], *args: Any) -> Any:
        try:
            return question(*args)
        except Exception:  # noqa: BLE001 - then a new object is made, whose making may be refused
            return instead


def _is_plain(payload: Any) -> bool:
    if type(payload) is tuple:
        return all(map(_is_plain, payload))
    return type(payload) in ATOM_TYPES


class Plugins:
    """The offers that are installed, and what became of those whose library was imported."""

    def __init__(self) -> None:
        self._offers: list[tuple[str, str]] | None = None
        self.problems: list[tuple[str, str]] = []  #: (what, why), until somebody records them

    def due(self) -> Iterator[tuple[str, tuple[Codec, ...]]]:
        """Give (offer, codecs) for each library that is there now and was not before."""
        if self._offers is None:
            self._offers = list(dict.fromkeys(offers(list(sys.path))))
        for offer in list(self._offers):
            library, target = offer
            if not _imported(library):
                continue
            self._offers.remove(offer)
            what = f"codecs of {target} for {library}"
            try:
                yield what, load(target)
            except Exception as error:  # noqa: BLE001 - the recorded program must not see it
                self.problems.append((what, f"{type(error).__name__}: {error}"))

    def take_problems(self) -> list[tuple[str, str]]:
        """Return what went wrong since the last call."""
        found, self.problems = self.problems, []
        return found


def _imported(library: str) -> bool:
    module = sys.modules.get(library)
    spec = getattr(module, "__spec__", None)
    return module is not None and not getattr(spec, "_initializing", False)


PLUGINS: Final = Plugins()
