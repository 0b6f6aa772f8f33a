"""Put together what several copies of a run have in its directory, so that nothing is lost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from flor_trace.errors import RemoteError

_NUMBERED = re.compile(r"(replay-)([0-9]+)(\.journal)|(dropped|repaired)(?:-([0-9]+))?")


def merge(local: Mapping[str, bytes], others: Iterable[Mapping[str, bytes]]) -> dict[str, bytes]:
    """Return the files to write so that the local copy has everything that the others have.

    Journals only grow, so that one that begins as another has all of it. Journals of replays, and
    of what became known later, may have got the same name in two places: then one gets another.

    Raises `RemoteError` where two copies of the run itself are not of one run.
    """
    have = dict(local)
    for other in others:
        for name, data in sorted(other.items()):
            _add(have, name, data)
    return {name: data for name, data in have.items() if local.get(name) != data}


def _add(have: dict[str, bytes], name: str, data: bytes) -> None:
    if name == "journal":
        mine = have.get(name, b"")
        if not (mine.startswith(data) or data.startswith(mine)):
            raise RemoteError(
                "there is another run with the same id, and neither is the beginning of the "
                "other; nothing was changed. Pull it into a store of its own with --store DIR"
            )
        have[name] = max(mine, data, key=len)
        return
    kind = _kind(name)
    for other, mine in have.items():
        if _kind(other) == kind and mine.startswith(data):
            return
        if _kind(other) == kind and data.startswith(mine):
            have[other] = data
            return
    have[_free(have, name, kind)] = data


def _kind(name: str) -> str:
    match = _NUMBERED.fullmatch(name)
    return name if match is None else match[1] or match[4]


def _free(have: Mapping[str, bytes], name: str, kind: str) -> str:
    number = 0
    while name in have:
        number += 1
        name = f"{kind}{number}.journal" if kind.endswith("-") else f"{kind}-{number}"
    return name
