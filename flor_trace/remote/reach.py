"""Which chunks a run needs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flor_trace.errors import StoreFormatError
from flor_trace.history.amendments import replacements
from flor_trace.store.framing import Key, key_of, parse_header, references
from flor_trace.store.reader import PackReader
from flor_trace.types import Address

Frame = Mapping[str, Any]


def needed_by(frames: Iterable[Frame], reader: PackReader) -> list[Key]:
    """Return the chunks that a run's frames name, and all that those need, each after its needs.

    Raises `ChunkMissing` or `ChunkDamaged` for one that cannot be read, `StoreFormatError` for a
    state that names none.
    """
    found: dict[Key, None] = {}
    graphs, arrays = _named(list(frames))
    for address in graphs:
        if key_of(address) not in found:
            for leaf in _leaves(address, reader.get(address)):
                _add(key_of(leaf), reader, found)
            _add(key_of(address), reader, found)
    for address in arrays:
        _add(key_of(address), reader, found)
    return list(found)


def _add(key: Key, reader: PackReader, found: dict[Key, None]) -> None:
    """Add a chunk after those that it is read with: a reader sees to it that those are few."""
    if key in found:
        return
    header, body = reader.stored(key)
    for other in references(parse_header(header), body):
        _add(other, reader, found)
    found[key] = None


def _named(frames: list[Frame]) -> tuple[list[Address], list[Address]]:
    """Return the addresses of states, and of arrays, that frames name."""
    repaired = replacements(frames)
    dropped = {frame.get("manifest") for frame in frames if frame.get("t") == "dropped"}
    graphs: dict[str, None] = {}
    arrays: dict[str, None] = {}
    for frame in frames:
        if frame.get("t") == "checkpoint":
            manifest = str(frame.get("manifest"))
            graphs[repaired.get(manifest, manifest)] = None
        elif frame.get("t") == "seed":
            graphs[str(frame.get("state"))] = None
        else:
            arrays.update(dict.fromkeys(_arrays(frame)))
    return (
        [Address(each) for each in graphs if each not in dropped],
        [Address(each) for each in arrays],
    )


def _arrays(value: Any) -> Iterator[str]:
    """Give the addresses of the arrays in a value."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            if value.get("$") == "ndarray":
                yield str(value.get("at"))
            else:
                waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _leaves(address: Address, data: bytes) -> list[Address]:
    """Return the buffers that a state is made of."""
    try:
        return [Address(str(leaf)) for leaf in json.loads(data)["leaves"]]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise StoreFormatError(
            f"the chunk {address} should be a saved state, and is none ({error}); "
            f"`flor_trace fsck` shows what else is damaged"
        ) from error
