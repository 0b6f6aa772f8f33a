"""Iterators of torch's ``DataLoader``, with and without worker processes."""

from __future__ import annotations

from flor_trace.errors import RestoreError
from flor_trace.hints import Any
from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Unbuildable, Walk
from flor_trace.state.codecs.generators import readable
from flor_trace.state.codecs.instances import INSTANCE, new_instance
from flor_trace.state.codecs.kept import opaque
from flor_trace.state.codecs.loadernotes import (
    Notes,
    Snapshot,
    begin_from,
    draws_no_numbers,
    facts,
    notes_of,
    now,
    put_back,
    settled,
    space_of,
    watch,
)
from flor_trace.state.codecs.reduced import refusals
from flor_trace.state.graph import Node
from flor_trace.state.naming import type_name

__all__ = ["codecs", "watch"]


class _Iterator(Codec):
    """Where no generator can be read, or workers run ahead: made again and led to its place.

    Without workers an iterator is an object like any other, with generators in it.
    """

    kind = "loader iterator"

    def __init__(self, module: Any) -> None:
        plain: type = module._SingleProcessDataLoaderIter
        workers: type = module._MultiProcessingDataLoaderIter
        self.exact = (plain, workers)
        self.bases = (module._BaseDataLoaderIter,)
        self._plain = type_name(plain)
        self._known = (type_name(plain), type_name(workers))
        self._iterable = module._DatasetKind.Iterable

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        if plan.type_name == self._plain and readable():
            return INSTANCE.capture(walk, obj, plan)
        space, notes = space_of(obj), notes_of(obj)
        why = self._why_not(space, plan)
        over = not why and "_rcvd_idx" in space and space["_rcvd_idx"] >= space["_send_idx"]
        if over and not space["_persistent_workers"]:
            return Node("loader iterator", plan.type_name, ("over", space["_num_yielded"]))
        if notes is None:
            why = why or "it was made before recording began to watch"
        elif not why and not over:
            why = _why_not_again(notes, notes.loader())
        if why or notes is None:
            return opaque(plan.type_name, why)
        parts = (notes.loader(), notes.made_from, None if over else notes.begun_from)
        children = [walk.ref(part) for part in parts]
        state = "idle" if over else "under way"
        return Node("loader iterator", plan.type_name, (state, space["_num_yielded"]), children)

    def _why_not(self, space: dict[str, Any], plan: Plan) -> str:
        alone = plan.type_name == self._plain
        if plan.type_name not in self._known:
            return "it is not one of torch's own loader iterators"
        if "_num_yielded" not in space or not (alone or "_rcvd_idx" in space):
            return "it is being made"
        if alone and space["_dataset_kind"] == self._iterable:
            return "an iterable dataset cannot say where it stands"
        if space["_shared_seed"] is not None:
            return "it runs over a data pipe"
        if not space.get("_in_order", True):
            return "it gives its batches in the order in which its workers happen to finish"
        return _random_workers(space) if space["_persistent_workers"] else ""

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        notes = notes_of(obj)
        if notes is not None and node.children:
            pairing.pair(node.children[0], notes.loader())

    def make(self, build: Build, node: Node) -> Any:
        made = new_instance(build.lookup(node.type_name), node)
        made._shutdown = True  # it has no workers yet that could be ended
        return made

    def fill(self, build: Build, node: Node, obj: Any) -> None:
        state, count = node.payload if isinstance(node.payload, tuple) else ("", None)
        if not isinstance(count, int):
            raise Unbuildable("the number of batches it gave was not saved")
        if state == "over":
            build.at_end(lambda: _end(obj, count))
            return
        loader, made_from, begun_from = build.values(node.children)
        sampled = None if state == "idle" else begun_from
        build.at_end(lambda: _again(obj, loader, (made_from, sampled), count, state == "idle"))


def _random_workers(space: dict[str, Any]) -> str:
    if draws_no_numbers(space):
        return ""
    return "its persistent workers have random states of their own, which cannot be read"


def _why_not_again(notes: Notes, loader: Any) -> str:
    if not settled(loader):
        return "where its sampler stands cannot be told: its worker processes run ahead of it"
    if facts(loader) != notes.facts:
        return "its dataset or sampler was changed after it was made"
    return ""


def _end(obj: Any, count: int) -> None:
    """Make it one that has given all its batches and has no workers any more."""
    _dismiss(obj)
    positions = {"_num_yielded": count, "_rcvd_idx": 0, "_send_idx": 0}
    samplers = {"_index_sampler": range(count), "_sampler_iter": iter(())}
    obj.__dict__.update(positions, **samplers, _persistent_workers=False, _shutdown=True)
    obj._profile_name = f"enumerate(DataLoader)#{type(obj).__name__}.__next__"


def _dismiss(obj: Any) -> None:
    if not space_of(obj).get("_shutdown", True):
        obj._shutdown_workers()


def _again(
    obj: Any, loader: Any, states: tuple[Snapshot, Snapshot | None], count: int, idle: bool
) -> None:
    """Make it again as it was made, and take as many batches; no generator moves by that."""
    made_from, begun_from = states
    _dismiss(obj)
    present = now((*made_from, *(begun_from or ())))
    put_back(made_from)
    begin_from(obj, begun_from)
    try:
        if idle:
            _idle(obj, loader, count)
        else:
            type(obj).__init__(obj, loader)
            if begun_from is not None:
                _advance(obj, count)
    except refusals() as error:
        raise RestoreError(f"a DataLoader could not be started again: {error}") from error
    finally:
        begin_from(obj, None)
        put_back(present)


def _idle(obj: Any, loader: Any, count: int) -> None:
    """Start its workers without a batch to load: it has given all those of its epoch."""
    stand_in = object.__new__(type(loader))
    outer = "sampler" if loader.batch_sampler is None else "batch_sampler"
    stand_in.__dict__.update(loader.__dict__, **{outer: ()})
    type(obj).__init__(obj, stand_in)
    obj._index_sampler = loader._index_sampler
    obj._num_yielded = count
    notes = notes_of(obj)
    if notes is not None:
        notes.belong_to(loader)


def _advance(obj: Any, count: int) -> None:
    alone = obj._num_workers == 0
    for done in range(count):
        try:
            if alone:
                obj._next_index()  # the item need not be loaded
                obj._num_yielded += 1
            else:
                next(obj)
        except StopIteration:
            raise RestoreError(
                f"a DataLoader gave {count} batches when it was saved and has only {done} now: "
                "its dataset or sampler is not the one that was saved."
            ) from None


def codecs(module: Any) -> tuple[Codec, ...]:
    """Return the codecs for the classes of ``torch.utils.data.dataloader``."""
    return (_Iterator(module),)
