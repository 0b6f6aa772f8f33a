"""Give the original code to libraries that read bytecode: TorchDynamo and numba."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from types import CodeType, ModuleType

from flor_trace.hints import Any
from flor_trace.instrument.bind import pristine
from flor_trace.instrument.picklers import PICKLERS


def _exchange(module: ModuleType, name: str, made: Callable[[Any], Any]) -> None:
    """Replace a function in its module and wherever its package has imported it."""
    original = getattr(module, name)
    replacement = functools.wraps(original)(made(original))
    package = ".".join(module.__name__.split(".")[:2])
    for other, holder in list(sys.modules.items()):
        if other.startswith(package) and vars(holder).get(name) is original:
            setattr(holder, name, replacement)
    setattr(module, name, replacement)


def _given_pristine(read: Callable[..., Any]) -> Callable[..., Any]:
    def read_pristine(code: Any, *args: Any, **kwargs: Any) -> Any:
        return read(pristine(code) if isinstance(code, CodeType) else code, *args, **kwargs)

    return read_pristine


def _giving_pristine(find: Callable[..., Any]) -> Callable[..., Any]:
    def find_pristine(*args: Any, **kwargs: Any) -> Any:
        code = find(*args, **kwargs)
        return pristine(code) if isinstance(code, CodeType) else code

    return find_pristine


def _teach_dynamo(module: ModuleType) -> None:
    """Let ``torch.compile`` see code without sites; it stops the program at an unknown constant.

    Frames that it compiles report no loops; those that it leaves to Python do.
    """
    _exchange(module, "cleaned_instructions", _given_pristine)
    if hasattr(module, "transform_code_object"):
        _exchange(module, "transform_code_object", _given_pristine)


def _keep_out_of_dynamo(module: ModuleType) -> None:
    """Let ``torch.compile`` pass over our own functions, which the loops of its frames call."""
    module.add(__name__.partition(".")[0])


def _teach_numba(module: ModuleType) -> None:
    """Let numba compile the original: it cannot type a site."""
    _exchange(module, "get_code_object", _giving_pristine)


#: The module of pytest that explains failed ``assert`` statements, and compiles test modules.
PYTEST_REWRITER = "_pytest.assertion.rewrite"

#: Called after the module of that name was imported.
READERS: Mapping[str, Callable[[ModuleType], None]] = {
    "torch._dynamo.bytecode_transformation": _teach_dynamo,
    "torch._dynamo.trace_rules": _keep_out_of_dynamo,
    "numba.core.bytecode": _teach_numba,
    **PICKLERS,
}
