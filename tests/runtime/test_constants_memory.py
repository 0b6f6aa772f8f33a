"""Checkpoints of real arrays and tensors that are taken for constant."""

from __future__ import annotations

import gc
import mmap
import random
import subprocess
import sys
import weakref

import numpy as np
import pytest

from flor_trace.runtime import constants
from flor_trace.runtime.checkpoints import Checkpointer
from flor_trace.runtime.owners import locate
from flor_trace.runtime.policy import Budget
from flor_trace.runtime.scope import Modules
from flor_trace.state.encode import decode
from flor_trace.store.memory import MemoryStore

COUNT = constants.Sizes().smallest // 8 * 2  # 8 MiB of floats: 32 blocks, two of them at a time
BLOCK = constants.Sizes().block


class Program:
    """Globals of a module, and a checkpointer of which everything is written at once."""

    max_bytes = 1 << 32
    busy = False

    def __init__(self, monkeypatch, **names):
        self.names = names
        self.store = MemoryStore()
        self.frames = []
        self.saved = []
        modules = Modules()
        modules.add("/p/train.py", "train.py", names)

        def main():
            pass

        stack = [(main.__code__, {}, {}, {})]
        monkeypatch.setattr("flor_trace.runtime.checkpoints.frames", lambda names: stack)
        monkeypatch.setattr(Budget, "spare", lambda self, elapsed: 0.0)
        self.checkpointer = Checkpointer(
            modules=modules,
            clocks=frozenset,
            relocate=(),
            background=self,
            budget=Budget(1.0),
            is_project_file=lambda name: False,
            tell=self.frames.append,
        )

    def has_room(self, nbytes):
        return True

    def commit(self, commit, nbytes):
        for job in (*commit.chunks, commit.manifest, commit.listed):
            job(self.store)
        return True

    def boundaries(self, count=1):
        for _ in range(count):
            taken = self.checkpointer.take()
            assert self.checkpointer.save(taken, self.saved.append)
        return self.saved[-1]

    def told(self, kind):
        return [frame for frame in self.frames if frame["t"] == kind]

    def held(self, number, name):
        """The bytes that a checkpoint has for an array."""
        graph = decode(self.store.get(self.saved[number].manifest))
        node = graph.nodes[graph.roots[f"global:train.py:{name}"]]
        return self.store.get(graph.leaves[node.leaf])


@pytest.fixture
def program(monkeypatch):
    return lambda **names: Program(monkeypatch, **names)


def array(seed=0):
    return np.random.default_rng(seed).standard_normal(COUNT)


def test_a_constant_array_is_soon_read_in_part_only_and_told_by_its_name(program):
    run = program(data=array(), weights=np.zeros(4))
    for n in range(20):
        run.names["weights"][0] = n
        run.boundaries()

    assert [done.assumed for done in run.saved] == [0, 0] + [COUNT * 8 - 2 * BLOCK] * 18
    assert run.told("constant") == [
        {"t": "constant", "id": 0, "take": 1, "path": "train.py::data", "bytes": COUNT * 8}
    ]
    assert run.held(19, "data") == run.names["data"].tobytes()
    assert run.told("confirmed")[-1]["take"] == 4  # sixteen takes to look at all of it
    run.checkpointer.confirm()
    assert run.told("confirmed")[-1]["take"] >= 19
    assert not run.told("doubtful")


def test_an_element_that_changes_is_found_and_the_checkpoints_before_are_doubtful(program):
    run = program(data=array())
    run.boundaries(5)
    run.names["data"][12345] += 1
    run.boundaries(17)

    (found,) = run.told("doubtful")
    assert found["id"] == 0
    wrong = [n for n in range(22) if run.held(n, "data")[12345 * 8] !=
             (array() if n < 5 else run.names["data"]).tobytes()[12345 * 8]]  # fmt: skip
    assert all(found["after"] < n < found["before"] for n in wrong)
    assert run.held(21, "data") == run.names["data"].tobytes()


