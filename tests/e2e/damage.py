"""Damage chunks of a store, and look whether its checkpoints are whole."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from flor_trace.history.catalog import Catalog
from flor_trace.replay.recorded import RecordedRun, SavedState
from flor_trace.state.closure import chunks_of
from flor_trace.state.digests import combine, digest_roots
from flor_trace.state.encode import decode
from flor_trace.store.framing import HEADER_SIZE, KEY_SIZE, Key, digest_of, key_of
from flor_trace.store.index import Entry, Index, pack_names, read_index, walk, write_index
from flor_trace.store.layout import Store, open_store
from flor_trace.store.reader import PackReader
from flor_trace.types import Address


class Packs:
    """The packs of a project's store as they were, so that they can be had again."""

    def __init__(self, project: Path) -> None:
        self.store: Store = open_store(project / ".flor_trace", create=False)
        self._whole = {path: path.read_bytes() for path in self.store.packs.iterdir()}

    def restore(self) -> None:
        """Make everything as it was, and forget all repairs and replays."""
        for path in self.store.packs.iterdir():
            path.unlink()
        for path, data in self._whole.items():
            path.write_bytes(data)
        for pattern in ("repaired*", "replay-*"):
            for path in self.store.runs.glob(f"*/{pattern}"):
                path.unlink()

    def flip(self, addresses: Iterable[Address]) -> None:
        """Change a bit in the stored bytes of chunks, wherever they are."""
        for path, entries in self._entries():
            data = bytearray(path.read_bytes())
            for entry in _of(entries, addresses):
                data[entry.offset + HEADER_SIZE + entry.stored_length // 2] ^= 1
            path.write_bytes(data)

    def delete(self, addresses: Iterable[Address]) -> None:
        """Write the packs without these chunks."""
        for path, entries in self._entries():
            gone = set(_of(entries, addresses))
            data = path.read_bytes()
            kept, parts, end = [], [data[: entries[0].offset]], entries[0].offset
            for entry in entries:
                if entry not in gone:
                    kept.append(Entry(entry.key, end, entry.stored_length))
                    parts.append(data[entry.offset : entry.end])
                    end += entry.end - entry.offset
            path.write_bytes(b"".join(parts))
            write_index(path.parent, path.stem, Index(end, tuple(kept)))

    def truncate(self, share: float) -> None:
        """Cut packs off; their indexes stay."""
        for path in self.store.packs.glob("*.pack"):
            os.truncate(path, int(path.stat().st_size * share))

    def _entries(self) -> Iterable[tuple[Path, list[Entry]]]:
        for name in pack_names(self.store.packs):
            path = self.store.packs / f"{name}.pack"
            index = read_index(self.store.packs, name)
            with path.open("rb") as file:
                size = path.stat().st_size
                yield path, list(index.entries if index else walk(file.fileno(), 16, size))


def _of(entries: Iterable[Entry], addresses: Iterable[Address]) -> list[Entry]:
    keys: Collection[Key] = {key_of(address) for address in addresses}
    assert all(len(key) == KEY_SIZE for key in keys)
    return [entry for entry in entries if entry.key in keys]


def run_of(store: Store) -> RecordedRun:
    """The only run, as replays see it now."""
    with Catalog(store.path) as catalog:
        (row,) = catalog.runs()
        return RecordedRun(catalog.frames(row.runid))


def states_of(store: Store) -> dict[int, SavedState]:
    """The checkpoints of its main loop."""
    main = run_of(store).main
    assert main is not None
    return main.states


def leaves_of(store: Store, state: SavedState) -> list[Address]:
    """The chunks that a checkpoint names."""
    return chunks_of(PackReader(store).get(state.manifest))


def own_leaves(store: Store, boundary: int) -> list[Address]:
    """Those that no other checkpoint names."""
    states = states_of(store)
    others = {a for k, s in states.items() if k != boundary for a in leaves_of(store, s)}
    return [each for each in leaves_of(store, states[boundary]) if each not in others]


def digests_of(store: Store) -> dict[int, str]:
    """The digest of each saved state, computed from what is stored; every chunk is read."""
    run, reader, found = run_of(store), PackReader(store), {}
    for boundary, state in states_of(store).items():
        graph = decode(reader.get(state.manifest))
        for leaf in graph.leaves:
            assert isinstance(leaf, str)
            reader.get(leaf)
        leaves = [digest_of(key_of(leaf)) for leaf in graph.leaves if isinstance(leaf, str)]
        roots = digest_roots(graph, leaves, frozenset(run.clocks))
        found[boundary] = combine(roots).hex()
    return found


def recorded_digests(store: Store) -> dict[int, str]:
    """The digests that the run's journal tells."""
    return {boundary: state.digest for boundary, state in states_of(store).items()}
