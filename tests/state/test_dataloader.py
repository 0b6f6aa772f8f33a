"""A loader's iterator goes on from any batch with the batches that would have followed."""

from __future__ import annotations

import itertools
import random
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import (  # noqa: E402
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    get_worker_info,
)
from torch.utils.data import dataloader as loader_module  # noqa: E402

from flor_trace.state.codecs import dataloader, loadernotes  # noqa: E402
from flor_trace.state.codecs.generators import readable  # noqa: E402
from flor_trace.state.rng import rng_roots  # noqa: E402

dataloader.watch(loader_module)

pytestmark = pytest.mark.torch

COUNT = 23


@pytest.fixture(params=[1, 2], autouse=True)
def _threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


class Noisy(Dataset):
    """Draws from every process-wide generator for each item, and counts how often it was asked."""

    def __init__(self, count: int = COUNT) -> None:
        self.count, self.asked = count, 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        self.asked += 1
        noise = random.random() + np.random.rand()
        return index, torch.rand(2).double() + noise


class Stream(IterableDataset):
    """Gives what its share of the workers is, with noise."""

    def __init__(self, count: int = COUNT) -> None:
        self.count = count

    def __iter__(self) -> Any:
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        for index in range(first, self.count, step):
            yield index, torch.rand(2) + random.random()


class Plain(IterableDataset):
    """Hands out an iterator written in C."""

    def __iter__(self) -> Any:
        return map(float, range(COUNT))


class Global:
    """Draws from the process-wide generators for every single index."""

    def __iter__(self) -> Any:
        for _ in range(COUNT):
            yield (random.randrange(COUNT) + int(torch.randint(COUNT, ()))) % COUNT

    def __len__(self) -> int:
        return COUNT


class Shuffled:
    """Shuffles its own list in place, with a generator of its own, and counts its epochs."""

    def __init__(self, number: int) -> None:
        self.order, self.epoch = list(range(COUNT)), 0
        self.own = np.random.default_rng(number)

    def __iter__(self) -> Any:
        self.epoch += 1
        self.own.shuffle(self.order)
        yield from self.order

    def __len__(self) -> int:
        return COUNT


class Endless:
    """Never comes to an end, and gives whole batches."""

    def __iter__(self) -> Any:
        while True:
            yield torch.randint(COUNT, (4,)).tolist()


class Drawn:
    """Draws its order when it is made an iterator, and is one itself."""

    def __iter__(self) -> Any:
        self.left = torch.randperm(COUNT).tolist()
        return self

    def __next__(self) -> int:
        if not self.left:
            raise StopIteration
        return self.left.pop()


def own(number: int) -> Any:
    return torch.Generator().manual_seed(number)


def scaling(number: int) -> Callable[[Any], Any]:
    scale = float(number)

    def collate(items: Any) -> Any:
        nonlocal scale
        scale *= 1.5
        return [index for index, _ in items], torch.stack([x for _, x in items]) * scale

    return collate


