"""Set what a replay does beside what was recorded, and say of each value what it is worth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from flor_trace._speedups import UNBOUND
from flor_trace.replay.recorded import Path, RecordedRun
from flor_trace.runtime.nest import Instance
from flor_trace.runtime.values import scalar
from flor_trace.types import LoopKey, Scalar

Verdict = Literal["exact", "agree", "unchecked", "diverged", "error"]

#: Maps (loop key, dimension, nth) to the number of the loop in the recorded journal.
Numbers = Mapping[tuple[LoopKey, str, int], int]


class Verdicts:
    """Holds back replayed values until a comparison settles them.

    *exact*: a later (or the same) boundary's state had the recorded digest.  *agree*: there was
    no such boundary, but every logged value that came up again was the recorded one.
    *unchecked*: nothing came up that could be compared.  *diverged*: something differed.
    """

    def __init__(self, run: RecordedRun, numbers: Numbers, emit: Callable[..., None]) -> None:
        self._run = run
        self._numbers = numbers
        self._emit = emit
        self._held: list[dict[str, Any]] = []
        self._rows_equal = 0
        self._diverged = False
        self._hopeless = False
        self._unconfirmed = False  #: the live state comes from a checkpoint that may be wrong
        self.first_difference: str | None = None
        self.counts: dict[str, int] = {}

    def hold(self, frame: dict[str, Any]) -> None:
        """Keep a value frame until it is settled."""
        if isinstance(frame["value"], dict) and frame["value"].get("$") == "error":
            self._write([frame], "error")
        else:
            self._held.append(frame)

    def restored(self, boundary: int, differences: Sequence[str]) -> None:
        """A state was put back; `differences` to the saved one that remain."""
        self._settle("agree" if self._rows_equal else "unchecked")
        self._diverged = self._hopeless
        self._unconfirmed = False
        self._rows_equal = 0
        self._state(boundary, differences, "restored")

    def unconfirmed(self) -> None:
        """What was put back may never have been: nothing that follows on it is exact."""
        self._unconfirmed = True

    def compare_state(self, boundary: int, differences: Sequence[str]) -> None:
        """The live state was compared with the one recorded at this boundary."""
        self._state(boundary, differences, "reached")
        self._settle("exact")

    def _state(self, boundary: int, differences: Sequence[str], how: str) -> None:
        if differences:
            self._differs(f"state {how} at boundary {boundary}: {'; '.join(differences[:3])}")

    def compare_row(self, instance: Instance, iteration: int, values: Sequence[Any]) -> None:
        """The values that an executed iteration stored are set beside the logged ones."""
        path = self.path(instance, iteration)
        recorded = self._run.values.get(path) if path is not None else None
        if not recorded:
            return
        for name, value in zip(instance.loop.names, values, strict=True):
            if name in recorded and name not in self._run.clocks:
                now = None if value is UNBOUND else scalar(value)
                if not same(now, recorded[name]):
                    where = f"{instance.dimension} {iteration}"
                    self._differs(f"{name} at {where} is {now!r}, was {recorded[name]!r}")
                self._rows_equal += 1

    def path(self, instance: Instance, iteration: int) -> Path | None:
        """The recorded path of an iteration, if that loop was watched then."""
        numbers = [self.number(each) for each in (*instance.outer, instance)]
        iterations = [*instance.under, iteration]
        if any(number is None for number in numbers):
            return None
        return tuple(zip(numbers, iterations, strict=True))  # type: ignore[arg-type]

    def number(self, instance: Instance) -> int | None:
        """The recorded number of the loop of `instance`."""
        key = (instance.loop.info.key, instance.dimension, instance.nth)
        return self._numbers.get(key)

    def at_once(self) -> None:
        """Settle what is held by the state just restored: nothing was executed since."""
        self._settle("exact")

    def close(self) -> None:
        """Settle what is still held."""
        self._settle("agree" if self._rows_equal else "unchecked")

    def differs_from_start(self, what: str) -> None:
        """Nothing that this replay gives can be trusted."""
        self._hopeless = True
        self._differs(what)

    def _differs(self, what: str) -> None:
        self._diverged = True
        if self.first_difference is None:
            self.first_difference = what

    def _settle(self, verdict: Verdict) -> None:
        if verdict == "exact" and self._unconfirmed:
            verdict = "agree" if self._rows_equal else "unchecked"
        self._write(self._held, "diverged" if self._diverged else verdict)
        self._held = []

    def _write(self, frames: Sequence[dict[str, Any]], verdict: Verdict) -> None:
        for frame in frames:
            self.counts[verdict] = self.counts.get(verdict, 0) + 1
            self._emit({**frame, "verdict": verdict})


def same(a: Scalar | None, b: Scalar | None) -> bool:
    """Whether two logged scalars are the same value, bit for bit; NaN is NaN."""
    if isinstance(a, float) and isinstance(b, float):
        if math.isnan(a) or math.isnan(b):
            return math.isnan(a) and math.isnan(b)
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    return type(a) is type(b) and a == b
