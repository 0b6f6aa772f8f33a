"""Copying buffers together with their hashes, and memory to copy to, as `native/stage.c`."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flor_trace._pure_hash import digest

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_PAGE = 4096
_DONT_NEED = 4  #: MADV_DONTNEED of Linux


class _Buffer(ctypes.Structure):
    """What C calls a Py_buffer."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        *((name, ctypes.c_void_p) for name in ("format", "shape", "strides", "suboffsets")),
        ("internal", ctypes.c_void_p),
    )


def stage(
    sources: Iterable[ReadableBuffer], targets: Iterable[WriteableBuffer | None], /
) -> list[bytes]:
    """Copy each source to its target, unless that is None; return the digests, in order.

    The digest is that of the copy, also while somebody writes to the source. A target has the
    length of its source and shares no byte with any; raises ValueError for another length, and
    what `digest` raises.
    """
    exporters, into = tuple(sources), tuple(targets)
    if len(exporters) != len(into):
        raise ValueError(f"there are {len(exporters)} buffers and {len(into)} targets")
    for source, target in zip(exporters, into, strict=True):
        if target is not None:
            copied, room = memoryview(source), memoryview(target)
            if copied.nbytes != room.nbytes:
                raise ValueError(f"{copied.nbytes} bytes are to be copied to {room.nbytes}")
            if copied.nbytes:
                room.cast("B")[:] = copied.cast("B")
    return [digest(s if t is None else t) for s, t in zip(exporters, into, strict=True)]


def _address(buffer: Any) -> int:
    view = _Buffer()
    api = ctypes.pythonapi
    api.PyObject_GetBuffer(ctypes.py_object(buffer), ctypes.byref(view), 0)
    found = int(view.buf or 0)
    api.PyBuffer_Release(ctypes.byref(view))
    return found


def addresses(buffers: Iterable[ReadableBuffer], /) -> list[int]:
    """Return where in memory each buffer begins; raises what `digest` raises."""
    return [_address(buffer) for buffer in tuple(buffers)]


def populate(buffer: WriteableBuffer, /) -> None:
    """Have memory behind every page of a buffer, whose contents stay what they are."""
    view = memoryview(buffer).cast("B")
    for at in range(0, len(view), _PAGE):
        view[at] = view[at]


def discard(buffer: WriteableBuffer, /) -> None:
    """Give the memory behind whole pages of an anonymous mapping back; they may be zero then."""
    advise = getattr(ctypes.CDLL(None), "madvise", None)
    if advise is not None:
        view = memoryview(buffer)
        advise(ctypes.c_void_p(_address(view)), ctypes.c_size_t(view.nbytes), _DONT_NEED)
