"""Prove by dataflow that a code object keeps its stack in order on every path."""

from __future__ import annotations

import dis
from bisect import bisect_left
from types import CodeType

from flor_trace.errors import RewriteError
from flor_trace.state.instructions import Handler, exception_table

FINAL = frozenset({"RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE"})
ALWAYS_JUMPS = frozenset({"JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"})
JUMPS = frozenset(dis.hasjrel) | frozenset(dis.hasjabs)
_DEPTH_AT_RETURN = {"RETURN_VALUE": 1, "RETURN_CONST": 0}


class _Check:
    """One walk over all paths of a code object, with the stack depth before each instruction."""

    def __init__(self, code: CodeType) -> None:
        self.code = code
        self.steps: list[dis.Instruction] = []
        self.index: dict[int, int] = {}  #: offset, that of a leading EXTENDED_ARG too -> step
        self._read()
        self.depths: list[int | None] = [None] * len(self.steps)
        self.pending: list[int] = []
        self.deepest = 0
        self.handlers = self._handlers()

    def _read(self) -> None:
        extended = []
        for step in dis.get_instructions(self.code):
            if step.opname == "CACHE":
                continue
            if step.opname == "EXTENDED_ARG":
                extended.append(step.offset)
                continue
            for offset in (*extended, step.offset):
                self.index[offset] = len(self.steps)
            extended.clear()
            self.steps.append(step)

    def _handlers(self) -> list[Handler | None]:
        """Return the handler that covers each step."""
        found: list[Handler | None] = [None] * len(self.steps)
        offsets = [step.offset for step in self.steps]
        for handler in exception_table(self.code):
            begin = bisect_left(offsets, handler.start)
            end = bisect_left(offsets, handler.end)
            found[begin:end] = [handler] * (end - begin)
        return found

    def run(self) -> None:
        self._reach(0, 0)
        while self.pending:
            self._walk(self.pending.pop())
        if self.deepest > self.code.co_stacksize:
            self._fail(f"needs a stack of {self.deepest}, has {self.code.co_stacksize}")

    def _walk(self, k: int) -> None:
        step, depth = self.steps[k], self.depths[k]
        assert depth is not None
        handler = self.handlers[k]
        if handler is not None:
            if depth < handler.depth:
                self._fail(f"handler at depth {handler.depth} covers depth {depth}", step)
            self._go(handler.target, handler.depth + 1 + handler.lasti, step)
        if step.opcode in JUMPS:
            jump = dis.stack_effect(step.opcode, step.arg, jump=True)
            self._go(step.argval, depth + jump, step)
            if step.opname in ALWAYS_JUMPS:
                return
        if step.opname in FINAL:
            if depth != _DEPTH_AT_RETURN.get(step.opname, depth):
                self._fail(f"returns at depth {depth}", step)
            return
        if k + 1 == len(self.steps):
            self._fail("runs off its end", step)
        self._reach(k + 1, depth + effect(step), step)

    def _go(self, offset: int, depth: int, step: dis.Instruction) -> None:
        if offset not in self.index:
            self._fail(f"jumps to {offset}, where no instruction begins", step)
        self._reach(self.index[offset], depth, step)

    def _reach(self, k: int, depth: int, step: dis.Instruction | None = None) -> None:
        if depth < 0:
            self._fail("takes from an empty stack", step)
        self.deepest = max(self.deepest, depth)
        known = self.depths[k]
        if known is None:
            self.depths[k] = depth
            self.pending.append(k)
        elif known != depth:
            self._fail(f"reaches offset {self.steps[k].offset} at depths {known} and {depth}", step)

    def _fail(self, what: str, step: dis.Instruction | None = None) -> None:
        where = f" at {step.opname}, offset {step.offset}" if step is not None else ""
        raise RewriteError(
            f"{self.code.co_qualname} in {self.code.co_filename} {what}{where}; "
            "it is used as Python compiled it, please report this"
        )


def effect(step: dis.Instruction) -> int:
    """Return what an instruction that goes on to the next one does to the depth of the stack."""
    # A generator is resumed with the value sent to it on its stack.
    if step.opname == "RETURN_GENERATOR":
        return 1
    arg = step.arg if step.opcode >= dis.HAVE_ARGUMENT else None
    return dis.stack_effect(step.opcode, arg, jump=False)


def verify(code: CodeType) -> None:
    """Return when every path through this one code object is sound; raise `RewriteError` if not."""
    _Check(code).run()