WEIGHTS = [1.0 + n % 5 for n in range(COUNT)]
LOADERS: dict[str, Callable[[int], Any]] = {
    "in order": lambda n: DataLoader(Noisy(), batch_size=4),
    "shuffled": lambda n: DataLoader(Noisy(), batch_size=4, shuffle=True),
    "single items": lambda n: DataLoader(Noisy(), batch_size=None, shuffle=False),
    "single, shuffled": lambda n: DataLoader(
        Noisy(), batch_size=None, sampler=RandomSampler(range(COUNT))
    ),
    "drop last": lambda n: DataLoader(Noisy(), batch_size=4, shuffle=True, drop_last=True),
    "own generator": lambda n: DataLoader(Noisy(), batch_size=4, shuffle=True, generator=own(n)),
    "replacement": lambda n: DataLoader(
        Noisy(), batch_size=4, sampler=RandomSampler(Noisy(), replacement=True, num_samples=70)
    ),
    "replacement, own generator": lambda n: DataLoader(
        Noisy(),
        batch_size=4,
        sampler=RandomSampler(Noisy(), replacement=True, num_samples=70, generator=own(n)),
    ),
    "weighted": lambda n: DataLoader(
        Noisy(), batch_size=4, sampler=WeightedRandomSampler(WEIGHTS, 30, generator=own(n))
    ),
    "subset": lambda n: DataLoader(
        Noisy(), batch_size=4, sampler=SubsetRandomSampler(range(3, 20), generator=own(n))
    ),
    "batch sampler": lambda n: DataLoader(
        Noisy(), batch_sampler=BatchSampler(RandomSampler(Noisy()), 5, drop_last=True)
    ),
    "distributed": lambda n: DataLoader(
        Noisy(), batch_size=3, sampler=DistributedSampler(Noisy(), 2, 1, shuffle=True, seed=n)
    ),
    "list of indices": lambda n: DataLoader(Noisy(), batch_size=4, sampler=[1, 5, 2, 9, 7, 7, 3]),
    "global": lambda n: DataLoader(Noisy(), batch_size=4, sampler=Global()),
    "shuffled in place": lambda n: DataLoader(Noisy(), batch_size=4, sampler=Shuffled(n)),
    "endless batches": lambda n: DataLoader(Noisy(), batch_sampler=Endless()),
    "its own iterator": lambda n: DataLoader(Noisy(), batch_size=4, sampler=Drawn()),
    "closure": lambda n: DataLoader(Noisy(), batch_size=4, shuffle=True, collate_fn=scaling(n)),
    "iterable": lambda n: DataLoader(Stream(), batch_size=4),
    "iterable, drop last": lambda n: DataLoader(Stream(), batch_size=4, drop_last=True),
    "iterable, written in C": lambda n: DataLoader(Plain(), batch_size=4),
    "iterable, single": lambda n: DataLoader(Stream(), batch_size=None),
}
needs_reading = pytest.mark.skipif(not readable(), reason="generators are read by the C extension")


def started(make_loader: Callable[[int], Any]) -> Callable[[int], dict[str, Any]]:
    def make(number: int) -> dict[str, Any]:
        random.seed(number)
        np.random.seed(number)
        torch.manual_seed(number)
        loader = make_loader(number)
        batches = iter(loader)
        torch.randn(3)  # drawn between the making of the iterator and its first batch
        return {"loader": loader, "batches": batches}

    return make


def taking(counts: list[int]) -> Callable[[dict[str, Any], int], Any]:
    """Take so many batches in each round; where the epoch ends, begin another."""

    def advance(state: dict[str, Any], number: int) -> Any:
        taken = []
        for _ in range(counts[number]):
            batch = next(state["batches"], None)
            if batch is None:
                state["batches"] = iter(state["loader"])
                batch = next(state["batches"])
            taken.append(batch)
            torch.rand(1), random.random(), np.random.rand()  # what training draws
        return taken

    return advance


@needs_reading
@pytest.mark.parametrize("name", LOADERS)
def test_an_iterator_without_workers_goes_on(continues, name):
    continues(started(LOADERS[name]), taking([0, 1, 3, 4, 7]), rounds=5)


WRAPPED: dict[str, Callable[[Any], Any]] = {
    "enumerate": lambda loader: enumerate(loader, 3),
    "zip": lambda loader: zip(loader, itertools.count(), strict=False),
    "zip of two": lambda loader: zip(loader, loader, strict=False),
    "islice": lambda loader: itertools.islice(loader, 1, 40),
    "chain": lambda loader: itertools.chain(loader, loader),
    "chain of iterators": lambda loader: itertools.chain(iter(loader), iter(loader)),
    "cycle": itertools.cycle,
    "map": lambda loader: map(_first, loader),
    "filter": lambda loader: filter(None, loader),
    "pairwise": itertools.pairwise,
    "starmap": lambda loader: itertools.starmap(_pair, loader),
    "generator expression": lambda loader: (batch for batch in loader),
    "generator function": lambda loader: forever(loader),
}


def _first(batch: Any) -> Any:
    return batch[0]


def _pair(first: Any, second: Any) -> Any:
    return second, first


def forever(loader: Any) -> Any:
    while True:
        yield from loader


