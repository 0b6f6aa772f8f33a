"""Table cells for values that do not fit in one: read when looked into, and then verified."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from flor_trace.errors import ChunkDamaged, ChunkMissing, FlorTraceError
from flor_trace.types import Address, ArtifactRef

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: Gives the bytes of a chunk, verified; raises `StoreError`.
Reader = Callable[[Address], bytes]

_SHOWN = 12  #: rows and columns of a matrix in HTML


class Artifact:
    """A logged array, or the error of a probe.

    Two artifacts are equal when their contents are, which their addresses tell.
    """

    __slots__ = ("_read", "address", "dtype", "kind", "shape", "text")

    def __init__(self, ref: ArtifactRef, read: Reader | None = None) -> None:
        self.kind = ref.kind
        self.address = ref.address
        self.dtype = str(ref.meta.get("dtype", ""))
        self.shape = tuple(int(size) for size in ref.meta.get("shape", ()))
        self.text = str(ref.meta.get("text", ""))
        self._read = read

    def load(self) -> npt.NDArray[Any]:
        """The array, in memory of its own.

        Raises:
            ChunkMissing: if the store does not have it, or if this is no array.
            ChunkDamaged: if the bytes are not those of such an array.

        """
        import numpy as np  # noqa: PLC0415 - not while recording

        if self.address is None or self._read is None:
            raise ChunkMissing(f"{self!r} has no contents to load: {self._why_not()}")
        data = self._read(self.address)
        dtype = _plain(np.dtype(self.dtype))
        expected = int(np.prod(self.shape, dtype=object)) * dtype.itemsize
        if len(data) != expected:
            raise ChunkDamaged(
                f"the chunk {self.address} has {len(data)} bytes, but {self!r} has {expected}; "
                "flor_trace fsck tells what else is damaged"
            )
        return np.frombuffer(data, dtype).reshape(self.shape).copy()

    def _why_not(self) -> str:
        if self.kind == "error":
            return f"the probe failed with {self.text}"
        return "the table was made without a store; make it with flor_trace.pivot"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        array = self.load()
        return array if dtype is None else array.astype(dtype, copy=False)

    def __repr__(self) -> str:
        if self.kind == "error":
            return f"error: {self.text}"
        if self.kind != "ndarray":
            return f"<{self.kind}>"
        return f"{_type_name(self.dtype)}[{', '.join(map(str, self.shape))}]"

    def _repr_html_(self) -> str:
        if self.kind != "ndarray" or len(self.shape) not in (1, 2):
            return f"<span>{escape(repr(self))}</span>"
        try:
            array = self.load()
        except FlorTraceError as error:
            return f"<span>{escape(repr(self))}: {escape(str(error))}</span>"
        return _table(array.reshape(1, -1) if array.ndim == 1 else array, repr(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Artifact) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[Any, ...]:
        return self.kind, self.address, self.dtype, self.shape, self.text

    def _never(self, other: object) -> bool:
        """An error is neither less nor more than anything, as NaN is not."""
        return False if self.kind == "error" else NotImplemented

    __lt__ = __le__ = __gt__ = __ge__ = _never


def _plain(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.hasobject:
        raise ChunkDamaged(f"the type {dtype} holds Python objects, which are never loaded")
    return dtype


def _type_name(text: str) -> str:
    import numpy as np  # noqa: PLC0415 - not while recording

    try:
        return str(np.dtype(text).name)
    except TypeError:
        return text


def _table(array: npt.NDArray[Any], title: str) -> str:
    shown = array[:_SHOWN, :_SHOWN]
    more = "<td>…</td>" if array.shape[1] > _SHOWN else ""
    rows = [
        "<tr>" + "".join(f"<td>{escape(_number(item))}</td>" for item in row) + more + "</tr>"
        for row in shown.tolist()
    ]
    if array.shape[0] > _SHOWN:
        rows.append("<tr><td>…</td></tr>")
    return f'<table title="{escape(title)}">{"".join(rows)}</table>'


def _number(item: object) -> str:
    return f"{item:.4g}" if isinstance(item, float) else str(item)
