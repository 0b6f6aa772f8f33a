"""What is noted while a program makes and begins iterators of torch's ``DataLoader``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import FunctionType, ModuleType
from weakref import WeakKeyDictionary, ref

from flor_trace._speedups import Before, digest
from flor_trace.hints import Any, Final
from flor_trace.state.codecs.generators import readable
from flor_trace.state.codecs.reduced import refusals
from flor_trace.state.graph import ATOM_TYPES
from flor_trace.state.naming import type_name

#: (generator, its state) for each generator that shuffling may draw from.
Snapshot = list[tuple[Any, Any]]

_SAMPLERS: Final = "torch.utils.data.sampler:"
#: Samplers whose order is settled by the random states at their first index.
_SETTLED: Final = frozenset(
    {
        "builtins:range",
        "builtins:tuple",
        "torch.utils.data.dataloader:_InfiniteConstantSampler",
        "torch.utils.data.distributed:DistributedSampler",
        _SAMPLERS + "SequentialSampler",
        _SAMPLERS + "SubsetRandomSampler",
        _SAMPLERS + "WeightedRandomSampler",
    }
)
#: Datasets that cannot draw random numbers, and what they are made of.
_PLAIN: Final = {
    "builtins:list": (),
    "builtins:range": (),
    "builtins:tuple": (),
    "numpy:ndarray": (),
    "torch:Tensor": (),
    "torch.utils.data.dataset:TensorDataset": (),
    "torch.utils.data.dataset:Subset": ("dataset",),
    "torch.utils.data.dataset:ConcatDataset": ("datasets",),
    "torch.utils.data.dataset:StackDataset": ("datasets",),
}
_PLAIN_COLLATE: Final = frozenset({"default_collate", "default_convert"})
_COLLATE_MODULE: Final = "torch.utils.data._utils.collate"
_dict_of = object.__getattribute__


class Notes:
    """What one iterator was made from; neither it nor its loader is kept alive by this."""

    def __init__(self, loader: Any) -> None:
        self._loader = ref(loader)
        self._space = dict(space_of(loader))
        self._stand_in: Any = None
        self.made_from = snapshot(loader)
        self.begun_from: Snapshot | None = None
        self.facts = facts(loader)

    def belong_to(self, loader: Any) -> None:
        """Take this for the loader, instead of one that stood in for it."""
        self._loader, self._space = ref(loader), dict(space_of(loader))
        self.facts = facts(loader)

    def loader(self) -> Any:
        """Return the loader; if the program has let go of it, another one that is the same."""
        live = self._loader()
        if live is not None:
            return live
        if self._stand_in is None:
            # Of torch's own class: one of the program's might have a ``__del__``.
            loader: Any = sys.modules["torch.utils.data.dataloader"].DataLoader
            self._stand_in = object.__new__(loader)
            self._stand_in.__dict__.update(self._space)
        return self._stand_in


_notes: WeakKeyDictionary[Any, Notes] = WeakKeyDictionary()
_to_begin_from: WeakKeyDictionary[Any, Snapshot] = WeakKeyDictionary()


def watch(module: ModuleType) -> None:
    """Note the random states from which each iterator of ``torch.utils.data.dataloader`` starts.

    They are needed where the iterator is made (or a persistent one starts again), and where it
    draws its first batch, because torch's samplers shuffle only then. Watching again changes
    nothing.
    """
    iterator: Any = vars(module)["_BaseDataLoaderIter"]
    callbacks: dict[str, Any] = {
        "__init__": _note_making,
        "_reset": _note_reset,
        "_next_index": _note_beginning,
    }
    for name, callback in callbacks.items():
        method = vars(iterator)[name]
        if not isinstance(method, Before):
            setattr(iterator, name, Before(method, callback))


def notes_of(iterator: Any) -> Notes | None:
    """Return what was noted, or None if recording began later or it was not needed."""
    return _notes.get(iterator)


def begin_from(iterator: Any, states: Snapshot | None) -> None:
    """Have `states` put back when the iterator asks for its first index."""
    if states is None:
        _to_begin_from.pop(iterator, None)
    else:
        _to_begin_from[iterator] = states


def _note_making(iterator: Any, loader: Any = None, *_: object) -> None:
    # Without workers, where the samplers stand can be read from their generators.
    if loader is not None and (space_of(loader).get("num_workers") or not readable()):
        try:
            _notes[iterator] = Notes(loader)
        except refusals():
            _notes.pop(iterator, None)


def _note_reset(iterator: Any, loader: Any = None, first: bool = False, *_: object) -> None:
    if not first:
        _note_making(iterator, loader)


def _note_beginning(iterator: Any, *_: object) -> None:
    notes = _notes.get(iterator)
    if notes is not None and notes.begun_from is None:
        put_back(_to_begin_from.pop(iterator, ()))
        try:
            notes.begun_from = snapshot(iterator)
            notes.facts = facts(notes.loader())
        except refusals():
            del _notes[iterator]


def snapshot(owner: Any) -> Snapshot:
    """Return the states of torch's own generator and of those that `owner` shuffles with.

    Samplers whose order is settled draw from no others, and workers seed theirs anew.
    """
    torch: Any = sys.modules["torch"]
    generators = {id(torch.default_generator): torch.default_generator}
    for holder in (owner, *samplers(owner)):
        own = space_of(holder).get("generator")
        if isinstance(own, torch.Generator):
            generators[id(own)] = own
    return now((own, None) for own in generators.values())


def put_back(states: Iterable[tuple[Any, Any]]) -> None:
    """Set each generator to the state noted for it."""
    for generator, state in states:
        generator.set_state(state)


def now(states: Iterable[tuple[Any, Any]]) -> Snapshot:
    """Return the present states of the same generators."""
    found = {id(generator): generator for generator, _ in states}
    return [(generator, generator.get_state()) for generator in found.values()]


def samplers(owner: Any) -> list[Any]:
    """Return the samplers of a loader or of its iterator, the outer one first."""
    space = space_of(owner)
    found = [space.get(name) for name in ("_index_sampler", "batch_sampler", "sampler")]
    outer = next((each for each in found if each is not None), None)
    inner = space_of(outer).get("sampler")
    return [each for each in (outer, inner) if each is not None]


def space_of(obj: Any) -> dict[str, Any]:
    """Return the attributes of an instance, without a property running the program's code."""
    try:
        return _dict_of(obj, "__dict__")  # type: ignore[no-any-return]
    except AttributeError:
        return {}


