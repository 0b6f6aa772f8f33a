"""Large plain containers: one node and one buffer, and yet the same objects after a restore."""

from __future__ import annotations

import copy
import random
from collections import Counter, OrderedDict, defaultdict, deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_trace.errors import RestoreError
from flor_trace.state.capture import capture
from flor_trace.state.digests import leaf_bytes
from flor_trace.state.graph import PACKED_GRAPH, PACKED_PART, PACKED_VALUE, first_paths
from flor_trace.state.packmemory import PackMemory

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.binary(max_size=3)
)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=10),
        st.dictionaries(st.one_of(st.text(max_size=3), st.integers(), st.booleans()), inner),
        st.tuples(inner, inner),
    ),
    max_leaves=30,
)


class Thing:
    def __init__(self, **values):
        self.__dict__.update(values)


def kinds(graph):
    return [node.kind for node in graph.nodes]


def records(count=50):
    return [{"id": n, "text": f"t{n}", "spans": [(n, n + 1), (0, 2)]} for n in range(count)]


@given(st.lists(PLAIN, max_size=40), st.booleans())
@settings(max_examples=200)
def test_a_packed_container_comes_back(round_trip, values, over):
    obj = [*values, ["x", 0.5] * 40]
    live = [*reversed(copy.deepcopy(values)), []] if over else None
    made = round_trip(obj, live)
    assert repr(made) == repr(obj)
    assert live is None or made is live


def test_records_are_one_node():
    graph = capture({"x": records()})
    assert kinds(graph) == [PACKED_GRAPH]
    assert kinds(capture({"x": tuple((n, str(n)) for n in range(50))})) == [PACKED_VALUE]
    assert PACKED_GRAPH not in kinds(capture({"x": records(3)}))


def test_what_else_refers_to_a_part_refers_to_it_afterwards(save):
    data = records()
    roots = {"data": data, "sample": data[7], "holder": Thing(spans=data[9]["spans"])}
    graph = capture(roots)
    assert kinds(graph).count(PACKED_PART) == 2
    made = save(roots).restore({"data": [], "sample": None, "holder": None})
    assert made["sample"] is made["data"][7]
    assert made["holder"].spans is made["data"][9]["spans"]


def test_a_part_met_before_its_container_is_one_object_with_it(save):
    data = records()
    roots = {"sample": data[7], "data": data}
    made = save(roots).restore({"sample": None, "data": None})
    assert made["sample"] is made["data"][7]
    assert made["data"] == data


def test_other_objects_inside_keep_their_place_and_identity(save):
    data = {"rows": records(80), "model": Thing(w=1.5), "deep": {"er": [Thing(w=2)]}}
    data["deep"]["er"].append(data)
    data["deep"]["back"] = data["deep"]
    saved = save({"data": data, "model": data["model"]})
    assert first_paths(saved.captured, range(9))[1] == "data['model']"
    assert first_paths(saved.captured, range(9))[2] == "data['deep']['er'][0]"
    live = {"rows": [], "model": Thing(w=0), "deep": {"er": [Thing(w=0)]}}
    model, inner = live["model"], live["deep"]["er"][0]
    made = saved.restore({"data": live, "model": model})
    assert made["data"] is live
    assert made["model"] is model is live["model"]
    assert (model.w, inner.w, live["deep"]["er"][0]) == (1.5, 2, inner)
    assert live["deep"]["er"][1] is live
    assert live["deep"]["back"] is live["deep"]
    assert live["rows"] == data["rows"]
    assert list(live) == list(data)


def test_an_object_inside_that_refers_to_a_part_beside_it(save):
    data = records(80)
    data.append(Thing(first=data[0], rest=data))
    made = save({"data": data}).restore({"data": None})["data"]
    assert made[-1].first is made[0]
    assert made[-1].rest is made


