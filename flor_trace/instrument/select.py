"""Decide which modules are the user's own and are to be rewritten."""

from __future__ import annotations

import os
import sys
from fnmatch import fnmatch
from pathlib import Path

_INSTALLED = frozenset({"site-packages", "dist-packages"})
_OURS = os.path.realpath(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Project:
    """The directory that holds the user's own code, and the libraries that count as such.

    `include` names top-level modules outside of it that are rewritten too (``networkx``);
    `exclude` holds patterns of module paths that are not (``tests/*``).
    """

    def __init__(
        self, root: Path, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()
    ) -> None:
        self.root = Path(os.path.realpath(root))
        self.include = include
        self.exclude = exclude
        self._prefix = os.path.join(self.root, "")
        self._libraries = _interpreter_libraries(str(self.root))
        self._known: dict[str, str | None] = {}
        self._environments: dict[str, bool] = {}

    def module_of(self, path: str) -> str | None:
        """Return the path of a file in the project, with forward slashes; None for foreign files.

        Files of an included library are ``"~networkx/algorithms/x.py"``.
        """
        if path not in self._known:
            self._known[path] = self._find(os.path.realpath(path))
        return self._known[path]

    def _find(self, path: str) -> str | None:
        if path.startswith(os.path.join(_OURS, "")):
            return None
        module = self._own(path) or self._included(path)
        if module is None or any(fnmatch(module, pattern) for pattern in self.exclude):
            return None
        return module

    def _own(self, path: str) -> str | None:
        if not path.startswith(self._prefix) or path.startswith(self._libraries):
            return None
        relative = path[len(self._prefix) :]
        folders = relative.split(os.sep)[:-1]
        if not _INSTALLED.isdisjoint(folders):
            return None
        inside = self._prefix
        for folder in folders:
            inside = os.path.join(inside, folder)
            if self._is_environment(inside):
                return None
        return relative.replace(os.sep, "/")

    def _is_environment(self, folder: str) -> bool:
        if folder not in self._environments:
            marker = os.path.join(folder, "pyvenv.cfg")
            self._environments[folder] = os.path.isfile(marker)
        return self._environments[folder]

    def _included(self, path: str) -> str | None:
        """Take the innermost folder, or file, that carries an included name."""
        parts = path.split(os.sep)
        for k in range(len(parts) - 1, -1, -1):
            name = parts[k].removesuffix(".py") if k == len(parts) - 1 else parts[k]
            if name in self.include and not self._inside_package(parts[:k]):
                return "~" + "/".join(parts[k:])
        return None

    @staticmethod
    def _inside_package(parts: list[str]) -> bool:
        """An included name is one of a top-level module: its folder is no package itself."""
        return os.path.isfile(os.path.join(os.sep.join(parts), "__init__.py"))


def _interpreter_libraries(root: str) -> tuple[str, ...]:
    """Return the library folders of the interpreter, unless the project itself lies in one."""
    found = set()
    for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix):
        for name in ("lib", "lib64", "Lib"):
            folder = os.path.join(os.path.realpath(prefix), name, "")
            if not os.path.join(root, "").startswith(folder):
                found.add(folder)
    return tuple(sorted(found))
