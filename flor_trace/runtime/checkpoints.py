"""Take a checkpoint: capture the scope, copy what is new, and hand it to the writer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isinf
from time import perf_counter, thread_time

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

    @property
    def bytes_written(self) -> int:
        """How many bytes all new chunks have taken so far."""


class Background(Protocol):
    """Makes checkpoints durable beside the program."""

    @property
    def busy(self) -> bool:
        """Whether what it does is taken from the program."""

    @property
    def max_bytes(self) -> int:
        """How much memory may wait to be written."""

    def has_room(self, nbytes: int) -> bool:
        """Whether so many bytes can be written with something left free for others."""

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
    stored: int = 0  #: bytes by which the store has grown
    beside: float = 0.0  #: seconds of processor time that writing it took

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
        self.skipped = 0  #: because those before them were not written yet, or the disk is full
        self._no_room = 0  #: of them, those for which there was no room on the disk
        self._charges: deque[Callable[[], None]] = deque()  #: by the background, not made yet

    def allowed(self) -> bool:
        """Whether a checkpoint can be taken now, and the budget has room for it."""
        self._settle()
        if torch_intercepts() or not self.budget.allows(perf_counter() - self._began):
            return False
        if self.pool.behind:
            self.skipped += 1
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
        at = began - self._began
        self.budget.charge(seconds, constants.extra / self._rate, at=at)
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

    def _settle(self) -> None:
        """Make the charges that the background left."""
        while self._charges:
            self._charges.popleft()()

    def spent(self, seconds: float) -> None:
        """Charge what the background has taken from the program; any thread may call."""
        self._charges.append(lambda: self.budget.background(seconds))

    def close(self) -> None:
        """Tell the journal what was left out, and give back all memory."""
        reasons = {
            "those before them were not written yet, and memory for copies is bounded": (
                self.skipped - self._no_room
            ),
            "the room on the disk that a run may fill was used up; --disk gives it more": (
                self._no_room
            ),
        }
        for why, count in reasons.items():
            if count:
                what = f"{count} checkpoint{'s' if count > 1 else ''}"
                self._tell({"t": "lost", "what": what, "why": why})
        self.pool.close()

    def summary(self) -> dict[str, Any]:
        """What the journal says at the end of the budgets: what was spent, and what bound them."""
        self._settle()
        budget = self.budget
        due = {"time": budget.due_by_time(), "disk": budget.due_by_disk()}
        binding = max(due, key=due.__getitem__)
        return {
            "checkpoint_seconds": budget.spent,
            "checkpoints": budget.taken,
            "skipped": self.skipped,
            "no_room": self._no_room,
            "disk": budget.disk,
            "written": budget.written,
            "next_seconds": budget.estimate + budget.beside,
            "next_bytes": budget.growth,
            "next_due": None if isinf(due[binding]) else due[binding],
            "bound_by": binding,
        }

    def forget(self) -> None:
        """Copy everything again with the next checkpoint: some of it was not written."""
        self._known = set()
        self._copies.forget()
        self.budget.promised = 0

    def save(self, taken: Taken, saved: Saved) -> bool:
        """Queue `taken` for the store; `saved` is called in the background when it is durable."""
        promised = taken.new_bytes

        def manifest(store: Chunks) -> None:
            with _noting(taken, store):
                put_manifest(taken, store)

        def listed(store: Chunks) -> None:
            self._name(taken)
            self._charges.append(lambda: self.budget.stored(promised, taken.stored))
            saved(taken)

        commit = Commit([*self._chunks(taken)], manifest, listed)
        if not (taken.whole and self._promise(promised)):
            return self._left_out(taken)
        if not self._background.commit(commit, promised):
            self.budget.stored(promised, None)
            return self._left_out(taken)
        self._known.update(map(key_of, taken.addresses))
        return True

    def _promise(self, nbytes: int) -> bool:
        """Set aside room on the disk; False if there is none."""
        if self._background.has_room(nbytes) and self.budget.promise(nbytes):
            return True
        self._no_room += 1
        return False

    def _left_out(self, taken: Taken) -> bool:
        self.skipped += 1
        taken.hold.release()
        return False

    def _chunks(self, taken: Taken) -> Iterator[Callable[[Chunks], None]]:
        """Give the jobs that put the chunks, and the one that is done with their memory."""
        waiting: list[Copied] = []
        size = 0
        for copied in taken.buffers:
            waiting.append(copied)
            size += len(copied.data)
            if size >= JOB_BYTES:
                yield self._put(taken, waiting)
                waiting, size = [], 0
        yield self._put(taken, waiting)
        yield lambda store: self._written(taken)

    def _put(self, taken: Taken, some: list[Copied]) -> Callable[[Chunks], None]:
        def put(store: Chunks) -> None:
            raw = self._background.busy
            with _noting(taken, store):
                for copied in some:
                    store.put(copied.data, key=copied.key, base=copied.base, raw=raw)
            some.clear()

        return put

    def _written(self, taken: Taken) -> None:
        taken.buffers = []
        taken.hold.release()
        self.pool.tend()


@contextmanager
def _noting(taken: Taken, store: Chunks) -> Iterator[None]:
    """Note what is done of a checkpoint, and by how much the store grows."""
    began, before = thread_time(), store.bytes_written
    yield
    taken.beside += thread_time() - began
    taken.stored += store.bytes_written - before


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
