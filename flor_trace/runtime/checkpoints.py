"""Take a checkpoint: capture the scope, copy what is new, and hand it to the writer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

from flor_trace._speedups import digest_many, frames
from flor_trace.runtime.policy import Budget
from flor_trace.runtime.scope import Modules, roots
from flor_trace.state.capture import capture
from flor_trace.state.digests import digest_state
from flor_trace.state.encode import encode
from flor_trace.state.graph import Graph, leaf_bytes
from flor_trace.types import Address, ChunkWriter, Digest

Job = Callable[[ChunkWriter], None]
Saved = Callable[["Taken"], None]


class Submit(Protocol):
    """Queues a job for the background; False when it would hold too much memory."""

    def __call__(self, job: Job, nbytes: int) -> bool: ...


@dataclass(slots=True)
class Taken:
    """A captured state on its way to the store."""

    graph: Graph
    digests: list[Digest]
    buffers: dict[int, bytes]  #: copies of the leaves that the store does not have
    seconds: float
    clocks: frozenset[str]
    nbytes: int
    manifest: Address | None = None
    digest: Digest | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def new_bytes(self) -> int:
        """Bytes that had to be copied."""
        return sum(map(len, self.buffers.values()))


def address_of(nbytes: int, digest: Digest) -> Address:
    """The address of a buffer of `nbytes` bytes with this digest."""
    return Address(f"{nbytes}-{digest.hex()}")


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
        self._began = perf_counter()
        self.budget = budget
        self.skipped = 0

    def allowed(self) -> bool:
        """Whether the budget has room for a checkpoint now."""
        return self.budget.allows(perf_counter() - self._began)

    def take(self) -> Taken:
        """Capture the state that the innermost frame of the program can see, and charge for it."""
        began = perf_counter()
        stack = frames(self._modules.filenames)
        graph = capture(
            roots(stack, self._modules.namespaces()),
            relocate=self._relocate,
            is_project_file=self._is_project_file,
        )
        leaves = leaf_bytes(graph)
        digests = [Digest(each) for each in digest_many(leaves)]
        buffers = {}
        for index, (leaf, digest) in enumerate(zip(leaves, digests, strict=True)):
            if address_of(leaf.nbytes, digest) not in self._known:
                buffers[index] = bytes(leaf)
        nbytes = sum(leaf.nbytes for leaf in leaves)
        sizes = [leaf.nbytes for leaf in leaves]
        graph.release(sizes)
        seconds = perf_counter() - began
        self.budget.charge(seconds)
        return Taken(graph, digests, buffers, seconds, self._clocks(), nbytes, extra={"sizes": sizes})

    def save(self, taken: Taken, saved: Saved) -> bool:
        """Queue `taken` for the store; `saved` is called in the background when it is durable."""

        def job(store: ChunkWriter) -> None:
            write(taken, store)
            saved(taken)

        if not self._submit(job, taken.new_bytes):
            self.skipped += 1
            return False
        sizes = taken.extra["sizes"]
        self._known.update(map(address_of, sizes, taken.digests))
        return True


def write(taken: Taken, store: ChunkWriter) -> None:
    """Put the chunks and then the manifest; durable in that order."""
    for data in taken.buffers.values():
        store.put(data)
    addresses = list(map(address_of, taken.extra["sizes"], taken.digests))
    taken.digest = digest_state(taken.graph, taken.digests, taken.clocks)
    store.flush()
    taken.manifest = store.put(encode(taken.graph, addresses))
    store.flush()
    taken.buffers = {}
