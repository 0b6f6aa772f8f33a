"""Take a checkpoint: capture the scope, copy what is new, and hand it to the writer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import perf_counter

from flor_trace._speedups import frames
from flor_trace.errors import StoreError
from flor_trace.hints import Any, Protocol
from flor_trace.records import dataclass, field
from flor_trace.runtime.constants import Constant, Constants, Read
from flor_trace.runtime.copies import Copied, Copies
from flor_trace.runtime.owners import locate, private_draw
from flor_trace.runtime.policy import Budget
from flor_trace.runtime.scope import Modules, roots
from flor_trace.runtime.staging import Hold, Pool, spare_memory
from flor_trace.runtime.tracers import torch_intercepts
from flor_trace.state.capture import capture
from flor_trace.state.codecs.plugins import PLUGINS
from flor_trace.state.digests import digest_state, leaf_bytes
from flor_trace.state.encode import encode
from flor_trace.state.graph import Graph, first_paths
from flor_trace.state.packmemory import PackMemory
from flor_trace.store.framing import Base, Key, address_of, key_of, make_key
from flor_trace.store.writer import Commit
from flor_trace.types import Address, ChunkWriter, Digest, StackFrame

Saved = Callable[["Taken"], None]
Tell = Callable[[Mapping[str, Any]], None]

#: Bytes a second that are thought to be hashed before it was measured.
FIRST_RATE = 5e9
#: Hashes of less are not measured.
MEASURE_FROM = 4 << 20

#: Stands for the stack when none of the program's functions runs any more.
_NO_FRAME: StackFrame = (compile("", "", "exec"), {}, {}, {})


#: Chunks that are put in one job: a fork waits for the job that is done.
JOB_BYTES = 1 << 20


class Chunks(ChunkWriter, Protocol):
    """Takes chunks of which the key is known, or what was in their place before."""

    def put(
        self,
        data: bytes | bytearray | memoryview,
        *,
        key: Key | None = None,
        base: Base | None = None,
        raw: bool = False,
    ) -> Address:
        """Store the bytes unless they are there already; durable after `flush`."""


class Background(Protocol):
    """Makes checkpoints durable beside the program."""

    @property
    def busy(self) -> bool:
        """Whether what it does is taken from the program."""

    @property
    def max_bytes(self) -> int:
        """How much memory may wait to be written."""

    def commit(self, commit: Commit, nbytes: int) -> bool:
        """Take what keeps `nbytes` until it is written; False when that would be too much."""


@dataclass(slots=True)
class Taken:
    """A captured state on its way to the store."""

    graph: Graph  #: its leaves are addresses
    digests: list[Digest]  #: of the leaves
    addresses: list[Address]
    buffers: list[Copied]  #: the leaves that the store does not have
    hold: Hold  #: keeps their memory
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
    whole: bool = True  #: whether there was memory to copy all that is new

    @property
    def new_bytes(self) -> int:
        """Bytes that had to be copied."""
        return sum(len(copied.data) for copied in self.buffers)


class Checkpointer:
    """Takes checkpoints on the training thread and writes them in the background."""

    def __init__(
        self,
        *,
        modules: Modules,
        clocks: Callable[[], frozenset[str]],
        relocate: tuple[tuple[str, str], ...],
        background: Background,
        budget: Budget,
        is_project_file: Callable[[str], bool],
        tell: Tell = lambda frame: None,
    ) -> None:
        self._modules = modules
        self._clocks = clocks
        self._relocate = relocate
        self._background = background
        self._is_project_file = is_project_file
        self._known: set[Key] = set()
        self.pool = Pool(background.max_bytes, spare_memory)
        self._copies = Copies(self.pool)
        self._memory = PackMemory()
        self._tell = tell
        self._constants = Constants(locate, private_draw())
        self._told = -1  #: up to this take, the journal knows that all is confirmed
        self._relied = -1  #: the last take that assumed anything
        self._rate = FIRST_RATE  #: bytes that are hashed in a second
        self._began = perf_counter()
        self.budget = budget
        self.skipped = 0  #: because those before them were not written yet
        self._behind = 0  #: of them, those that were not even taken
        self._taken_away: deque[float] = deque()  #: seconds of the background, not charged yet

    def allowed(self) -> bool:
        """Whether a checkpoint can be taken now, and the budget has room for it."""
        while self._taken_away:
            self.budget.background(self._taken_away.popleft())
        if torch_intercepts() or not self.budget.allows(perf_counter() - self._began):
            return False
        if self.pool.behind:
            self.skipped += 1
            self._behind += 1
            return False
        return True

    def due(self) -> float:
        """The time, as of `perf_counter`, from which on the budget has room for one."""
        return self._began + self.budget.due()

    def take(self) -> Taken:
        """Capture the state that the innermost frame of the program can see, and charge for it."""
        began = perf_counter()
        clocks = self._clocks()
        graph = self._capture(clocks)
        leaves = leaf_bytes(graph)
        copying = self._copies.begin(leaves, self._known)
        digests = self._digests(leaves, copying.read, self.budget.spare(began - self._began))
        buffers = copying.finish(digests)
        sizes = [leaf.nbytes for leaf in leaves]
        addresses = [address_of(key) for key in map(make_key, sizes, digests)]
        graph.leaves = list(addresses)  # no view of the program's memory outlives the boundary
        seconds = perf_counter() - began
        constants = self._constants
        self.budget.charge(seconds, constants.extra / self._rate)
        return Taken(
            graph,
            digests,
            addresses,
            buffers,
            copying.hold,
            seconds,
            clocks,
            sum(sizes),
            number=constants.take,
            assumed=constants.assumed,
            adopted=constants.adopted,
            whole=copying.whole,
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

    def _digests(self, leaves: Sequence[memoryview], read: Read, spare: float) -> list[Digest]:
        """Return the digests of the leaves; `spare` seconds may be spent beyond what is needed."""
        began, constants = perf_counter(), self._constants

        def stored(size: int, digest: Digest) -> bool:
            return make_key(size, digest) in self._known

        spare_bytes = int(spare * self._rate)
        digests = constants.digests(leaves, read=read, stored=stored, spare=spare_bytes)
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

    def spent(self, seconds: float) -> None:
        """Charge what the background has taken from the program; any thread may call."""
        self._taken_away.append(seconds)

    def close(self) -> None:
        """Tell the journal what was left out, and give back all memory."""
        if self._behind:
            what = f"{self._behind} checkpoint{'s' if self._behind > 1 else ''}"
            why = "those before them were not written yet, and memory for copies is bounded"
            self._tell({"t": "lost", "what": what, "why": why})
        self.pool.close()

    def forget(self) -> None:
        """Copy everything again with the next checkpoint: some of it was not written."""
        self._known = set()
        self._copies.forget()

    def save(self, taken: Taken, saved: Saved) -> bool:
        """Queue `taken` for the store; `saved` is called in the background when it is durable."""

        def listed(store: ChunkWriter) -> None:
            self._name(taken)
            saved(taken)

        commit = Commit([*self._chunks(taken)], lambda store: put_manifest(taken, store), listed)
        if not (taken.whole and self._background.commit(commit, taken.new_bytes)):
            self.skipped += 1
            taken.hold.release()
            return False
        self._known.update(map(key_of, taken.addresses))
        return True

    def _chunks(self, taken: Taken) -> Iterator[Callable[[Chunks], None]]:
        """Give the jobs that put the chunks, and the one that is done with their memory."""
        waiting: list[Copied] = []
        size = 0
        for copied in taken.buffers:
            waiting.append(copied)
            size += len(copied.data)
            if size >= JOB_BYTES:
                yield self._put(waiting)
                waiting, size = [], 0
        yield self._put(waiting)
        yield lambda store: self._written(taken)

    def _put(self, some: list[Copied]) -> Callable[[Chunks], None]:
        def put(store: Chunks) -> None:
            raw = self._background.busy
            for copied in some:
                store.put(copied.data, key=copied.key, base=copied.base, raw=raw)
            some.clear()

        return put

    def _written(self, taken: Taken) -> None:
        taken.buffers = []
        taken.hold.release()
        self.pool.tend()


def put_manifest(taken: Taken, store: ChunkWriter) -> None:
    """Put the manifest of a state whose chunks are durable; raise `StoreError` if some are not."""
    taken.digest = digest_state(taken.graph, taken.digests, taken.clocks)
    missing = [address for address in taken.addresses if not store.has(address)]
    if missing:  # an earlier write failed: a checkpoint is listed only if it can be restored
        raise StoreError(
            f"{len(missing)} chunks of a checkpoint were lost with an earlier one, among them "
            f"{missing[0]}; it is not kept, the next one will be whole"
        )
    taken.manifest = store.put(encode(taken.graph, taken.addresses))
