"""Let a program have its own modules under names that we import, too."""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder

from flor_trace.startup import BEFORE

TYPE_CHECKING = False  # as in `typing`, which is slow to import
if TYPE_CHECKING:
    from types import ModuleType

#: What we import and is not of the standard library.
_LIBRARIES = frozenset({"bytecode", "xxhash", "zstandard"})
_KEPT = BEFORE | {"__main__", "flor_trace"} | set(sys.builtin_module_names)

_folder = ""  #: the program's first on ``sys.path``
_hidden: frozenset[str] = frozenset()  #: what it has under names that we import, too


def give_way(folder: str) -> None:
    """Forget those of our imports that the program's first folder holds under the same name.

    A ``queue.py`` beside the script is what plain python gives to ``import queue``, while we have
    the standard library's.  We keep what we hold, and the program gets its own.
    """
    global _folder, _hidden
    try:
        names = {entry.partition(".")[0] for entry in os.listdir(folder or os.getcwd())}
    except OSError:
        return
    names &= (sys.stdlib_module_names | _LIBRARIES) - _KEPT
    _folder, _hidden = folder, frozenset(name for name in names if _has(folder, name))
    _take_out()


def _has(folder: str, name: str) -> bool:
    """Whether `import name` takes the folder's module, and it is not the one that we have."""
    ours = getattr(sys.modules.get(name), "__spec__", None)
    origin = getattr(ours, "origin", None)
    found = PathFinder.find_spec(name, [folder or os.getcwd()])
    return origin != "frozen" and found is not None and found.origin not in (None, origin)


def _take_out() -> dict[str, ModuleType]:
    """Remove the modules with hidden names, and those in them; return them."""
    found = [name for name in sys.modules if name.partition(".")[0] in _hidden]
    return {name: sys.modules.pop(name) for name in found}


class OurImports:
    """While it is entered, imports find what they find without the program.

    For what we import only when it is needed, after the program has begun.
    """

    _theirs: dict[str, ModuleType]

    def __enter__(self) -> None:
        self._removed = bool(_hidden) and _folder in sys.path
        self._theirs = _take_out()
        if self._removed:
            sys.path.remove(_folder)

    def __exit__(self, *_: object) -> None:
        if self._removed:
            sys.path.insert(0, _folder)
        if _hidden:
            _take_out()
            sys.modules.update(self._theirs)
