"""What recording has imported, started and opened when the first line of a program runs."""

from __future__ import annotations

import json
import subprocess

from harness import Project

PROGRAM = """\
import sys
names = sorted(name for name in sys.modules if name.partition(".")[0] != "flor_trace")
import json
print(json.dumps(names))
"""

#: Modules of Python and of libraries that recording needs from the start, by their first name.
#: Each costs every recorded program time and may stand in the way of a module of its own that has
#: the same name: before adding to this list, see whether the import can wait or be avoided.
#: For `typing` there is `flor_trace.hints`, for `dataclasses` there is `flor_trace.records`.
NEEDED = {
    # what `python -m` and every package use
    *("__future__", "runpy", "importlib", "contextlib", "collections", "functools", "operator"),
    *("keyword", "reprlib", "types", "itertools", "warnings", "atexit", "threading", "weakref"),
    *("_collections", "_functools", "_operator", "_weakrefset", "gc", "errno"),
    # paths
    *("pathlib", "ntpath", "fnmatch", "urllib", "ipaddress", "glob", "pwd", "grp"),
    # the journal and the store
    *("json", "_json", "re", "enum", "_sre", "copyreg", "struct", "_struct", "array", "zlib"),
    # (some releases of zstandard import typing)
    *("zstandard", "typing", "_typing", "platform", "binascii", "fcntl", "signal"),
    # the snapshot
    *("select", "_sha1"),
    # memory that checkpoints are copied to
    "mmap",
    # the state of the program's own random numbers
    *("random", "_random", "bisect", "_bisect", "math", "_sha512", "_sha2"),
}


def modules(project: Project, *how: str) -> set[str]:
    done: subprocess.CompletedProcess[str] = project.flor(*how)
    return set(json.loads(done.stdout))


def test_only_what_recording_needs_is_imported_before_the_program(project: Project) -> None:
    project.write("main.py", PROGRAM)
    project.flor("main.py")  # from now on its rewritten code is in the cache
    plain = set(json.loads(project.plain("main.py").stdout))

    extra = {name.partition(".")[0] for name in modules(project, "main.py") - plain}

    assert extra - NEEDED == set()
