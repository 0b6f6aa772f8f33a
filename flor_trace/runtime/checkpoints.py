"""Take a checkpoint: capture the scope, copy what is new, and hand it to the writer."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from flor_trace._speedups import digest_many, frames
from flor_trace.errors import StoreError
from flor_trace.hints import Protocol
from flor_trace.records import dataclass
from flor_trace.runtime.policy import Budget
from flor_trace.runtime.scope import Modules, roots
from flor_trace.runtime.tracers import torch_intercepts
from flor_trace.state.capture import capture
from flor_trace.state.digests import digest_state, leaf_bytes
from flor_trace.state.encode import encode
from flor_trace.state.graph import Graph
from flor_trace.state.packmemory import PackMemory
from flor_trace.store.framing import address_of, make_key
from flor_trace.types import Address, ChunkWriter, Digest

Job = Callable[[ChunkWriter], None]
Saved = Callable[["Taken"], None]


class Submit(Protocol):
    """Queues a job for the background; False when it would hold too much memory."""

    def __call__(self, job: Job, nbytes: int) -> bool:
        """Take the job, which keeps `nbytes` bytes in memory until it is done."""


@dataclass(slots=True)
class Taken:
    """A captured state on its way to the store."""

    graph: Graph  #: its leaves are addresses
    digests: list[Digest]  #: of the leaves
    addresses: list[Address]
    buffers: list[bytes]  #: copies of the leaves that the store does not have
    seconds: float
    clocks: frozenset[str]
    nbytes: int
    manifest: Address | None = None
    digest: Digest | None = None

    @property
    def new_bytes(self) -> int:
        """Bytes that had to be copied."""
        return sum(map(len, self.buffers))


class Checkpointer:
    """Takes checkpoints on the training thread and writes them in the background."""

    def __init__(
        self,
        *,
        modules: Modules,
        clocks: Callable[[], frozenset[str]],
        relocate: tuple[tuple[str, str], ...],
        submit: Submit,
        budget: Budget,
        is_project_file: Callable[[str], bool],
    ) -> None:
        self._modules = modules
        self._clocks = clocks
        self._relocate = relocate
        self._submit = submit
        self._is_project_file = is_project_file
        self._known: set[Address] = set()
        self._memory = PackMemory()
        self._began = perf_counter()
        self.budget = budget
        self.skipped = 0

    def allowed(self) -> bool:
        """Whether a checkpoint can be taken now, and the budget has room for it."""
        return not torch_intercepts() and self.budget.allows(perf_counter() - self._began)

    def due(self) -> float:
        """The time, as of `perf_counter`, from which on the budget has room for one."""
        return self._began + self.budget.due()

    def take(self) -> Taken:
        """Capture the state that the innermost frame of the program can see, and charge for it."""
        began = perf_counter()
        stack = frames(self._modules.filenames)
        clocks = self._clocks()
        graph = capture(
            roots(stack, self._modules.namespaces()),
            relocate=self._relocate,
            is_project_file=self._is_project_file,
            ignore=clocks,
            memory=self._memory,
        )
        leaves = leaf_bytes(graph)
        digests = [Digest(each) for each in digest_many(leaves)]
        sizes = [leaf.nbytes for leaf in leaves]
        addresses = [address_of(key) for key in map(make_key, sizes, digests)]
        new = {a: leaf for a, leaf in zip(addresses, leaves, strict=True) if a not in self._known}
        buffers = [leaf.tobytes() for leaf in new.values()]
        graph.leaves = list(addresses)  # no view of the program's memory outlives the boundary
        seconds = perf_counter() - began
        self.budget.charge(seconds)
        return Taken(graph, digests, addresses, buffers, seconds, clocks, sum(sizes))

    def forget(self) -> None:
        """Copy everything again with the next checkpoint: some of it was not written."""
        self._known = set()

    def save(self, taken: Taken, saved: Saved) -> bool:
        """Queue `taken` for the store; `saved` is called in the background when it is durable."""

        def job(store: ChunkWriter) -> None:
            write(taken, store)
            saved(taken)

        if not self._submit(job, taken.new_bytes):
            self.skipped += 1
            return False
        self._known.update(taken.addresses)
        return True


def write(taken: Taken, store: ChunkWriter) -> None:
    """Put the chunks and then the manifest; durable in that order."""
    for data in taken.buffers:
        store.put(data)
    taken.digest = digest_state(taken.graph, taken.digests, taken.clocks)
    missing = [address for address in taken.addresses if not store.has(address)]
    if missing:  # an earlier write failed: a checkpoint is listed only if it can be restored
        raise StoreError(
            f"{len(missing)} chunks of a checkpoint were lost with an earlier one, among them "
            f"{missing[0]}; it is not kept, the next one will be whole"
        )
    store.flush()
    taken.manifest = store.put(encode(taken.graph, taken.addresses))
    store.flush()
    taken.buffers = []
