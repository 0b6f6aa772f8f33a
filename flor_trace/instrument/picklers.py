"""Give the original code to libraries that send functions to other processes, as bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import CodeType, ModuleType

from flor_trace.hints import Any
from flor_trace.instrument.bind import pristine


def _teach_cloudpickle(module: ModuleType) -> None:
    """Let functions be sent to where flor_trace is not installed."""
    table = module.Pickler._dispatch_table
    reduce = table[CodeType]
    table[CodeType] = lambda code: reduce(pristine(code))


def _teach_dill(module: ModuleType) -> None:
    """As for cloudpickle."""
    table = module.Pickler.dispatch
    save = table[CodeType]
    table[CodeType] = lambda pickler, code: save(pickler, pristine(code))


def _teach_marshal(module: ModuleType) -> None:
    """Let code be written that has a site among its constants."""
    for name in ("dump", "dumps"):
        setattr(module, name, _written_pristine(getattr(module, name)))


def _written_pristine(write: Callable[..., Any]) -> Callable[..., Any]:
    def write_pristine(value: Any, *args: Any) -> Any:
        return write(pristine(value) if isinstance(value, CodeType) else value, *args)

    write_pristine.__name__ = write_pristine.__qualname__ = write.__name__
    write_pristine.__doc__ = write.__doc__
    return write_pristine


#: Called after the module of that name was imported.
PICKLERS: Mapping[str, Callable[[ModuleType], None]] = {
    "cloudpickle.cloudpickle": _teach_cloudpickle,
    "joblib.externals.cloudpickle.cloudpickle": _teach_cloudpickle,
    "pyspark.cloudpickle.cloudpickle": _teach_cloudpickle,
    "ray.cloudpickle.cloudpickle": _teach_cloudpickle,
    "dill._dill": _teach_dill,
    "marshal": _teach_marshal,
}
