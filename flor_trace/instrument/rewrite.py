"""Turn the code compiled from a marked tree into code whose loops report."""

from __future__ import annotations

import dis
from collections.abc import Mapping
from types import CodeType

from flor_trace.errors import RewriteError
from flor_trace.instrument.failures import OUR_FAILURES
from flor_trace.instrument.guards import open_guards
from flor_trace.instrument.markers import Marks
from flor_trace.instrument.safecode import Parts
from flor_trace.instrument.splice import Splicer
from flor_trace.instrument.verify import verify
from flor_trace.records import dataclass, field
from flor_trace.types import Span

_GET_ITER = dis.opmap["GET_ITER"]

ScopeKey = tuple[str, int]  #: ``co_qualname`` and ``co_firstlineno``


@dataclass(slots=True)
class Finisher:
    """Rewrites code objects, and keeps the reasons for those it could not rewrite."""

    marks: Marks
    sites: Mapping[Span, int]  #: location of a ``for``'s iteration opcodes -> loop index
    avoid: Mapping[ScopeKey, str]
    failed: dict[ScopeKey, str] = field(default_factory=dict)

    def finish(self, code: CodeType) -> CodeType:
        """Return the code object with its loops reporting, nested ones included.

        One that cannot be rewritten with proof goes to `failed` and is returned unfinished, so
        that the caller starts again without marks in it.
        """
        swap: dict[int, CodeType] = {}
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                finished = self.finish(constant)
                if finished is not constant:
                    swap[id(constant)] = finished
        key = (code.co_qualname, code.co_firstlineno)
        if key in self.avoid:
            self._check_unmarked(code)
        elif self._has_loops(code):
            try:
                return self._rewrite(code, swap)
            except OUR_FAILURES as failure:
                self.failed[key] = f"{type(failure).__name__}: {failure}"
        if not swap:
            return code
        return code.replace(co_consts=tuple(swap.get(id(k), k) for k in code.co_consts))

    def _check_unmarked(self, code: CodeType) -> None:
        """Code that is to be left alone must not have been marked; it could not run."""
        if any(self.marks.read(constant) is not None for constant in code.co_consts):
            raise RewriteError(f"{code.co_qualname} was marked under another name")

    def _has_loops(self, code: CodeType) -> bool:
        if any(self.marks.read(constant) is not None for constant in code.co_consts):
            return True
        opcodes = code.co_code[::2]
        if _GET_ITER not in opcodes:
            return False
        places = code.co_positions()
        return any(
            op == _GET_ITER and at in self.sites for op, at in zip(opcodes, places, strict=True)
        )

    def _rewrite(self, code: CodeType, swap: Mapping[int, CodeType]) -> CodeType:
        parts = Parts(code)
        items, guards = Splicer(parts.items, self.marks, self.sites, swap).run()
        made = parts.put_together(
            open_guards(items, guards),
            more_stack=1,
            keep=self._is_kept,
            swap=swap,
        )
        verify(made)
        return made

    def _is_kept(self, constant: object) -> bool:
        """Keep the program's constants where they are: TorchDynamo finds them by their index.

        The markers that are still used come after them.
        """
        return self.marks.read(constant) is None
