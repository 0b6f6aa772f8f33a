"""Chunks that are stored as differences are lost with their base, and come back with it."""

from __future__ import annotations

import pytest
from damage import Packs, digests_of, recorded_digests, run_of, states_of
from harness import Project

from flor_trace.replay.repairing import repair
from flor_trace.replay.surveying import survey
from flor_trace.state.closure import Soundness
from flor_trace.store.framing import (
    HEADER_SIZE,
    Base,
    Key,
    address_of,
    key_for,
    parse_header,
    references,
)
from flor_trace.store.index import read_index
from flor_trace.store.layout import Store, open_store
from flor_trace.store.packs import PackReader, PackWriter

PROGRAM = """
import time
import numpy as np

weights = (np.random.standard_normal(60_000) * 0.02).astype("f4")
for epoch in range(10):
    weights[np.random.random(60_000) < 0.05] *= np.float32(1.001)
    time.sleep(0.01)
print(weights.sum())
"""


def bases(store: Store) -> dict[Key, Key]:
    """For every chunk that is stored as a difference, what from."""
    found = {}
    for path in store.packs.glob("*.pack"):
        data, position = path.read_bytes(), 16
        while position < len(data):
            body = position + HEADER_SIZE
            header = parse_header(data[position:body])
            for key in references(header, data[body : body + header.stored_length]):
                found[header.key] = key
            position = body + header.stored_length
    return found


def as_differences(store: Store) -> None:
    """Store the weights of each checkpoint as what changed since the one before."""
    (pack,) = store.packs.glob("*.pack")
    with PackReader(store) as reader:
        chunks = [reader.get(address_of(e.key)) for e in read_index(store.packs, pack.stem).entries]
    pack.unlink()
    pack.with_suffix(".idx").unlink()
    writer, before = PackWriter(store, "chains"), None
    for chunk in chunks:
        base = before if len(chunk) == 240_000 else None
        writer.put(chunk, base=base)
        if len(chunk) == 240_000:
            before = Base(key_for(memoryview(chunk)), memoryview(chunk))
    writer.close()


@pytest.mark.parametrize("how", ["flip", "delete"])
def test_what_was_stored_as_a_difference_comes_back_with_its_base(
    project: Project, how: str
) -> None:
    project.write("main.py", PROGRAM)
    project.record("--name", "mine", "main.py")
    (document,) = project.replay("total=float(weights.sum())")
    before = project.pivot("total")
    store = open_store(project.path / ".flor_trace", create=False)
    as_differences(store)
    packs = Packs(project.path)
    digests = recorded_digests(packs.store)
    assert sorted(digests) == list(range(11))
    chains = bases(packs.store)
    assert len(chains) >= 5
    roots = {key for key in chains.values() if key not in chains}

    getattr(packs, how)(address_of(key) for key in roots)

    runid = run_of(packs.store).runid
    broken = survey(packs.store, [runid], Soundness(PackReader(packs.store)))
    lost = {each.state.boundary for each in broken.broken if each.state is not None}
    assert len(lost) >= 5, "all that stands on the base"
    (document,) = project.replay("total=float(weights.sum())", "--force")
    assert [each["exact"] for each in document["results"]] == [10]
    assert project.pivot("total") == before
    repair(packs.store, broken, lambda line: None)
    assert {each.how for each in broken.broken} == {"executed"}
    assert digests_of(packs.store) == digests
    assert set(states_of(packs.store)) == set(digests)