def test_a_change_after_the_last_checkpoint_is_found_at_the_end(program):
    run = program(data=array())
    run.boundaries(5)
    run.names["data"][[0, 12345, -1]] += 1
    run.checkpointer.confirm()

    (found,) = run.told("doubtful")
    assert found["before"] == 5  # the number of the look
    assert found["after"] >= 1


def test_dense_changes_of_all_kinds_are_seen_at_the_boundary(program):
    for change in (
        lambda data: data.fill(1.0),
        lambda data: np.multiply(data, 1.0001, out=data),
        lambda data: data.sort(),
        lambda data: np.random.default_rng(3).shuffle(data),
    ):
        run = program(data=array())
        run.boundaries(5)
        change(run.names["data"])
        run.boundaries()
        assert run.held(5, "data") == run.names["data"].tobytes()


def test_arrays_that_are_swapped_are_seen(program):
    run = program(a=array(1), b=array(2))
    run.boundaries(5)
    run.names["a"], run.names["b"] = run.names["b"], run.names["a"]
    run.boundaries()

    assert run.held(5, "a") == run.names["a"].tobytes() == array(2).tobytes()
    run.names["a"][:], run.names["b"][:] = array(1), array(2)  # in place, and so back
    run.boundaries()
    assert run.held(6, "a") == array(1).tobytes()


def test_another_array_in_the_same_place_is_not_taken_for_the_old_one(program):
    run = program(data=array())
    run.boundaries(5)
    address = locate(memoryview(run.names["data"].view(np.uint8)))[0][0]
    other = array()
    other[777] += 1
    del run.names["data"]
    run.names["data"] = other  # often at the same address
    run.boundaries(17)

    assert address
    assert run.held(21, "data") == other.tobytes()
    bad = [f for f in run.frames if f["t"] in ("doubtful", "unconfirmed")]
    for n in range(5, 22):
        right = run.held(n, "data") == other.tobytes()
        assert right or any(f["after"] < n < f["before"] for f in bad)


def test_the_program_can_resize_free_and_close_what_is_taken_for_constant(program):
    """Nothing of the program's is held from one boundary to the next."""
    file = mmap.mmap(-1, COUNT * 8)
    run = program(
        data=array(),
        mapped=np.frombuffer(file, np.uint8),
        raw=np.frombuffer(bytearray(COUNT * 8), np.uint8),
    )
    run.boundaries(5)
    assert len(run.told("constant")) == 3

    run.names["data"].resize(COUNT * 2)  # refused if anything refers to the array
    del run.names["mapped"]
    file.close()  # refused if anything shows its memory
    run.boundaries(3)
    assert run.held(7, "data") == run.names["data"].tobytes()
    gone = weakref.ref(run.names.pop("raw"))
    gc.collect()
    assert gone() is None


def test_memory_that_another_process_writes_to_is_looked_at_like_any_other(program, tmp_path):
    path = tmp_path / "shared"
    path.write_bytes(bytes(COUNT * 8))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        run = program(data=np.frombuffer(mapped, np.uint8))
        run.boundaries(5)
        write = f"f = open({str(path)!r}, 'r+b'); f.seek(5_000_000); f.write(b'x')"
        subprocess.run([sys.executable, "-c", write], check=True)
        run.boundaries(17)

        assert run.told("doubtful")
        assert run.held(21, "data") == path.read_bytes()
        del run.names["data"]


def test_a_view_and_its_owner_are_one_constant(program, monkeypatch):
    drawn = random.Random(5)
    monkeypatch.setattr("flor_trace.runtime.checkpoints.private_draw", lambda: drawn.randrange)
    data = array()
    run = program(view=data[10:], data=data)
    run.boundaries(3)

    assert len(run.told("constant")) == 1
    data[5] = 3
    run.boundaries(17)
    assert run.told("doubtful")


