"""Take a checkpoint: capture the scope, copy what is new, and hand it to the writer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter

from flor_trace._speedups import frames
from flor_trace.errors import StoreError
from flor_trace.hints import Any, Protocol
from flor_trace.records import dataclass, field
from flor_trace.runtime.constants import Constant, Constants
from flor_trace.runtime.owners import locate, private_draw
from flor_trace.runtime.policy import Budget
from flor_trace.runtime.scope import Modules, roots
from flor_trace.runtime.tracers import torch_intercepts
from flor_trace.state.capture import capture
from flor_trace.state.codecs.plugins import PLUGINS
from flor_trace.state.digests import digest_state, leaf_bytes
from flor_trace.state.encode import encode
from flor_trace.state.graph import Graph, first_paths
from flor_trace.state.packmemory import PackMemory
from flor_trace.store.framing import address_of, make_key
from flor_trace.types import Address, ChunkWriter, Digest, StackFrame

Job = Callable[[ChunkWriter], None]
Saved = Callable[["Taken"], None]
Tell = Callable[[Mapping[str, Any]], None]

#: Bytes a second that are thought to be hashed before it was measured.
FIRST_RATE = 5e9
#: Hashes of less are not measured.
MEASURE_FROM = 4 << 20

#: Stands for the stack when none of the program's functions runs any more.
_NO_FRAME: StackFrame = (compile("", "", "exec"), {}, {}, {})


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
    number: int = -1  #: counts all that were taken
    assumed: int = 0  #: bytes that were taken for constant and not read
    adopted: list[tuple[int, Constant]] = field(
        default_factory=list
    )  #: what is assumed from now on

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
        tell: Tell = lambda frame: None,
    ) -> None:
        self._modules = modules
        self._clocks = clocks
        self._relocate = relocate
        self._submit = submit
        self._is_project_file = is_project_file
        self._known: set[Address] = set()
        self._memory = PackMemory()
        self._tell = tell
        self._constants = Constants(locate, private_draw())
        self._told = -1  #: up to this take, the journal knows that all is confirmed
        self._relied = -1  #: the last take that assumed anything
        self._rate = FIRST_RATE  #: bytes that are hashed in a second
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
        clocks = self._clocks()
        graph = self._capture(clocks)
        leaves = leaf_bytes(graph)
        digests = self._digests(leaves, self.budget.spare(began - self._began))
        sizes = [leaf.nbytes for leaf in leaves]
        addresses = [address_of(key) for key in map(make_key, sizes, digests)]
        new = {a: leaf for a, leaf in zip(addresses, leaves, strict=True) if a not in self._known}
        buffers = [leaf.tobytes() for leaf in new.values()]
        graph.leaves = list(addresses)  # no view of the program's memory outlives the boundary
        seconds = perf_counter() - began
        constants = self._constants
        self.budget.charge(seconds, constants.extra / self._rate)
        return Taken(
            graph,
            digests,
            addresses,
            buffers,
            seconds,
            clocks,
            sum(sizes),
            number=constants.take,
            assumed=constants.assumed,
            adopted=constants.adopted,
        )

    def confirm(self) -> None:
        """Look at what checkpoints took for constant and nobody looked at since.

        To be called when a loop or the program is over.  Charges for it.
        """
        if not self._constants.pending or torch_intercepts():
            return
        began = perf_counter()
        self._constants.prove(leaf_bytes(self._capture(self._clocks())))
        self._report()
        self.budget.spent += perf_counter() - began

    def _capture(self, clocks: frozenset[str]) -> Graph:
        stack = frames(self._modules.filenames) or [_NO_FRAME]
        return capture(
            roots(stack, self._modules.namespaces(), self._modules.filenames),
            relocate=self._relocate,
            is_project_file=self._is_project_file,
            ignore=clocks,
            memory=self._memory,
        )

    def _digests(self, leaves: Sequence[memoryview], spare: float) -> list[Digest]:
        """Return the digests of the leaves; `spare` seconds may be spent beyond what is needed."""
        began, constants = perf_counter(), self._constants

        def stored(size: int, digest: Digest) -> bool:
            return address_of(make_key(size, digest)) in self._known

        digests = constants.digests(leaves, stored=stored, spare=int(spare * self._rate))
        if constants.looked >= MEASURE_FROM:
            rate = constants.looked / max(perf_counter() - began, 1e-6)
            self._rate = 0.5 * (self._rate + rate)
        if constants.assumed:
            self._relied = constants.take
        self._report()
        return digests

    def _report(self) -> None:
        """Tell the journal what is known by now of the takes so far; what is bad comes first."""
        for what, why in PLUGINS.take_problems():
            self._tell({"t": "lost", "what": what, "why": why})
        for found in self._constants.findings():
            self._tell(
                {
                    "t": found.kind,
                    "after": found.after,
                    "before": found.before,
                    "id": found.number,
                    "bytes": found.nbytes,
                }
            )
        confirmed = self._constants.confirmed
        if self._told < confirmed and self._told < self._relied:
            self._told = confirmed
            self._tell({"t": "confirmed", "take": confirmed})

    def _name(self, taken: Taken) -> None:
        """Find out, in the background, what a person would call the new constants."""
        for leaf, constant in taken.adopted:
            node = next(n for n, node in enumerate(taken.graph.nodes) if node.leaf == leaf)
            self._tell(
                {
                    "t": "constant",
                    "id": constant.number,
                    "take": taken.number,
                    "path": first_paths(taken.graph, {node}).get(node, ""),
                    "bytes": constant.nbytes,
                }
            )

    def forget(self) -> None:
        """Copy everything again with the next checkpoint: some of it was not written."""
        self._known = set()

    def save(self, taken: Taken, saved: Saved) -> bool:
        """Queue `taken` for the store; `saved` is called in the background when it is durable."""

        def job(store: ChunkWriter) -> None:
            write(taken, store)
            self._name(taken)
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
