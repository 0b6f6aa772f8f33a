"""Finding whole chunks that lie behind damage in a pack, where a walk from its start ends."""

from __future__ import annotations

import os
from collections.abc import Iterator

from flor_trace.store import files
from flor_trace.store.check import next_chunk
from flor_trace.store.index import PACK_HEADER, PACK_SUFFIX, Entry, pack_names, walk
from flor_trace.store.layout import Store
from flor_trace.store.reader import PackReader


def salvage(store: Store, reader: PackReader) -> None:
    """Let the reader know of every chunk with a sound header, wherever in a pack it begins.

    A damaged header or a damaged beginning hides what follows it in a pack without an index.
    Packs that cannot be read are left out; raises OSError if the packs cannot be listed.
    """
    for name in pack_names(store.packs):
        try:
            reader.learn(name, list(_all_chunks(store, name)))
        except OSError:
            continue


def _all_chunks(store: Store, name: str) -> Iterator[Entry]:
    with files.reading(store.packs / (name + PACK_SUFFIX)) as fd:
        length = os.fstat(fd).st_size
        position: int | None = len(PACK_HEADER)
        while position is not None:
            for entry in walk(fd, position, length):
                yield entry
                position = entry.end
            position = next_chunk(fd, position, length)
