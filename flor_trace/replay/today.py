"""The modules of the project as they are today, which probes are carried from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from flor_trace.replay.matching import Matching, likeness
from flor_trace.replay.trees import Tree, tree_of

#: Larger files are data.
LARGEST = 1 << 20
#: So many files are looked at.
MOST = 5000
#: A module of another name counts as the old one if so much of it is the same.
LEAST_LIKENESS = 0.3


class Today:
    """The Python files below a directory, each parsed when it is needed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._texts: dict[str, str] | None = None

    def defining(self, name: str) -> Iterator[tuple[str, Tree]]:
        """Give the modules in whose text a name occurs, with their trees."""
        for module, text in self._all().items():
            if name in text:
                try:
                    yield module, tree_of(text)
                except (SyntaxError, ValueError):
                    continue  # what does not compile today defines nothing

    def _all(self) -> Mapping[str, str]:
        if self._texts is None:
            self._texts = dict(self._read())
        return self._texts

    def _read(self) -> Iterator[tuple[str, str]]:
        count = 0
        for folder, folders, files in os.walk(self._root):
            folders[:] = sorted(
                each
                for each in folders
                if not each.startswith(".")
                and each != "__pycache__"
                and not os.path.exists(os.path.join(folder, each, "pyvenv.cfg"))
            )
            for file in sorted(files):
                path = Path(folder, file)
                if path.suffix != ".py" or not path.is_file() or path.stat().st_size > LARGEST:
                    continue
                count += 1
                if count > MOST:
                    return
                yield (
                    path.relative_to(self._root).as_posix(),
                    path.read_text("utf-8", errors="replace"),
                )


def matched(module: str, tree: Tree, old: Mapping[str, Tree]) -> tuple[str, Matching] | None:
    """Return the old module that one of today's was, matched with it; None if there is none."""
    name = module if module in old and likeness(tree, old[module]) >= LEAST_LIKENESS else None
    if name is None:
        scored = [(likeness(tree, each), path) for path, each in old.items()]
        best = max(scored, default=(0.0, ""))
        if best[0] < LEAST_LIKENESS:
            return None
        name = best[1]
    return name, Matching(tree, old[name])
