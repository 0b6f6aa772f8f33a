"""Let a probe look at a program without disturbing it."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def undisturbed(*scopes: Mapping[str, Any]) -> Iterator[None]:
    """Put back random states, grad mode and train/eval modes when the block is over."""
    state = random.getstate()
    numpy = sys.modules.get("numpy.random")
    numpy_state = numpy.get_state() if numpy is not None else None
    torch = sys.modules.get("torch")
    torch_state = _torch_state(torch, scopes) if torch is not None else None
    try:
        yield
    finally:
        random.setstate(state)
        if numpy is not None:
            numpy.set_state(numpy_state)
        if torch_state is not None:
            _restore_torch(torch, *torch_state)


def _torch_state(torch: Any, scopes: Iterable[Mapping[str, Any]]) -> tuple[Any, Any, Any, Any]:
    modes = [(module, module.training) for module in _modules(torch, scopes)]
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    return torch.get_rng_state(), cuda, torch.is_grad_enabled(), modes


def _restore_torch(torch: Any, rng: Any, cuda: Any, grad: bool, modes: Any) -> None:
    torch.set_rng_state(rng)
    if cuda is not None:
        torch.cuda.set_rng_state_all(cuda)
    torch.set_grad_enabled(grad)
    for module, training in modes:
        module.training = training


def _modules(torch: Any, scopes: Iterable[Mapping[str, Any]]) -> Iterator[Any]:
    """Every torch module that a scope holds, or an object of the scope holds as an attribute."""
    kind = torch.nn.Module
    for scope in scopes:
        for value in list(scope.values()):
            if issubclass(type(value), kind):  # isinstance() would ask the object
                yield from value.modules()
                continue
            for inner in _attributes(value):
                if issubclass(type(inner), kind):
                    yield from inner.modules()


def _attributes(value: Any) -> list[Any]:
    """What an object holds in its dictionary, found without running code of its class."""
    try:
        return list(object.__getattribute__(value, "__dict__").values())
    except (AttributeError, TypeError):  # none, or that of a class
        return []
