"""Objects that a restore takes from the live program on purpose, and those beyond any capture."""

from __future__ import annotations

import io
import os
import threading
import types
import weakref
from collections.abc import Callable, Iterable

from flor_trace.hints import Any, Final
from flor_trace.state.codecs.base import Build, Codec, Pairing, Plan, Unbuildable, Walk
from flor_trace.state.graph import Node, Ref
from flor_trace.state.naming import type_name

#: Packages whose objects show things to people or talk to the world.
KEPT_PACKAGES: Final = frozenset(
    {
        "IPython", "aim", "aiohttp", "asyncio", "boto3", "botocore", "clearml", "comet_ml",
        "concurrent", "contextvars", "fsspec", "h5py", "httpx", "ipywidgets", "lmdb", "logging",
        "loguru", "matplotlib", "mlflow", "mpl_toolkits", "multiprocessing", "neptune", "plotly",
        "requests", "rich", "seaborn", "selectors", "signal", "socket", "sqlalchemy", "sqlite3",
        "ssl", "structlog", "subprocess", "tempfile", "tensorboard", "tensorboardX", "threading",
        "tqdm", "urllib3", "visdom", "wandb", "weakref",
    }
)  # fmt: skip
KEPT_MODULES: Final = (
    "_contextvars",
    "_thread",
    "torch._C._dynamo",
    "torch._dynamo",
    "torch._functorch",
    "torch._inductor",
    "torch.autograd.profiler",
    "torch.cpu",
    "torch.cuda.streams",
    "torch.profiler",
    "torch.utils.tensorboard",
)
#: Their handles mean nothing in another process.
_KEPT_NAMES: Final = frozenset(
    {
        "_csv:writer", "_ctypes:CFuncPtr", "ctypes:CDLL", "ctypes:LibraryLoader",
        "numpy.lib._npyio_impl:NpzFile", "numpy.lib.npyio:NpzFile",
        "torch:Event", "torch:Stream", "zipfile:ZipFile",
    }
)  # fmt: skip
#: Shared with other processes: neither the live nor a saved value would be right.
_SHARED: Final = (
    "multiprocessing.managers",
    "multiprocessing.shared_memory",
    "multiprocessing.sharedctypes",
)
#: Although in such a package, an object to be walked like any other.
_NOT_KEPT: Final = frozenset(
    {
        "torch._dynamo.decorators:_DimRange",
        "torch._dynamo.eval_frame:OptimizedModule",
        "weakref:ReferenceType",
    }
)
#: Better served by their own account of themselves than by a walk over their attributes.
_SELF_DESCRIBED: Final = frozenset({"PIL.Image:Image"})
_SELF_DESCRIBED_PACKAGES: Final = ("pandas", "typing")
#: Within such a package, objects that others hold on to, to be changed in place.
_WALKED: Final = frozenset({"pandas.core.generic:NDFrame"})

_FILES: Final = tuple(
    getattr(io, name)
    for name in ("FileIO", "BufferedReader", "BufferedWriter", "BufferedRandom", "TextIOWrapper")
)
_KEPT_TYPES: Final = (
    threading.Thread,
    threading.local,
    type(threading.Lock()),
    type(threading.RLock()),
    threading.Condition,
    threading.Event,
    threading.Semaphore,
    types.CodeType,
    types.FrameType,
    types.TracebackType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    property,
    staticmethod,
    classmethod,
)


#: Kept when the live program has one; otherwise a new one is as good.
_FRESH: Final[dict[str, Callable[..., Any]]] = {
    "_thread:RLock": threading.RLock,
    "_thread:lock": threading.Lock,
    "threading:Condition": threading.Condition,
    "threading:Event": threading.Event,
}


class _Kept(Codec):
    """The live object, whatever it holds."""

    kind = "kept"

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        if plan.type_name == "threading:Condition":
            return Node("kept", plan.type_name, None, [walk.ref(obj._lock)], ("lock",))
        if plan.type_name == "logging:Logger":
            return Node("kept", plan.type_name, str(obj.name))
        if plan.type_name.startswith("tqdm.") and "iterable" in getattr(obj, "__dict__", ()):
            # The bar is for people; what it runs over may be nowhere else.
            return Node("kept", plan.type_name, None, [walk.ref(obj.iterable)], ("iterable",))
        return Node("kept", plan.type_name)

    def needs(self, node: Node) -> Iterable[Ref]:
        return node.children

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        for name, ref in node.named.items():
            pairing.pair(ref, obj.iterable if name == "iterable" else obj._lock)

    def make(self, build: Build, node: Node) -> Any:
        if node.type_name == "logging:Logger":
            return build.lookup("logging:getLogger")(node.payload)
        if node.type_name in _FRESH:
            return _FRESH[node.type_name](*build.values(node.children))
        raise Unbuildable(f"a {node.type_name} is never saved, and the live program has none there")


