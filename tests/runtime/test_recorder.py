# ruff: noqa: B007, F841, PT012 - loops as a program has them
from __future__ import annotations

from types import SimpleNamespace

import pytest
from runtime_helpers import site

from flor_trace.runtime import policy
from flor_trace.runtime.guard import Guard
from flor_trace.runtime.policy import Budget
from flor_trace.runtime.recorder import Recorder, Shared
from flor_trace.runtime.scope import Modules

MS = 1e-3


class Checkpoints:
    """Takes and saves at once, under a clock that is told."""

    def __init__(self, clock, share=0.01):
        self.clock, self.began = clock, clock()
        self.budget = Budget(share, grace=0.0)
        self.full = False
        self.opaque = []
        self.price = MS
        self.taken = 0
        self.assumed = 0
        self.confirmed = 0  #: times

    def allowed(self):
        return self.budget.allows(self.clock() - self.began)

    def due(self):
        return self.began + self.budget.due()

    def take(self):
        self.taken += 1
        self.budget.charge(self.price)
        graph = SimpleNamespace(opaque=list(self.opaque))
        return SimpleNamespace(
            graph=graph, manifest="1-aa", digest=b"\xaa", seconds=self.price, nbytes=7,
            number=self.taken, assumed=self.assumed, stored=5, beside=0.25,
        )  # fmt: skip

    def confirm(self):
        self.confirmed += 1

    def save(self, taken, saved):
        if not self.full:
            saved(taken)
        return not self.full


class Recording:
    def __init__(self, tracing, monkeypatch, share=0.01):
        self.clock = tracing.clock
        monkeypatch.setattr("flor_trace.runtime.recorder.perf_counter", self.clock)
        self.frames = []
        self.checkpoints = Checkpoints(self.clock, share)
        modules = Modules()
        modules.add(__file__, "train.py", {"__name__": "x"})
        guard = Guard(lambda what, error: None)
        self.recorder = Recorder(Shared(self, modules, guard), self.checkpoints)
        tracing(probing=True, observer=self.recorder)

    def append(self, frame):
        self.frames.append(frame)

    def kinds(self):
        return [frame["t"] for frame in self.frames]

    def of(self, kind):
        return [frame for frame in self.frames if frame["t"] == kind]

    def boundaries(self):
        return [frame["boundary"] for frame in self.of("checkpoint")]


@pytest.fixture
def record(tracing, monkeypatch):
    return lambda **options: Recording(tracing, monkeypatch, **options)


def test_a_nested_run_is_told_in_order(record):
    run = record(share=0.0)
    outer = site("epoch", watched=False, stores=("loss",))
    inner = site("step", line=2, watched=False, stores=("x",))

    def main():
        lr = 0.1
        for epoch in outer["ab"]:
            for step in inner[range(2)]:
                x = step * 10
                run.clock.sleep(MS)
            loss = x

    main()

    assert run.kinds() == [
        "config", "loop", "enter", "loop", "rows", "rows", "rows", "leave",
    ]  # fmt: skip
    assert run.of("config")[0]["values"]["lr"] == 0.1
    loops = {frame["dim"]: frame["id"] for frame in run.of("loop")}
    first, second, own = run.of("rows")
    assert (first["loop"], first["outer"], first["first"]) == (
        loops["step"], [[loops["epoch"], 0, "a"]], 0,
    )  # fmt: skip
    assert first["cols"] == {"step": [0, 1], "x": [0, 10]}
    assert second["outer"] == [[loops["epoch"], 1, "b"]]
    assert (own["loop"], own["outer"], own["value"]) == (loops["epoch"], [], ["a", "b"])
    assert own["cols"]["loss"] == [10, 10]
    leave = run.of("leave")[0]
    assert (leave["iterations"], leave["how"]) == (2, "exhausted")
    assert leave["seconds"] == pytest.approx(4 * MS)


def test_a_tight_loop_leaves_nothing_in_the_journal(record):
    run = record()
    for _ in site(watched=False)[range(100)]:
        run.clock.sleep(1e-6)

    assert run.frames == []


def test_the_rows_of_a_killed_program_are_in_the_journal_as_they_come(record):
    run = record(share=0.0)
    for epoch in site("epoch", watched=False)[range(3)]:
        run.clock.sleep(10.0)
        if epoch == 2:
            assert [frame["first"] for frame in run.of("rows")] == [0, 1]
            assert run.of("rows")[1]["at"] == pytest.approx(20.0)


def test_a_loop_that_is_given_up_is_lost_from_there_on(record, monkeypatch):
    monkeypatch.setattr(policy, "ROW_SECONDS", 0.4e-6)
    run = record(share=0.0)
    count = int(2 * policy.SURE_SECONDS / policy.ROW_SECONDS)
    for i in site(watched=False)[range(count)]:
        run.clock.sleep(policy.SURE_SECONDS * 1.1 if i == 0 else 1e-9)

    (lost,) = run.of("lost")
    kept = sum(frame["count"] for frame in run.of("rows"))
    assert f"train.py:<module>:1 from {kept} on" in lost["what"]
    assert policy.DEMOTE_ITERATIONS - 1 <= kept < count / 2


