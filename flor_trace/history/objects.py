"""Turn files into git blobs and a tree, byte for byte as they are on disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from flor_trace.history.listing import Found, Listing
from flor_trace.history.names import BINARY_SUFFIXES, is_code, suffix
from flor_trace.history.statcache import StatCache
from flor_trace.records import dataclass, field

TYPE_CHECKING = False  # as in `typing`, which is slow to import
if TYPE_CHECKING:
    import hashlib
    from hashlib import sha1
else:
    try:
        # `hashlib` loads OpenSSL first, which takes longer than most snapshots.
        from _sha1 import sha1
    except ImportError:
        from hashlib import sha1

_SNIFFED = 8000  #: bytes in which git, too, looks for a NUL
_TRACKED_FACTOR = 16  #: tracked files this much above the limit are taken if git has them already

#: In the cache: looked at, and not to be stored.
_NOT_STORED = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a snapshot may hold."""

    file: int  #: bytes of one file
    total: int  #: bytes that the repository does not have yet


@dataclass(frozen=True, slots=True)
class Entry:
    """A path of the tree."""

    path: bytes
    mode: bytes
    blob: str


@dataclass(slots=True)
class Gathered:
    """The entries of a tree, and the contents that the repository may lack."""

    algorithm: str  #: ``"sha1"`` or ``"sha256"``
    entries: list[Entry] = field(default_factory=list)
    contents: dict[str, bytes] = field(default_factory=dict)
    size: int = 0

    def add(self, found: Found, blob: str, data: bytes | None) -> None:
        """Take a file whose blob is `blob`; `data` is None when the repository has it."""
        self.entries.append(Entry(found.path, found.mode, blob))
        if data is not None and blob not in self.contents:
            self.contents[blob] = data
            self.size += len(data)

    def tree(self) -> str:
        """The name that git gives the tree of these entries."""
        return tree_name(self.entries, self.algorithm)


def object_name(kind: str, data: bytes, algorithm: str) -> str:
    """The name that git gives an object."""
    hasher = _hasher(algorithm)
    hasher.update(b"%s %d\0" % (kind.encode(), len(data)))
    hasher.update(data)
    return hasher.hexdigest()


def _hasher(algorithm: str) -> hashlib._Hash:
    if algorithm == "sha1":
        return sha1(usedforsecurity=False)
    import hashlib  # noqa: PLC0415 - few repositories need it

    return hashlib.new(algorithm, usedforsecurity=False)


def tree_name(entries: Iterable[Entry], algorithm: str) -> str:
    """The name that git gives the tree with these entries."""
    return _tree([(entry.path.split(b"/"), entry) for entry in entries], 0, algorithm)


def _tree(members: list[tuple[list[bytes], Entry]], depth: int, algorithm: str) -> str:
    lines: list[tuple[bytes, bytes]] = []
    below: dict[bytes, list[tuple[list[bytes], Entry]]] = {}
    for parts, entry in members:
        name = parts[depth]
        if len(parts) > depth + 1:
            below.setdefault(name, []).append((parts, entry))
        else:
            lines.append((name, _line(entry.mode, name, entry.blob)))
    for name, inner in below.items():
        # git sorts a directory as if its name ended with a slash
        lines.append((name + b"/", _line(b"40000", name, _tree(inner, depth + 1, algorithm))))
    return object_name("tree", b"".join(line for _, line in sorted(lines)), algorithm)


def _line(mode: bytes, name: bytes, object_: str) -> bytes:
    return mode + b" " + name + b"\0" + bytes.fromhex(object_)


def gather(listing: Listing, algorithm: str, limits: Limits, cache: StatCache) -> Gathered:
    """Read what is new or changed, code first, until the limits are reached."""
    gathered = Gathered(algorithm)
    for found in sorted(listing.found.values(), key=_importance):
        _gather_one(gathered, listing, found, limits, cache)
    gathered.entries.sort(key=lambda entry: entry.path)
    return gathered


def _importance(found: Found) -> tuple[bool, bool, int, bytes]:
    return not is_code(found.path), found.tracked is None, found.stat.st_size, found.path


def _gather_one(
    gathered: Gathered, listing: Listing, found: Found, limits: Limits, cache: StatCache
) -> None:
    known = cache.get(found.path, found.stat)
    if known:
        gathered.add(found, known, None)
        return
    reason = "binary and not tracked" if known == _NOT_STORED else _refusal(found, limits)
    if reason is None:
        data = _read(listing, found, limits)
        if data is None:
            return
        reason = _take(gathered, found, data, limits, cache)
    if reason is not None:
        listing.leave_out(found.path, reason)


def _refusal(found: Found, limits: Limits) -> str | None:
    """Why a file need not even be read."""
    if found.is_link:
        return None
    allowed = limits.file * (_TRACKED_FACTOR if found.tracked else 1)
    if found.stat.st_size > allowed:
        return _too_large(limits)
    if found.tracked is None and suffix(found.path) in BINARY_SUFFIXES:
        return "binary and not tracked"
    return None


def _take(
    gathered: Gathered, found: Found, data: bytes, limits: Limits, cache: StatCache
) -> str | None:
    """Add a file that was read, or say why not."""
    blob = object_name("blob", data, gathered.algorithm)
    if blob == found.tracked:
        cache.put(found.path, found.stat, blob)
        gathered.add(found, blob, None)
        return None
    if len(data) > limits.file:
        return _too_large(limits)
    if found.tracked is None and not found.is_link and b"\0" in data[:_SNIFFED]:
        cache.put(found.path, found.stat, _NOT_STORED)
        return "binary and not tracked"
    if gathered.size + len(data) > limits.total:
        return f"the snapshot would be larger than {limits.total:,} bytes"
    cache.put(found.path, found.stat, blob)
    gathered.add(found, blob, data)
    return None


def _too_large(limits: Limits) -> str:
    return f"larger than {limits.file:,} bytes"


def _read(listing: Listing, found: Found, limits: Limits) -> bytes | None:
    """The bytes of a file, or the target of a link; None if it is gone or cannot be read."""
    path = os.path.join(os.fsencode(listing.root), found.path)
    try:
        if found.is_link:
            return os.readlink(path)
        return _read_regular(path, limits)
    except FileNotFoundError:
        return None  # deleted a moment ago: not part of the project as it is
    except OSError as error:
        listing.leave_out(found.path, f"cannot be read: {error.strerror}")
        return None


def _read_regular(path: bytes, limits: Limits) -> bytes:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags)
    with open(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "it is no regular file any more")
        bound = limits.file * _TRACKED_FACTOR + 1
        parts = []
        while bound > 0 and (part := file.read(bound)):
            parts.append(part)
            bound -= len(part)
        return b"".join(parts)


def read_entry(listing: Listing, entry: Entry, limits: Limits, algorithm: str) -> bytes | None:
    """The contents of an entry again; None if they are no longer those of its blob."""
    data = _read(listing, listing.found[entry.path], limits)
    if data is None or object_name("blob", data, algorithm) != entry.blob:
        return None
    return data
