"""What a program starts from that no source file shows: random states, threads, process facts."""

from __future__ import annotations

import binascii
import os
from collections.abc import Callable, Mapping
from types import ModuleType

from flor_trace.hints import Any
from flor_trace.records import dataclass
from flor_trace.state.capture import capture
from flor_trace.state.codecs import dataloader
from flor_trace.state.digests import leaf_bytes
from flor_trace.state.encode import encode
from flor_trace.state.graph import Graph
from flor_trace.state.rng import rng_roots
from flor_trace.store.framing import address_of, flat, key_for
from flor_trace.types import Address, ChunkWriter


@dataclass(slots=True)
class InitialState:
    """The state of one library's random generator before the program used it."""

    library: str
    threads: int | None
    graph: Graph
    buffers: list[bytes]

    @property
    def nbytes(self) -> int:
        """Size of the state."""
        return sum(map(len, self.buffers))

    def stored(self, store: ChunkWriter) -> dict[str, Any]:
        """Put the state in the store and return its journal frame.

        The frame has a copy of the chunks: nothing else that is recorded tells what they were, and
        a program that seeds nothing itself cannot be executed again without them.
        """
        addresses = [store.put(buffer) for buffer in self.buffers]
        document = encode(self.graph, addresses)
        manifest = store.put(document)
        store.flush()
        return {
            "t": "seed",
            "library": self.library,
            "state": manifest,
            "threads": self.threads,
            "copy": [_to_text(chunk) for chunk in (document, *self.buffers)],
        }


def initial_state(library: str, module: ModuleType) -> InitialState:
    """Capture the generator of `library`, whose `module` was just imported."""
    root = f"rng:{library}"
    # The generators are the libraries' own: no file of the project has a part in them.
    graph = capture({root: rng_roots()[root]}, is_project_file=lambda _: False)
    threads = module.get_num_threads() if library == "torch" else None
    buffers = [bytes(leaf) for leaf in leaf_bytes(graph)]
    return InitialState(library, threads, graph, buffers)


def copies(frame: Mapping[str, Any]) -> dict[Address, bytes]:
    """Return the chunks whose copies a journal frame of `InitialState.stored` has."""
    chunks = [binascii.a2b_base64(text) for text in frame.get("copy", ())]
    return {address_of(key_for(flat(chunk))): chunk for chunk in chunks}


def _to_text(chunk: bytes) -> str:
    return binascii.b2a_base64(chunk, newline=False).decode("ascii")


def watched_imports(
    seed: Callable[[str, ModuleType], None],
) -> dict[str, Callable[[ModuleType], None]]:
    """What is done after which import: the same in a recorded run and in its replay.

    `seed` is given each library that has a global generator, and its module.
    """
    return {
        "numpy.random": lambda module: seed("numpy", module),
        "torch": lambda module: seed("torch", module),
        "torch.utils.data.dataloader": dataloader.watch,
    }


def exit_status(error: BaseException) -> int:
    """The exit status of a program that ends with `error`."""
    if not isinstance(error, SystemExit):
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    if error.code is None:
        return 0
    return error.code & 0xFF if isinstance(error.code, int) else 1


def memory_bytes() -> int:
    """The machine's memory; 0 if it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0
