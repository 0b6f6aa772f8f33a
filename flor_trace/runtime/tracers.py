"""Whether somebody watches the operations on tensors, so that ours would be taken for theirs."""

from __future__ import annotations

import sys


def torch_intercepts() -> bool:
    """Whether torch now records, transforms or dispatches elsewhere what is done to a tensor.

    While `torch.jit.trace` or an exporter runs the program, reading a tensor would put a constant
    into the traced graph; in `torch.func.vmap` and `grad` it is an error; a counter of operations
    would count ours.
    """
    core = getattr(sys.modules.get("torch"), "_C", None)
    try:
        return core is not None and (
            core._get_tracing_state() is not None
            or core._len_torch_dispatch_stack() > 0
            or core._functorch.peek_interpreter_stack() is not None
        )
    except AttributeError:  # torch is being imported, or has other parts than these
        return False