def test_looking_draws_no_number_of_the_program(program):
    run = program(data=array())
    random.seed(1)
    np.random.seed(1)
    run.boundaries(20)
    run.checkpointer.confirm()
    drawn = random.random(), np.random.random()
    random.seed(1)
    np.random.seed(1)

    assert drawn == (random.random(), np.random.random())


def test_after_a_failure_of_the_store_a_constant_is_read_and_written_again(program):
    run = program(data=array())
    run.boundaries(5)
    run.store._chunks.clear()
    run.checkpointer.forget()
    run.boundaries()

    assert run.saved[-1].assumed == 0
    assert run.held(5, "data") == run.names["data"].tobytes()


def test_what_was_voluntary_is_charged_but_not_expected_again(program, monkeypatch):
    run = program(data=array())
    run.boundaries(5)
    assert run.saved[-1].assumed
    monkeypatch.setattr(Budget, "spare", lambda self, elapsed: 10.0)
    before = run.checkpointer.budget.estimate
    run.boundaries()

    assert run.saved[-1].assumed == 0
    assert run.checkpointer.budget.estimate < before + run.saved[-1].seconds / 2
    run.checkpointer.confirm()
    assert run.told("confirmed")[-1]["take"] == 5


def test_copies_that_are_made_for_one_boundary_have_no_place():
    assert locate(memoryview(np.frombuffer(bytes(100), np.uint8))) is None
    assert locate(memoryview(np.zeros(9))) is None
    owner = np.zeros(9)
    found = locate(memoryview(owner.reshape(-1).view(np.uint8)))
    assert found is not None
    (address, length, ident), view = found
    assert (address, length, ident) == (owner.ctypes.data, 72, id(owner))
    assert len(view) == 72


def test_without_numpy_nothing_is_assumed(monkeypatch):
    monkeypatch.delitem(sys.modules, "numpy")
    assert locate(memoryview(bytes(100))) is None


@pytest.mark.torch
def test_tensors_are_taken_for_constant_and_stay_the_programs_own(program):
    torch = pytest.importorskip("torch")
    frozen = torch.nn.Parameter(torch.randn(COUNT, dtype=torch.float64), requires_grad=False)
    run = program(
        data=torch.randn(COUNT), frozen=frozen, half=torch.randn(COUNT * 2).to(torch.bfloat16)
    )
    run.boundaries(5)
    assert {frame["path"] for frame in run.told("constant")} == {
        "train.py::data", "train.py::frozen", "train.py::half",
    }  # fmt: skip

    with torch.no_grad():
        frozen[12345] += 1
        run.names["data"].mul_(2)
    run.boundaries()
    assert run.held(5, "data") == run.names["data"].numpy().tobytes()
    run.boundaries(16)
    names = {frame["id"]: frame["path"] for frame in run.told("constant")}
    assert "train.py::frozen" in [names[frame["id"]] for frame in run.told("doubtful")]
    assert run.held(21, "frozen") == frozen.detach().numpy().tobytes()


@pytest.mark.torch
def test_while_torch_is_traced_nothing_is_looked_at(program, monkeypatch):
    run = program(data=array())
    run.boundaries(5)
    monkeypatch.setattr("flor_trace.runtime.checkpoints.torch_intercepts", lambda: True)
    run.names["data"].fill(0)
    run.checkpointer.confirm()
    assert not run.told("doubtful")
    monkeypatch.setattr("flor_trace.runtime.checkpoints.torch_intercepts", lambda: False)
    run.checkpointer.confirm()
    assert run.told("doubtful")


def test_a_large_data_frame_is_taken_for_constant(program):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({name: np.arange(float(COUNT)) for name in "abc"})
    run = program(frame=frame)
    run.boundaries(5)

    assert run.saved[-1].assumed > 2 * COUNT * 8
    frame.loc[77, "b"] = -1
    run.boundaries(17)
    assert [f for f in run.frames if f["t"] in ("doubtful", "unconfirmed")]