# -- checkpoints -------------------------------------------------------------------------------


def test_checkpoints_are_taken_at_boundaries_as_the_budget_allows(record):
    run = record()
    run.clock.sleep(1.0)  # 10 ms may be spent
    for _ in site(watched=False)[range(20)]:
        run.clock.sleep(0.05)

    assert run.boundaries()[:2] == [0, 1]
    elapsed = 1.0 + 20 * 0.05
    assert run.checkpoints.budget.spent <= 0.01 * elapsed + MS
    assert run.boundaries()[-1] == 20


def test_what_was_taken_before_a_loop_was_watched_is_listed_after_its_entry(record):
    run = record()
    run.clock.sleep(1.0)
    for _ in site(watched=False)[range(2)]:
        run.clock.sleep(MS)

    assert run.kinds()[:4] == ["config", "loop", "enter", "checkpoint"]
    assert run.of("checkpoint")[0]["boundary"] == 0


def test_no_share_is_no_checkpoint(record):
    run = record(share=0.0)
    for _ in site(watched=False)[range(3)]:
        run.clock.sleep(100.0)

    assert run.checkpoints.taken == 0


def test_the_exit_of_a_long_loop_may_go_over_the_budget(record):
    run = record(share=1e-6)
    for _ in site(watched=False)[range(3)]:
        run.clock.sleep(1.0)

    assert run.boundaries() == [3]


def test_the_exit_by_break_is_a_boundary(record):
    run = record(share=1e-6)
    loop = site(watched=False)

    def main():
        for i in loop[range(9)]:
            run.clock.sleep(1.0)
            if i == 1:
                break

    main()

    assert run.boundaries() == [2]
    assert run.of("leave")[0]["how"] == "left"


def test_an_exception_leaves_no_checkpoint_of_its_exit(record):
    run = record(share=1e-6)
    with pytest.raises(LookupError):
        for i in site(watched=False)[range(9)]:
            run.clock.sleep(1.0)
            if i == 1:
                raise LookupError

    assert run.boundaries() == []


def test_a_checkpoint_that_the_writer_cannot_take_is_not_listed(record):
    run = record()
    run.checkpoints.full = True
    run.clock.sleep(1.0)
    for _ in site(watched=False)[range(1)]:
        run.clock.sleep(0.1)

    assert run.boundaries() == []


def test_a_checkpoint_says_when_it_was_taken_and_what_it_cost(record):
    run = record()
    run.clock.sleep(3.0)
    for _ in site(watched=True)[range(1)]:
        run.clock.sleep(0.1)

    frame = run.of("checkpoint")[0]
    assert (frame["at"], frame["seconds"], frame["beside"]) == (3.0, MS, 0.25)
    assert (frame["bytes"], frame["new"]) == (7, 5)


def test_only_outermost_loops_have_checkpoints(record):
    run = record()
    run.clock.sleep(100.0)
    outer, inner = site("epoch", watched=False), site("step", line=2, watched=False)
    for _ in outer[range(2)]:
        for _ in inner[range(2)]:
            run.clock.sleep(1.0)

    names = {frame["id"]: frame["dim"] for frame in run.of("loop")}
    assert {names[frame["loop"]] for frame in run.of("checkpoint")} == {"epoch"}


@pytest.mark.parametrize("ending", ["exhausted", "break", "return", "raise"])
def test_however_a_loop_with_checkpoints_ends_its_assumptions_are_looked_at(record, ending):
    run = record()
    loop = site("i")

    def main():
        for i in loop[range(5)]:
            run.clock.sleep(1)
            if i == 3 and ending == "break":
                break
            if i == 3 and ending == "return":
                return
            if i == 3 and ending == "raise":
                raise KeyError

    try:
        main()
    except KeyError:
        pass

    assert run.boundaries()
    assert run.checkpoints.confirmed == 1
    assert run.kinds()[-1] == "leave"


def test_a_loop_without_checkpoints_has_nothing_to_look_at(record):
    run = record(share=0.0)
    for _ in site("i")[range(3)]:
        run.clock.sleep(1)

    assert run.checkpoints.confirmed == 0


def test_a_checkpoint_that_assumes_something_says_how_much_and_which_it_is(record):
    run = record()
    run.checkpoints.assumed = 99
    for _ in site("i")[range(2)]:
        run.clock.sleep(1)

    assert [(f["take"], f["assumed"]) for f in run.of("checkpoint")] == [(1, 99), (2, 99)]
    run = record()
    for _ in site("i")[range(2)]:
        run.clock.sleep(1)
    assert not any("take" in frame for frame in run.of("checkpoint"))