def facts(loader: Any) -> tuple[Any, ...]:
    """Return what would give other batches if it changed after the iterator was made.

    The plain attributes of the samplers and the dataset, and a digest of the weights.
    """
    return tuple(
        (type_name(type(each)), *_facts_of(each))
        for each in (space_of(loader).get("dataset"), *samplers(loader))
    )


def _facts_of(obj: Any) -> Iterable[tuple[str, Any]]:
    torch: Any = sys.modules["torch"]
    for name, value in list(space_of(obj).items()):
        if type(value) in ATOM_TYPES:
            yield name, repr(value)
        elif type(value) in (list, tuple, dict, set):
            yield name, len(value)
        elif name == "weights" and type(value) is torch.Tensor:
            yield name, digest(memoryview(value.cpu().contiguous().numpy()).cast("B"))


def settled(loader: Any) -> bool:
    """Say whether the order of the batches is settled when the first one is asked for."""
    return all(map(_settled, samplers(loader)))


def _settled(sampler: Any) -> bool:
    name = type_name(type(sampler))
    if name == _SAMPLERS + "BatchSampler":
        return True  # what it draws from comes next in the list
    if name == _SAMPLERS + "RandomSampler":
        # Its own generator is seeded at the beginning; one of the program's may be used elsewhere.
        space = space_of(sampler)
        return space.get("generator") is None or _draws_once(space)
    return name in _SETTLED


def _draws_once(space: dict[str, Any]) -> bool:
    return space.get("_num_samples") is None and not space.get("replacement")


def draws_no_numbers(space: dict[str, Any]) -> bool:
    """Say whether loading items cannot draw random numbers: all of it is torch's own code.

    `space` holds the attributes of an iterator with workers.
    """
    collate = space["_collate_fn"]
    plain_collate = (
        type(collate) is FunctionType
        and collate.__module__ == _COLLATE_MODULE
        and collate.__name__ in _PLAIN_COLLATE
    )
    return plain_collate and space["_worker_init_fn"] is None and _is_plain(space["_dataset"])


def _is_plain(dataset: Any) -> bool:
    parts = _PLAIN.get(type_name(type(dataset)))
    if parts is None:
        return False
    inner = [space_of(dataset).get(part) for part in parts]
    return all(
        map(_is_plain, (each for part in inner for each in _members(part))),
    )


def _members(part: Any) -> Iterable[Any]:
    if type(part) in (list, tuple):
        return part  # type: ignore[no-any-return]
    return part.values() if type(part) is dict else (part,)
