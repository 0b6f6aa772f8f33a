"""Put a saved state into the running program, and compare the running program with one."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import FunctionType
from typing import Any

from flor_trace._speedups import digest_many, frames
from flor_trace.errors import ChunkDamaged, ChunkMissing, RestoreError
from flor_trace.replay.recorded import SavedState
from flor_trace.runtime.scope import Modules, cells_of, roots
from flor_trace.state.capture import capture
from flor_trace.state.changes import Change, changes
from flor_trace.state.codecs.classes import data_of
from flor_trace.state.digests import combine, digest_roots, leaf_bytes
from flor_trace.state.encode import decode
from flor_trace.state.graph import Graph
from flor_trace.state.inflating import inflate
from flor_trace.state.restore import restore
from flor_trace.store.framing import digest_of, key_of
from flor_trace.types import Address, ChunkReader, Digest, StackFrame

Relocation = tuple[tuple[str, str], ...]

#: Stands for the program's frames when it has none any more.
_NO_FRAME: StackFrame = (compile("", "", "exec"), {}, {}, {})


class StateKeeper:
    """Works on the scope of the innermost frame of the program, on the program's thread."""

    def __init__(
        self,
        modules: Modules,
        store: ChunkReader,
        relocate: Relocation,
        clocks: frozenset[str],
        is_project_file: Callable[[str], bool],
    ) -> None:
        self._modules = modules
        self._store = store
        self._relocate = relocate
        self._clocks = clocks
        self._is_project_file = is_project_file

    def restore(self, state: SavedState) -> dict[str, Any]:
        """Put `state` in place; return the locals of the innermost frame, to be assigned there.

        Raises:
            RestoreError, ChunkMissing, ChunkDamaged: naming what does not fit or cannot be read.

        """
        saved = decode(self._store.get(state.manifest))
        _import_generators(saved)
        stack = frames(self._modules.filenames)
        namespaces = self._modules.namespaces()
        live = roots(stack, namespaces, self._modules.filenames)
        _check_stack(saved, live)
        values = restore(saved, live, self._store.get, relocate=self._relocate)
        _set_globals(values, live, namespaces)
        for root, cell in cells_of(stack):
            if root in values:
                cell.cell_contents = values[root]
        return {
            root.partition(":")[2]: value
            for root, value in values.items()
            if root.startswith("local:")
        }

    def differences(self, state: SavedState, *, but_locals: bool = False) -> list[str]:
        """How the live state differs from the saved one, named for people; clocks left out."""
        live, live_digests = self.capture()
        after = digest_roots(live, live_digests, self._clocks)
        if combine(after).hex() == state.digest:
            return []
        try:
            saved = decode(self._store.get(state.manifest))
        except (ChunkMissing, ChunkDamaged) as error:
            return [f"the digest of the state (what of it differs cannot be told: {error})"]
        saved_digests = [_digest_of(leaf) for leaf in saved.leaves]
        before = digest_roots(saved, saved_digests, self._clocks)
        if but_locals:
            before = {k: v for k, v in before.items() if not k.startswith("local:")}
        if all(after.get(root) == digest for root, digest in before.items()):
            return []
        found = self._changes(saved, live, saved_digests, live_digests)
        return [f"{each.path} {each.what} {each.detail}".rstrip() for each in found] or [
            f"{root} differs" for root, digest in before.items() if after.get(root) != digest
        ]

    def _changes(
        self, saved: Graph, live: Graph, saved_digests: list[Digest], live_digests: list[Digest]
    ) -> list[Change]:
        with suppress(ChunkMissing, ChunkDamaged):  # then packed containers are told as a whole
            saved, saved_digests = inflate(saved, saved_digests, self._store.get)
            live, live_digests = inflate(live, live_digests, self._store.get)
        return changes(saved, live, saved_digests, live_digests, self._clocks)

    def fingerprint(self) -> dict[str, Digest]:
        """A digest for every root of the live state."""
        graph, digests = self.capture()
        return digest_roots(graph, digests, frozenset())

    def digests(self) -> dict[str, Digest]:
        """As `fingerprint`, but clock readings do not count: it can be set beside another run's."""
        graph, digests = self.capture()
        return digest_roots(graph, digests, self._clocks)

    def capture(self) -> tuple[Graph, list[Digest]]:
        """The live state, and the digests of its buffers."""
        stack = frames(self._modules.filenames) or [_NO_FRAME]
        live = roots(stack, self._modules.namespaces(), self._modules.filenames)
        graph = capture(
            live,
            relocate=self._relocate,
            is_project_file=self._is_project_file,
            ignore=self._clocks,
        )
        return graph, [Digest(each) for each in digest_many(leaf_bytes(graph))]


def _import_generators(saved: Graph) -> None:
    """Import what has a process-wide generator: the recorded loop may have been the first to."""
    for root, library in (("rng:numpy", "numpy.random"), ("rng:torch", "torch")):
        if root in saved.roots and library not in sys.modules:
            importlib.import_module(library)


def _digest_of(leaf: memoryview | Address) -> Digest:
    assert isinstance(leaf, str)
    return digest_of(key_of(leaf))


def _check_stack(saved: Graph, live: Mapping[str, Any]) -> None:
    """The frames around the loop must be those of the recorded run."""

    def callers(names: Sequence[str]) -> set[str]:
        return {name.rpartition(":")[0] for name in names if name.startswith("caller:")}

    missing = callers(list(saved.roots)) - callers(list(live))
    if missing:
        raise RestoreError(
            f"the loop is reached by another way than in the recorded run: {', '.join(missing)} is "
            "not among the callers; this run can only be re-executed from its start"
        )


def _set_globals(
    values: Mapping[str, Any], live: Mapping[str, Any], namespaces: Mapping[str, dict[str, Any]]
) -> None:
    for root, value in values.items():
        space, _, rest = root.partition(":")
        if space == "global" and live.get(root, namespaces) is not value:
            module, _, name = rest.rpartition(":")
            namespaces[module][name] = value
    for root, value in live.items():
        space, _, rest = root.partition(":")
        if space == "global" and root not in values:
            module, _, name = rest.rpartition(":")
            if not _emptied(value):
                del namespaces[module][name]


def _emptied(value: Any) -> bool:
    """Whether the value is code, which held nothing then, and now does not either."""
    if isinstance(value, type):
        for name in data_of(value):
            type.__delattr__(value, name)
        return True
    if isinstance(value, FunctionType) and value.__closure__ is None:
        value.__dict__.clear()
        return True
    return False
