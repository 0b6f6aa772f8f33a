"""Iterators of torch's ``DataLoader``: made again from the random states they were made from."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable
from types import ModuleType
from weakref import WeakKeyDictionary

from flor_trace._speedups import Before
from flor_trace.errors import RestoreError
from flor_trace.hints import Any
from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Unbuildable, Walk
from flor_trace.state.codecs.kept import opaque
from flor_trace.state.graph import Node, Ref
from flor_trace.state.naming import type_name

#: (generator, its state) for each generator that shuffling may draw from.
Snapshot = list[tuple[Any, Any]]

_made_from: WeakKeyDictionary[Any, Snapshot] = WeakKeyDictionary()
_begun_from: WeakKeyDictionary[Any, Snapshot] = WeakKeyDictionary()
_loader_of: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def watch(module: ModuleType) -> None:
    """Note the random states from which each iterator of ``torch.utils.data.dataloader`` starts.

    They are needed twice: where the iterator is made, and where it draws its first batch, because
    torch's samplers shuffle only then. Watching again changes nothing.
    """
    iterator: Any = vars(module)["_BaseDataLoaderIter"]
    for name, callback in (("__init__", _note_making), ("_next_index", _note_beginning)):
        method = vars(iterator)[name]
        if not isinstance(method, Before):
            setattr(iterator, name, Before(method, callback))


def _note_making(iterator: Any, loader: Any = None, *_: object) -> None:
    # A loader with workers may hold its iterator: holding the loader would keep both for ever.
    if loader is not None and loader.num_workers == 0:
        _made_from[iterator] = snapshot(loader)
        _loader_of[iterator] = loader


def _note_beginning(iterator: Any, *_: object) -> None:
    if iterator._num_yielded == 0 and iterator in _made_from and iterator not in _begun_from:
        _begun_from[iterator] = snapshot(iterator)


def snapshot(owner: Any) -> Snapshot:
    """Return the state of every process-wide generator, and of those that `owner` shuffles with."""
    found: Snapshot = [(random._inst, random.getstate())]
    mtrand: Any = sys.modules.get("numpy.random.mtrand")
    if mtrand is not None:
        found.append((mtrand._rand, mtrand._rand.get_state(legacy=False)))
    torch: Any = sys.modules["torch"]
    generators = {id(torch.default_generator): torch.default_generator}
    for holder in _samplers(owner):
        own = _own(holder, "generator")
        if isinstance(own, torch.Generator):
            generators[id(own)] = own
    return found + [(own, own.get_state()) for own in generators.values()]


def _samplers(owner: Any) -> list[Any]:
    found = [owner]
    for name in ("batch_sampler", "sampler", "_index_sampler"):
        inner = _own(owner, name)
        found += [inner, _own(inner, "sampler")]
    return found


def _own(holder: Any, name: str) -> Any:
    # From the instance itself: a property would run the program's code.
    return getattr(holder, "__dict__", {}).get(name)


def put_back(states: Iterable[tuple[Any, Any]]) -> None:
    """Set each generator to the state noted for it."""
    for generator, state in states:
        if isinstance(generator, random.Random):
            generator.setstate(state)
        else:
            generator.set_state(state)


class _Iterator(Codec):
    """The iterator of a loader without worker processes."""

    kind = "loader iterator"
    in_place = False

    def __init__(self, module: Any) -> None:
        self._plain: type = module._SingleProcessDataLoaderIter
        self.exact = (self._plain,)
        self.bases = (module._BaseDataLoaderIter,)
        self._iterable = module._DatasetKind.Iterable

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        if plan.type_name != type_name(self._plain):
            return opaque(plan.type_name, "its worker processes run ahead of it")
        if obj._dataset_kind == self._iterable:
            return opaque(plan.type_name, "an iterable dataset cannot say where it stands")
        if obj not in _made_from:
            return opaque(plan.type_name, "it was made before recording began to watch")
        parts = (_loader_of[obj], _made_from[obj], _begun_from.get(obj))
        children = [walk.ref(part) for part in parts]
        return Node("loader iterator", plan.type_name, obj._num_yielded, children)

    def needs(self, node: Node) -> Iterable[Ref]:
        return node.children

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        if obj in _made_from:
            pairing.pair(node.children[0], _loader_of[obj])

    def make(self, build: Build, node: Node) -> Any:
        loader, made_from, begun_from = build.values(node.children)
        count = node.payload
        if not isinstance(count, int):
            raise Unbuildable("the number of batches it gave was not saved")
        put_back(made_from)
        made = iter(loader)
        if begun_from is not None:
            put_back(begun_from)
            _advance(made, count)
        return made


def _advance(iterator: Any, count: int) -> None:
    for done in range(count):
        try:
            iterator._next_index()
        except StopIteration:
            raise RestoreError(
                f"a DataLoader gave {count} batches when it was saved and has only {done} now: "
                "its dataset or sampler is not the one that was saved."
            ) from None
        iterator._num_yielded += 1


def codecs(module: Any) -> tuple[Codec, ...]:
    """Return the codecs for the classes of ``torch.utils.data.dataloader``."""
    return (_Iterator(module),)
