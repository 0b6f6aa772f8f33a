"""Every exception flor_trace can raise.

::

    FlorTraceError
    ├── UsageError              the command line or a setting is wrong
    │   ├── ScriptNotFound
    │   ├── ScriptNotRunnable
    │   ├── SettingError
    │   ├── ProbeError          a probe cannot be compiled or placed
    │   └── WhereError          a ``where`` text cannot be evaluated
    ├── NothingMatched          the selection is empty
    ├── StoreError
    │   ├── StoreNotWritable
    │   ├── StoreFormatError    not a store, or one of another version
    │   ├── ChunkMissing
    │   └── ChunkDamaged
    ├── JournalDamaged
    ├── RemoteError             a place that runs are pushed to or pulled from
    ├── SnapshotError           git could not save or give back the code
    ├── RewriteError            a code object could not be rewritten soundly
    ├── CaptureError            the state could not be captured
    ├── RestoreError            the saved state could not be put back
    ├── ReplayError             a replay could not be carried out
    └── Diverged                a replay did not follow the recorded run
"""

from __future__ import annotations


class FlorTraceError(Exception):
    """Base of everything flor_trace raises on purpose; the message says what to do."""

    exit_code = 1


class UsageError(FlorTraceError):
    """The command line, a setting or an argument is wrong."""

    exit_code = 2


class ScriptNotFound(UsageError):
    """There is no such program to record."""

    exit_code = 127


class ScriptNotRunnable(UsageError):
    """What there is, is no program."""

    exit_code = 126


class SettingError(UsageError):
    """A setting has an unknown name or a value it cannot have."""


class ProbeError(UsageError):
    """A probe cannot be compiled, or names something the recorded program does not have."""


class WhereError(UsageError):
    """A ``where`` text is not a condition over the columns of the pivot."""


class NothingMatched(FlorTraceError):
    """No run, or no cell, fits what was asked."""

    exit_code = 3


class StoreError(FlorTraceError):
    """The store cannot be used."""


class StoreNotWritable(StoreError):
    """The store's directory cannot be made or written."""

    exit_code = 125


class StoreFormatError(StoreError):
    """The directory is not a store, or is one of a version this release cannot read."""


class ChunkMissing(StoreError):
    """No pack holds the chunk."""


class ChunkDamaged(StoreError):
    """The bytes in the pack are not those that were stored."""


class JournalDamaged(StoreError):
    """A journal does not begin with a readable header."""


class RemoteError(FlorTraceError):
    """A place that runs are pushed to or pulled from cannot be used, or holds nonsense."""


class SnapshotError(FlorTraceError):
    """The code could not be saved to, or read back from, the shadow branch."""


class RewriteError(FlorTraceError):
    """A code object cannot be rewritten with proof that it still does the same."""


class CaptureError(FlorTraceError):
    """The state of the program could not be captured."""


class RestoreError(FlorTraceError):
    """The saved state does not fit the live program."""


class ReplayError(FlorTraceError):
    """A replay could not be carried out."""


class Diverged(FlorTraceError):
    """A replay did not follow the recorded run."""

    exit_code = 4