@needs_reading
@pytest.mark.parametrize("name", WRAPPED)
def test_what_is_wrapped_around_an_iterator_goes_on(continues, name):
    def make(number: int) -> dict[str, Any]:
        state = started(LOADERS["shuffled"])(number)
        state["batches"] = [WRAPPED[name](state["loader"])]  # it may come back as another one
        return state

    continues(make, wrapped_taking([0, 1, 2, 4]), rounds=4)


def wrapped_taking(counts: list[int]) -> Callable[[dict[str, Any], int], Any]:
    def advance(state: dict[str, Any], number: int) -> Any:
        taken = [next(state["batches"][0], "end") for _ in range(counts[number])]
        return [*taken, torch.rand(1), random.random(), np.random.rand()]

    return advance


@needs_reading
def test_the_iterator_of_a_bar_goes_on(continues):
    tqdm = pytest.importorskip("tqdm").tqdm

    def make(number: int) -> dict[str, Any]:
        state = started(LOADERS["own generator"])(number)
        bar = tqdm(state.pop("loader"), disable=True)
        return {"bar": bar, "batches": [enumerate(iter(bar))]}

    continues(make, wrapped_taking([0, 1, 2, 4]), rounds=4)


def test_the_random_states_of_a_loader_in_a_bar_are_state(continues):
    tqdm = pytest.importorskip("tqdm").tqdm

    def make(number: int) -> dict[str, Any]:
        loader = started(LOADERS["own generator"])(number)["loader"]
        return {"bar": tqdm(loader, disable=True)}

    continues(make, lambda state, number: [batch for batch, _ in state["bar"]])


# ---- with workers

WORKERS: dict[str, Callable[[int], Any]] = {
    "noisy": lambda n: DataLoader(Noisy(), batch_size=4, shuffle=True, num_workers=2),
    "own generator": lambda n: DataLoader(
        Noisy(), batch_size=4, shuffle=True, num_workers=2, generator=own(n)
    ),
    "weighted": lambda n: DataLoader(
        Noisy(), batch_size=4, num_workers=2, sampler=WeightedRandomSampler(WEIGHTS, 30)
    ),
    "iterable": lambda n: DataLoader(Stream(), batch_size=4, num_workers=2),
    "persistent": lambda n: DataLoader(
        TensorDataset(torch.arange(COUNT)),
        batch_size=4,
        shuffle=True,
        num_workers=2,
        persistent_workers=True,
    ),
}


@pytest.mark.parametrize("name", WORKERS)
def test_an_iterator_with_workers_goes_on(continues, name):
    def make(number: int) -> dict[str, Any]:
        state = started(WORKERS[name])(number)
        if name == "persistent":
            for _ in state["batches"]:  # a second epoch: its first one draws something more
                pass
            state["batches"] = iter(state["loader"])
        return state

    continues(make, taking([1, 5, 4]), rounds=3)


def test_an_iterator_with_workers_that_is_over_stays_so(save):
    make = started(WORKERS["noisy"])
    state = make(1)
    given = len(list(state["batches"]))
    saved = save({"batches": state["batches"]})
    for live in ({"batches": state["batches"]}, {"batches": make(2)["batches"]}, {}):
        made = saved.restore(live)["batches"]
        assert list(made) == []
        assert made._num_yielded == given


def test_a_persistent_loader_between_epochs_goes_on(continues):
    make = started(WORKERS["persistent"])

    def begin(number: int) -> dict[str, Any]:
        return {"loader": make(number)["loader"]}

    def epoch(state: dict[str, Any], number: int) -> Any:
        return [batch for (batch,) in state["loader"]]

    continues(begin, epoch)


OPAQUE: dict[str, tuple[str, Callable[[], Any]]] = {
    "persistent": (
        "persistent workers",
        lambda: DataLoader(Noisy(), num_workers=1, persistent_workers=True),
    ),
    "own collate": (
        "persistent workers",
        lambda: DataLoader(
            TensorDataset(torch.zeros(4)),
            num_workers=1,
            persistent_workers=True,
            collate_fn=_first,
        ),
    ),
    "own sampler": ("run ahead", lambda: DataLoader(Noisy(), num_workers=1, sampler=Global())),
    "shared generator": (
        "run ahead",
        lambda: DataLoader(
            Noisy(), num_workers=1, sampler=RandomSampler(Noisy(), True, 70, generator=own(1))
        ),
    ),
    "any order": ("happen to finish", lambda: DataLoader(Noisy(), num_workers=1, in_order=False)),
}


