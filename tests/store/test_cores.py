from __future__ import annotations

import pytest

from flor_trace.store import cores
from flor_trace.store.cores import Cores, Sample, idle_seconds, taken_share

STAT = b"""cpu  300 0 60 1000 40 0 0 0 0 0
cpu0 100 0 20 400 10 0 0 0 0 0
cpu1 100 0 20 500 30 0 0 0 0 0
cpu10 100 0 20 100 0 0 0 0 0 0
intr 1 2 3
"""


def test_the_idle_time_is_that_of_the_cores_that_may_be_used() -> None:
    assert idle_seconds(STAT, {0}, 0.01) == pytest.approx(4.1)
    assert idle_seconds(STAT, {0, 1, 10}, 0.01) == pytest.approx(10.4)
    assert idle_seconds(STAT, {7}, 0.01) == 0


def test_time_is_taken_where_no_core_had_nothing_to_do() -> None:
    def share(idle: float, wall: float = 1.0) -> float | None:
        return taken_share(Sample(5.0, 70.0), Sample(5.0 + wall, 70.0 + idle))

    assert share(0) == 1
    assert share(0.25) == 0.75
    assert share(1) == share(3.5) == 0
    assert share(-0.1) == 1  # the counts of a core that went away
    assert share(0.5, wall=0.01) is None


def test_the_cores_are_looked_at_while_the_background_rests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    samples = [Sample(0, 0), Sample(1, 0.1), Sample(2, 9), Sample(3, 9.8), Sample(3.01, 9.8)]
    monkeypatch.setattr(cores, "_look", lambda: samples.pop(0))
    found = Cores()
    assert not found.busy

    found.work()
    assert found.share == pytest.approx(0.9)
    assert found.busy
    found.work()  # it is at work already
    assert len(samples) == 3
    found.rest()
    found.work()
    assert found.share == pytest.approx(0.2)
    found.rest()


def test_where_the_system_does_not_say_nothing_is_thought_to_be_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cores, "_look", lambda: None)
    found = Cores()
    found.work()
    found.rest()
    found.work()
    assert (found.share, found.busy) == (0.0, False)


def test_linux_says() -> None:
    sample = cores._look()
    assert sample is None or sample.idle > 0