def test_live_parts_are_filled_in_place_and_not_twice(save):
    data = records()
    live = records(48)
    kept, twice = live[3], live[5]
    live[6] = twice
    made = save({"data": data}).restore({"data": live})["data"]
    assert made is live
    assert made == data
    assert made[3] is kept
    assert made[5] is twice
    assert made[6] is not twice


def test_an_equal_live_tuple_is_kept(save):
    value = tuple((n, str(n), (True, 0.0)) for n in range(50))
    same = tuple((n, str(n), (True, 0.0)) for n in range(50))
    other = tuple((n, str(n), (1, -0.0)) for n in range(50))
    assert save({"x": value}).restore({"x": same})["x"] is same
    assert repr(save({"x": value}).restore({"x": other})["x"]) == repr(value)


def test_keys_that_are_equal_and_of_other_types_are_told_apart(save):
    saved = save({"x": {1: "one", **{n: n for n in range(2, 90)}}})
    made = saved.restore({"x": {True: "yes", **{n: n for n in range(2, 90)}}})["x"]
    assert type(next(iter(made))) is int


def test_paths_that_may_move_and_clock_readings_are_not_packed(save, digest_of):
    rows = [{"path": f"/run/1/{n}.txt", "n": n} for n in range(100)]
    made = save({"x": rows}, relocate=[("/run/1", "<run>")]).restore(
        {"x": None}, relocate=[("/run/2", "<run>")]
    )["x"]
    assert made[5] == {"path": "/run/2/5.txt", "n": 5}

    def timed(seconds):
        return {"x": [{"n": n, "seconds": seconds} for n in range(100)]}

    assert digest_of(timed(1.0)) != digest_of(timed(2.0))
    ignored = frozenset({"seconds"})
    assert digest_of(timed(1.0), ignored) == digest_of(timed(2.0), ignored)


def test_equal_contents_have_equal_digests_however_they_are_shared(digest_of):
    one, other = records(), records()
    other[3]["spans"][0] = tuple(other[3]["spans"][0])
    assert digest_of({"x": one}) == digest_of({"x": other})
    other[3]["spans"] = other[4]["spans"]
    one[3]["spans"] = list(other[4]["spans"])
    assert one == other
    assert digest_of({"x": one}) != digest_of({"x": other})  # whether it is one list matters


@pytest.mark.parametrize("at", range(0, 900, 7))
def test_damaged_bytes_are_refused(save, at):
    saved = save({"x": records(20)})
    ((address, data),) = saved.chunks.items()
    at %= len(data)
    saved.chunks[address] = data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]
    try:
        saved.restore({"x": None})
    except RestoreError:
        pass
    saved.chunks[address] = data[:at]
    with pytest.raises(RestoreError):
        saved.restore({"x": None})


def bytes_of(roots, memory):
    graph = capture(roots, memory=memory)
    (leaf,) = leaf_bytes(graph)
    return leaf


@pytest.mark.native
def test_what_did_not_change_is_not_packed_again():
    data, memory = records(2000), PackMemory()
    first, second, third, fourth = (bytes_of({"x": data}, memory) for _ in range(4))
    assert third.obj is second.obj is fourth.obj
    assert first == fourth
    data[5]["spans"][1] = (0, 3)
    changed = bytes_of({"x": data}, memory)
    assert changed != first
    assert bytes(changed) == bytes(bytes_of({"x": data}, None))


@pytest.mark.native
def test_a_remembered_container_knows_its_parts(save):
    data, memory = records(2000), PackMemory()
    for _ in range(3):
        capture({"x": data}, memory=memory)
    graph = capture({"x": data, "y": data[3]}, memory=memory)
    assert kinds(graph) == [PACKED_GRAPH, PACKED_PART]
    graph = capture({"y": data[3], "x": data}, memory=memory)
    assert PACKED_PART not in kinds(graph)
    assert capture({"y": data[3], "x": data}).nodes == graph.nodes


