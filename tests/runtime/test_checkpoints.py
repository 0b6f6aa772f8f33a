from __future__ import annotations

import pytest

from flor_trace.errors import StoreError
from flor_trace.runtime.checkpoints import Checkpointer
from flor_trace.runtime.policy import Budget
from flor_trace.runtime.scope import Modules
from flor_trace.state.encode import decode
from flor_trace.state.restore import restore
from flor_trace.store.memory import MemoryStore

BIG = 100_000  # bytes: certainly a leaf of its own


class Store(MemoryStore):
    """Notes the order of things, and can lose what it is given."""

    def __init__(self):
        super().__init__()
        self.log = []
        self.puts = []
        self.broken = False

    def put(self, data, **hints):
        if self.broken:
            raise StoreError("the disk is full")
        self.log.append("put")
        self.puts.append(hints)
        return super().put(data, **hints)

    def flush(self):
        self.log.append("flush")


class Writer:
    """Makes checkpoints durable when it is told to."""

    max_bytes = 1 << 30

    def __init__(self, store):
        self.store = store
        self.commits = []
        self.full = False
        self.busy = False
        self.room = True
        self.errors = []
        self.on_error = lambda: None

    def has_room(self, nbytes):
        return self.room

    def commit(self, commit, nbytes):
        if self.full:
            return False
        self.commits.append((commit, nbytes))
        return True

    def work(self):
        while self.commits:
            commit, _ = self.commits.pop(0)
            try:
                for job in commit.chunks:
                    job(self.store)
                self.store.flush()
                commit.manifest(self.store)
                self.store.flush()
                commit.listed(self.store)
            except StoreError as error:
                self.errors.append(error)
                self.on_error()


@pytest.fixture
def state():
    return {"weights": bytearray(b"w" * BIG), "fixed": bytearray(b"f" * BIG), "step": 0}


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def writer(store):
    return Writer(store)


@pytest.fixture
def told():
    return []


@pytest.fixture
def checkpointer(state, writer, told, monkeypatch):
    modules = Modules()
    modules.add("/p/train.py", "train.py", state)

    def main():
        pass

    stack = [(main.__code__, state, {}, {})]
    monkeypatch.setattr("flor_trace.runtime.checkpoints.frames", lambda names: stack)
    made = Checkpointer(
        modules=modules,
        clocks=frozenset,
        relocate=(),
        background=writer,
        budget=Budget(0.01, grace=0.0),
        is_project_file=lambda name: False,
        tell=told.append,
    )
    writer.on_error = made.forget
    return made


def test_what_was_saved_is_what_was_there_at_the_boundary(checkpointer, writer, store, state):
    saved = []
    taken = checkpointer.take()
    state["weights"][:] = b"x" * BIG  # the program goes on before anything is written
    assert checkpointer.save(taken, saved.append)
    writer.work()

    (done,) = saved
    live = {"global:train.py:weights": state["weights"], "global:train.py:fixed": state["fixed"],
            "global:train.py:step": 9}  # fmt: skip
    graph = decode(store.get(done.manifest))
    graph.roots = {k: v for k, v in graph.roots.items() if k.startswith("global:")}
    values = restore(graph, live, store.get)
    assert bytes(state["weights"]) == b"w" * BIG
    assert values["global:train.py:step"] == 0


def test_chunks_are_durable_before_the_manifest_and_the_manifest_before_it_is_listed(
    checkpointer, writer, store
):
    checkpointer.save(checkpointer.take(), lambda _: store.log.append("listed"))
    writer.work()

    assert store.log[-4:] == ["flush", "put", "flush", "listed"]
    assert set(store.log[:-4]) == {"put"}


def test_only_what_is_new_is_copied(checkpointer, writer, state):
    first = checkpointer.take()
    checkpointer.save(first, lambda _: None)
    state["weights"][0] = 0
    second = checkpointer.take()

    assert first.new_bytes >= 2 * BIG
    assert BIG <= second.new_bytes < 2 * BIG
    assert second.nbytes >= 2 * BIG
    unchanged = checkpointer.take()
    assert unchanged.addresses == second.addresses


def test_the_program_pays_and_the_budget_knows(checkpointer):
    taken = checkpointer.take()

    assert checkpointer.budget.taken == 1
    assert checkpointer.budget.spent == taken.seconds > 0


def test_a_writer_that_is_behind_makes_checkpoints_be_left_out_and_counted(
    checkpointer, writer, store
):
    saved = []
    writer.full = True
    assert not checkpointer.save(checkpointer.take(), saved.append)
    assert checkpointer.skipped == 1

    writer.full = False
    taken = checkpointer.take()
    assert taken.new_bytes >= 2 * BIG  # what was refused is not taken for stored
    checkpointer.save(taken, saved.append)
    writer.work()
    assert saved == [taken]


def test_the_writer_is_told_how_much_memory_a_checkpoint_keeps(checkpointer, writer):
    taken = checkpointer.take()
    checkpointer.save(taken, lambda _: None)

    ((_, nbytes),) = writer.commits
    assert nbytes == taken.new_bytes == sum(len(each.data) for each in taken.buffers)
    writer.work()
    assert taken.buffers == []