class _Opaque(Codec):
    """An object whose state cannot be read; the payload says why."""

    kind = "opaque"

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        return opaque(plan.type_name, why_opaque(obj))

    def accepts(self, node: Node, obj: Any) -> bool:
        return False

    def make(self, build: Build, node: Node) -> Any:
        raise Unbuildable(str(node.payload))


def opaque(type_name: str, why: str) -> Node:
    """Return the node of something that could not be captured."""
    return Node("opaque", type_name, why)


def why_opaque(obj: Any) -> str:
    """Return, in a few words, why the object's state cannot be read."""
    if isinstance(obj, types.CoroutineType | types.AsyncGeneratorType):
        return "a coroutine cannot say where it stands"
    if type_name(type(obj)).startswith(_SHARED):
        return "it is shared with other processes"
    return f"a {type(obj).__qualname__} gives no way to read its state"


#: How to open a file of each type.
_MODES: Final = {
    "_io:BufferedReader": "rb",
    "_io:BufferedWriter": "wb",
    "_io:BufferedRandom": "r+b",
}


def _closed_file(type_name: str) -> Any:
    if type_name == "_io:FileIO":
        with io.FileIO(os.devnull) as made:
            return made
    mode = _MODES.get(type_name, "r")
    with open(os.devnull, mode, encoding=None if "b" in mode else "utf-8") as made:
        return made


class _File(Codec):
    """Files: those open for writing are kept; a position in a file being read cannot be saved."""

    kind = "file"
    bases = (io.IOBase,)
    exact = _FILES

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        try:
            if obj.closed:
                return Node("file", plan.type_name, "closed")
            if obj.writable():
                return Node("file", plan.type_name, "written")
        except (ValueError, OSError, AttributeError):
            return Node("file", plan.type_name, "closed")
        return opaque(plan.type_name, "a file open for reading has a position in it")

    def make(self, build: Build, node: Node) -> Any:
        if node.payload != "closed":
            raise Unbuildable("a file opened for writing is never saved")
        return _closed_file(node.type_name)


class _WeakReference(Codec):
    """Weak references without a callback: what they point to is state; others are kept."""

    kind = "weak reference"
    exact = (weakref.ref,)
    in_place = False

    def capture(self, walk: Walk, obj: Any, plan: Plan) -> Node:
        if obj.__callback__ is not None:
            return Node("kept", plan.type_name)
        target = obj()
        if target is None:
            return Node("weak reference", plan.type_name, "dead")
        return Node("weak reference", plan.type_name, None, [walk.ref(target)])

    def pair(self, pairing: Pairing, node: Node, obj: Any) -> None:
        for ref in node.children:
            pairing.pair(ref, obj())

    def make(self, build: Build, node: Node) -> Any:
        live = build.adopted()
        if not node.children:
            return live if live is not None and live() is None else weakref.ref(_Gone())
        target = build.value(node.children[0])
        return live if live is not None and live() is target else weakref.ref(target)

    def needs(self, node: Node) -> Iterable[Ref]:
        return node.children


class _Gone:
    """Something to point at and lose at once."""


KEPT = _Kept()
OPAQUE = _Opaque()
CODECS: tuple[Codec, ...] = (
    KEPT,
    OPAQUE,
    _File(),
    _WeakReference(),
)


def choose(cls: type) -> Codec | None:
    """Return the codec for types that are kept or opaque, or None for all others."""
    if issubclass(cls, io.StringIO | io.BytesIO):
        return None
    if issubclass(cls, types.CoroutineType | types.AsyncGeneratorType):
        return OPAQUE
    if issubclass(cls, _KEPT_TYPES):
        return KEPT
    names = [type_name(base) for base in cls.__mro__]
    if not _NOT_KEPT.isdisjoint(names):
        return None
    if any(name.startswith(_SHARED) for name in names):
        return OPAQUE
    return KEPT if any(map(_is_kept, names)) else None


def _is_kept(name: str) -> bool:
    return name in _KEPT_NAMES or _in_kept_module(name.partition(":")[0])


def _in_kept_module(module: str) -> bool:
    return module.partition(".")[0] in KEPT_PACKAGES or module.startswith(KEPT_MODULES)


def describes_itself(cls: type) -> bool:
    """Say whether instances are better reduced than walked."""
    names = {type_name(base) for base in cls.__mro__}
    if not names.isdisjoint(_SELF_DESCRIBED):
        return True
    own = type_name(cls).partition(":")[0].partition(".")[0]
    return own in _SELF_DESCRIBED_PACKAGES and names.isdisjoint(_WALKED)