@pytest.mark.parametrize("name", OPAQUE)
def test_what_cannot_be_made_again_is_opaque(save, name):
    reason, make = OPAQUE[name]
    loader = make()
    batches = iter(loader)
    next(batches)
    (found,) = save({"batches": batches}).captured.opaque
    assert reason in found


def test_a_change_after_the_workers_were_started_makes_it_opaque(save):
    weighted = WeightedRandomSampler(WEIGHTS, 30)
    noisy = Noisy()
    loader = DataLoader(noisy, sampler=weighted, num_workers=1)
    batches = iter(loader)
    next(batches)
    assert save({"batches": batches}).captured.opaque == []
    weighted.weights[3] += 1
    assert "was changed" in save({"batches": batches}).captured.opaque[0]
    weighted.weights[3] -= 1
    noisy.count += 1
    assert "was changed" in save({"batches": batches}).captured.opaque[0]


def test_datasets_that_only_hold_tensors_draw_no_numbers():
    tensors = TensorDataset(torch.zeros(4))
    for dataset, plain in (
        (tensors, True),
        (Subset(tensors, [1, 2]), True),
        (tensors + tensors, True),
        ([1, 2], True),
        (Noisy(), False),
        (Subset(Noisy(), [1]), False),
        (tensors + Noisy(), False),
    ):
        assert loadernotes._is_plain(dataset) is plain


def test_watching_twice_wraps_once():
    before = vars(loader_module._BaseDataLoaderIter)["__init__"]
    dataloader.watch(loader_module)
    assert vars(loader_module._BaseDataLoaderIter)["__init__"] is before


@pytest.mark.parametrize("persistent", [False, True])
def test_neither_loader_nor_iterator_is_kept_alive(persistent):
    data = TensorDataset(torch.arange(6))
    loader = DataLoader(data, num_workers=1, persistent_workers=persistent)
    batches = iter(loader)
    next(batches)
    gone = weakref.ref(loader), weakref.ref(batches)
    assert loadernotes.notes_of(batches) is not None
    count = len(loadernotes._notes)
    del loader
    assert persistent or gone[0]() is None
    del batches
    assert [each() for each in gone] == [None, None] or _collected(gone)
    assert len(loadernotes._notes) == count - 1


def _collected(gone: Any) -> bool:
    import gc

    gc.collect()
    return [each() for each in gone] == [None, None]


def test_an_iterator_whose_loader_is_gone_goes_on(save):
    def begin() -> Any:
        torch.manual_seed(3)
        return iter(DataLoader(Noisy(), batch_size=4, shuffle=True, num_workers=1))

    batches = begin()
    next(batches)
    saved = save({"batches": batches, **rng_roots()})
    assert saved.captured.opaque == []
    rest = [index.tolist() for index, _ in batches]
    torch.manual_seed(99)
    for live in ({"batches": begin()}, {"batches": None}):
        made = saved.restore({**live, **rng_roots()})["batches"]
        assert [index.tolist() for index, _ in made] == rest


def test_sequential_loaders_say_so_when_their_data_has_shrunk(save):
    from flor_trace.errors import RestoreError

    data = [1, 2, 3, 4, 5]
    batches = iter(DataLoader(data, sampler=SequentialSampler(data), num_workers=1))
    for _ in range(4):
        next(batches)
    saved = save({"batches": batches})
    graph = saved.graph
    for node in graph.nodes:
        if node.kind == "packed list" or (node.kind == "list" and node.children == data):
            node.children = node.children[:2]
    from flor_trace.state.restore import restore

    with pytest.raises(RestoreError, match="gave 4 batches when it was saved and has only 2"):
        restore(graph, {}, saved.chunks.__getitem__)