def test_a_checkpoint_with_a_lost_chunk_is_not_listed(checkpointer, writer, store, state):
    saved = []
    store.broken = True
    first = checkpointer.take()
    checkpointer.save(first, saved.append)
    second = checkpointer.take()  # before the first was written: relies on its chunks
    assert second.new_bytes < BIG
    checkpointer.save(second, saved.append)
    lost, _ = writer.commits.pop(0)
    with pytest.raises(StoreError):
        lost.chunks[0](store)
    store.broken = False
    writer.work()

    assert saved == []
    assert "were lost with an earlier one" in str(writer.errors[0])


def test_after_a_failure_everything_is_copied_again(checkpointer, writer, store):
    saved = []
    store.broken = True
    checkpointer.save(checkpointer.take(), saved.append)
    writer.work()
    store.broken = False
    taken = checkpointer.take()
    assert taken.new_bytes >= 2 * BIG
    checkpointer.save(taken, saved.append)
    writer.work()

    assert len(writer.errors) == 1
    assert saved == [taken]


def test_equal_states_have_equal_digests_and_others_do_not(checkpointer, writer, state):
    first, second = checkpointer.take(), checkpointer.take()
    state["step"] = 1
    third = checkpointer.take()
    for taken in (first, second, third):
        checkpointer.save(taken, lambda _: None)
    writer.work()

    assert first.digest == second.digest != third.digest


def test_a_checkpoint_is_allowed_when_the_run_is_old_enough(checkpointer, monkeypatch):
    began = checkpointer._began
    clock = "flor_trace.runtime.checkpoints.perf_counter"
    monkeypatch.setattr(clock, lambda: began)
    assert not checkpointer.allowed()
    monkeypatch.setattr(clock, lambda: began + 1e6)
    assert checkpointer.allowed()


def test_the_store_is_told_the_key_and_what_was_there_before(checkpointer, writer, store, state):
    np = pytest.importorskip("numpy")
    state["array"] = np.full(BIG, 7, np.uint8)
    checkpointer.save(checkpointer.take(), lambda _: None)
    writer.work()
    assert all(hints["key"] for hints in store.puts if hints)
    assert {hints["base"] for hints in store.puts if hints} == {None}

    state["array"][0] = 0
    store.puts.clear()
    checkpointer.save(checkpointer.take(), lambda _: None)
    writer.work()
    (base,) = [hints["base"] for hints in store.puts if hints.get("base")]
    assert bytes(base.data) == b"\7" * BIG


@pytest.mark.parametrize("busy", [True, False])
def test_where_cores_are_busy_nothing_is_compressed(checkpointer, writer, store, busy):
    writer.busy = busy
    checkpointer.save(checkpointer.take(), lambda _: None)
    writer.work()

    assert {hints["raw"] for hints in store.puts if hints} == {busy}


def test_what_the_background_takes_from_the_program_is_charged(checkpointer):
    before = checkpointer.budget.spent
    checkpointer.spent(0.25)
    checkpointer.spent(0.5)
    checkpointer.allowed()
    assert checkpointer.budget.spent == before + 0.75
    checkpointer.allowed()
    assert checkpointer.budget.spent == before + 0.75


def test_checkpoints_that_are_not_even_taken_are_told_of_once(checkpointer, monkeypatch):
    told = []
    checkpointer._tell = told.append
    monkeypatch.setattr(Budget, "allows", lambda self, elapsed: True)
    assert checkpointer.allowed()
    monkeypatch.setattr(type(checkpointer.pool), "behind", True)
    for _ in range(100):
        assert not checkpointer.allowed()
    checkpointer.close()

    assert checkpointer.skipped == 100
    ((frame),) = told
    assert (frame["t"], frame["what"]) == ("lost", "100 checkpoints")


def test_memory_is_given_back_at_the_end(checkpointer, writer):
    checkpointer.save(checkpointer.take(), lambda _: None)
    writer.work()
    assert checkpointer.pool.size
    checkpointer.close()
    assert checkpointer.pool.size == 0


def test_what_could_not_be_copied_is_not_saved(checkpointer, writer, monkeypatch):
    monkeypatch.setattr(type(checkpointer.pool), "reserve", lambda self, generation, sizes: None)
    taken = checkpointer.take()
    assert not taken.whole
    assert not checkpointer.save(taken, lambda _: None)
    assert (checkpointer.skipped, writer.commits) == (1, [])


def test_what_a_checkpoint_makes_the_store_grow_is_counted(checkpointer, writer):
    saved = []
    taken = checkpointer.take()
    checkpointer.save(taken, saved.append)
    assert checkpointer.budget.promised == taken.new_bytes > 0
    writer.work()
    assert saved[0].stored > 0
    checkpointer.allowed()
    budget = checkpointer.budget
    assert (budget.promised, budget.written) == (0, saved[0].stored)


@pytest.mark.parametrize("full", ["budget", "disk"])
def test_where_the_disk_is_full_checkpoints_are_left_out_and_told_once(
    checkpointer, writer, told, full
):
    if full == "budget":
        checkpointer.budget.disk = 1
    else:
        writer.room = False
    for _ in range(3):
        assert not checkpointer.save(checkpointer.take(), lambda _: None)
    assert writer.commits == []
    checkpointer.close()
    lost = [frame for frame in told if frame["t"] == "lost"]
    assert [frame["what"] for frame in lost] == ["3 checkpoints"]
    assert "--disk gives it more" in lost[0]["why"]
    assert checkpointer.summary()["no_room"] == 3