@pytest.mark.native
@given(st.randoms(use_true_random=False))
def test_with_memory_a_capture_sees_what_it_sees_without(rng: random.Random):
    data, memory = records(1500), PackMemory()
    for _ in range(8):
        row = data[rng.randrange(len(data))]
        action = rng.randrange(7)
        if action == 0:
            row["spans"].append((1, 2))
        elif action == 1:
            row["id"] = rng.random()
        elif action == 2:
            data[rng.randrange(len(data))] = dict(row)
        elif action == 3:
            data = [dict(each) for each in data]
        assert bytes_of({"x": data}, memory) == bytes_of({"x": data}, None)


@pytest.mark.native
def test_names_that_are_ignored_from_now_on_are_heeded():
    data, memory = [{"n": n, "seconds": 0.5} for n in range(3000)], PackMemory()
    for _ in range(3):
        capture({"x": data}, memory=memory)
    ignored = frozenset({"seconds"})
    graph = capture({"x": data}, memory=memory, ignore=ignored)
    assert graph.nodes == capture({"x": data}, ignore=ignored).nodes
    assert PACKED_GRAPH not in kinds(graph)


def test_what_is_gone_is_forgotten():
    memory = PackMemory()
    for _ in range(3):
        capture({"x": records(2000)}, memory=memory)
    assert len(memory) == 1
    capture({"x": 1}, memory=memory)
    assert len(memory) == 0


def large():
    rng = random.Random(7)
    return {
        "counter": Counter({f"w{n}": n for n in range(100)}),
        "index": defaultdict(list, {f"w{n}": [n, [n]] for n in range(100)}),
        "ordered": OrderedDict((n, Thing(n=n)) for n in range(100)),
        "numbers": {rng.randrange(10**9) for _ in range(200)},
        "words": frozenset(f"w{n}" for n in range(200)),
        "replay": deque(((n, n * 0.5, "a") for n in range(100)), maxlen=100),
        "things": deque([Thing(n=n) for n in range(70)]),
        "mixed": deque([1, "two", [3]] * 30),
    }


def test_large_containers_of_other_types_come_back(round_trip):
    for name, value in large().items():
        made = round_trip(value)
        if "thing" not in name and name != "ordered":
            assert repr(made) == repr(value)
        assert type(made) is type(value)
        assert len(made) == len(value)
    assert round_trip(large()["index"]).default_factory is list
    assert round_trip(large()["replay"]).maxlen == 100


def test_large_containers_of_other_types_are_filled_in_place(save):
    saved, live = save(large()), large()
    live["index"]["w3"].append("more")
    live["counter"].clear()
    live["numbers"] -= set(list(live["numbers"])[:50])
    live["replay"].extend([1] * 30)
    live["ordered"].move_to_end(4)
    kept = dict(live.items())
    inner, thing, last = live["index"]["w3"], live["ordered"][4], live["things"][-1]
    made = saved.restore(live)
    for name, value in large().items():
        if name not in ("things", "ordered"):
            assert repr(made[name]) == repr(value)
        assert made[name] is kept[name] or name == "words"
    assert made["index"]["w3"] is inner
    assert made["ordered"][4] is thing
    assert list(made["ordered"]) == list(range(100))
    assert made["things"][-1] is last


def test_large_containers_share_what_they_hold(save):
    data = large()
    roots = {**data, "word": data["index"]["w5"], "row": data["mixed"][2]}
    made = save(roots).restore({})
    assert made["word"] is made["index"]["w5"]
    assert made["row"] is made["mixed"][2]
    assert made["mixed"][2] is made["mixed"][5]


def test_keys_that_run_code_when_they_are_hashed_are_left_to_nodes(digest_of):
    index = OrderedDict()
    for n in range(100):
        OrderedDict.__setitem__(index, (n, n), n)
    keys = defaultdict(int, {(n, n): n for n in range(100)})
    assert kinds(capture({"x": keys}))[0] == "dict"
    assert kinds(capture({"x": index}))[0] == "dict"
