"""Ask a probe at the iterations that were wanted, and hand on what it gives."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from flor_trace._speedups import LoopIter
from flor_trace.errors import ProbeError
from flor_trace.replay.encoding import encode_error, encode_value
from flor_trace.replay.probes import Question
from flor_trace.replay.protecting import undisturbed
from flor_trace.replay.resolve import Place
from flor_trace.runtime.nest import Instance, outer_values, target_value
from flor_trace.types import ChunkWriter, Digest, StackFrame

#: So many times at first, the whole state is compared before and after the probe.
CHECKED = 2

Fingerprint = Callable[[], dict[str, Digest]]


class Asker:
    """Asks one probe; the values go to `hold` as journal frames without a verdict."""

    def __init__(
        self,
        place: Place,
        wanted: Collection[int],
        identify: Callable[[Instance], int],
        store: ChunkWriter,
        fingerprint: Fingerprint,
        hold: Callable[[dict[str, Any]], None],
    ) -> None:
        carried = place.carried
        self._question = Question(place.probe, carried.text if carried is not None else None)
        self._latest: dict[tuple[int, int], dict[str, Any]] = {}
        self._place = place
        self._wanted = set(wanted)
        self._selection = place.probe.selection
        self._starts = set(wanted) if place.probe.start and not place.inner else set()
        self._identify = identify
        self._store = store
        self._fingerprint = fingerprint
        self._hold = hold
        self._asked = 0

    def wants_start(self, iteration: int) -> bool:
        """Whether the start of this iteration of the stage is still to be asked at."""
        return iteration in self._starts

    def at_start(self, instance: Instance, li: LoopIter, iteration: int) -> None:
        """The iteration begins, its item in place."""
        self._starts.discard(iteration)
        self._ask(instance, li, iteration)

    def at_end(self, instance: Instance, li: LoopIter, iteration: int) -> None:
        """The iteration is over."""
        if self._place.spot is not None:
            latest = self._latest.pop((id(instance), iteration), None)
            if latest is not None:
                self._hold(latest)
            return
        if self._place.probe.start or instance.loop.info.key != self._place.loop.key:
            return
        outermost = instance.under[0] if instance.under else iteration
        value = target_value(instance, li)
        if outermost in self._wanted and self._selection.takes(iteration, value):
            self._ask(instance, li, iteration)

    def at_spot(self, instance: Instance, li: LoopIter, frame: StackFrame) -> None:
        """The program came to the spot in `frame`, `instance` being the innermost loop around it.

        Of several times in one iteration the last one counts, as with what loops store.
        """
        outermost = instance.under[0] if instance.under else instance.iteration
        if outermost in self._wanted:
            _, module, names, cells = frame
            found = self._found(instance, li, instance.iteration, {**cells, **names}, module)
            self._latest[id(instance), instance.iteration] = found

    def _ask(self, instance: Instance, li: LoopIter, iteration: int) -> None:
        names, module = li.locals() or {}, li.globals() or {}
        self._hold(self._found(instance, li, iteration, names, module))

    def _found(
        self,
        instance: Instance,
        li: LoopIter,
        iteration: int,
        names: Mapping[str, Any],
        module: dict[str, Any],
    ) -> dict[str, Any]:
        coords = [
            [self._identify(outer), under, value]
            for outer, under, value in zip(
                instance.outer, instance.under, outer_values(instance), strict=True
            )
        ]
        coords.append([self._identify(instance), iteration, target_value(instance, li)])
        name = self._place.probe.name
        return {"t": "value", "coords": coords, "name": name, "value": self._value(names, module)}

    def _value(self, names: Mapping[str, Any], module: dict[str, Any]) -> Any:
        before = self._fingerprint() if self._asked < CHECKED else None
        self._asked += 1
        try:
            with undisturbed(names, module):
                value = encode_value(self._question.ask(names, module), self._store)
        except Exception as error:  # noqa: BLE001 - an error in a probe is that cell's value
            return encode_error(error)
        if before is not None:
            after = self._fingerprint()
            disturbed = [root for root in before if after.get(root) != before[root]]
            if disturbed:
                return encode_error(
                    ProbeError(
                        f"the probe changes {', '.join(disturbed)}; copy what it works on, so that "
                        "the replay goes on as recorded"
                    )
                )
        return value
