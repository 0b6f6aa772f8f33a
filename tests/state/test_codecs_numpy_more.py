"""Arrays of every type and kind of memory, maps of files and constants of NumPy come back."""

from __future__ import annotations

import numpy as np
import pytest

SIMPLE = np.typecodes["All"].replace("O", "").replace("V", "").replace("S", "").replace("U", "")
MOMENTS = "Mm"


@pytest.mark.parametrize("code", [*SIMPLE, "S5", "U3", "V7", *(f">{c}" for c in "hilfdFD")])
def test_an_array_of_every_type_is_written_in_place(save, digest_of, code):
    dtype = np.dtype(f"{code}8[us]" if code in MOMENTS else code)
    wide = np.frombuffer(np.random.default_rng(1).bytes(20 * dtype.itemsize), "u1")
    array = wide.copy().view(dtype)[2:14].reshape(4, 3)[::-1, ::2]
    saved, expected = save({"x": array}), array.tobytes()
    live = array
    live.base.view("u1")[...] = 1
    for place in (live, np.zeros_like(array), None):
        made = saved.restore({"x": place})["x"]
        assert (made.dtype, made.strides, made.tobytes()) == (dtype, array.strides, expected)
        assert place is not live or made is live


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 2)])
def test_an_empty_array_keeps_its_strides(save, digest_of, shape):
    for array in (np.zeros(shape), np.zeros(shape)[::-1], np.zeros(shape).T):
        saved = save({"x": array})
        made = saved.restore({})
        assert made["x"].strides == array.strides
        assert digest_of(made) == saved.digests


def test_types_that_other_libraries_add_are_not_taken_for_plain_bytes(save, digest_of):
    types = pytest.importorskip("ml_dtypes")
    array = np.array([1.5, -2.0], dtype=types.bfloat16)
    saved = save({"x": [array, array[0], array.dtype]})
    made = saved.restore({})
    assert made["x"][0].dtype == types.bfloat16
    assert made["x"][0].astype("f4").tolist() == [1.5, -2.0]
    assert (type(made["x"][1]), made["x"][2]) == (types.bfloat16, array.dtype)
    assert digest_of(made) == saved.digests


def test_objects_in_fields_stay_the_same_objects(save, digest_of):
    shared = [1]
    array = np.array([(shared, 1), (None, 2)], dtype=[("a", "O"), ("b", "i4")])
    saved = save({"x": [shared, array]})
    assert saved.captured.opaque == []
    array["b"] = 7
    array["a"][0] = None
    shared.append(2)
    for live in ([shared, array], None):
        made = saved.restore({"x": live})
        assert made["x"][1]["a"][0] is made["x"][0]
        assert made["x"][1]["b"].tolist() == [1, 2]
        assert live is None or made["x"][1] is array
        assert digest_of(made) == saved.digests


@pytest.mark.parametrize("options", [{}, {"na_object": None}, {"coerce": False}])
def test_strings_of_any_length_come_back(save, digest_of, options):
    strings = getattr(np.dtypes, "StringDType", None)
    if strings is None:
        pytest.skip("this NumPy has no such type")
    array = np.array([["a", "long " * 30], ["é", ""]], dtype=strings(**options))
    if "na_object" in options:
        array[1, 1] = None
    saved, expected = save({"x": array}), array.tolist()
    array[0, 0] = "changed"
    for live in (array, None):
        made = saved.restore({"x": live})
        assert made["x"].tolist() == expected
        assert made["x"].dtype == array.dtype
        assert live is None or made["x"] is array
        assert digest_of(made) == saved.digests


@pytest.fixture
def shards(tmp_path):
    for number in range(2):
        np.arange(10 * number, 10 * number + 10, dtype="u2").tofile(tmp_path / f"{number}.bin")
    return [str(tmp_path / f"{number}.bin") for number in range(2)]


def test_the_file_that_was_mapped_is_mapped_again(save, digest_of, shards):
    first = np.memmap(shards[0], dtype="u2", mode="r", offset=4)
    second = np.memmap(shards[1], dtype="u2", mode="r")
    saved = save({"x": [first, first[3:5]]})
    assert (saved.captured.opaque, saved.captured.leaves) == ([], [])
    for live in ([first, first[3:5]], [second, second[3:5]], None):
        made = saved.restore({"x": live})
        assert made["x"][0].tolist() == list(range(2, 10))
        assert made["x"][1].tolist() == [5, 6]
        assert digest_of(made) == saved.digests
    assert saved.restore({"x": [first, None]})["x"][0] is first


def test_a_map_moves_with_the_directory_of_the_run(save, tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        np.array([len(name), ord(name[0])], dtype="u1").tofile(tmp_path / name / "a.bin")
    array = np.memmap(tmp_path / "old" / "a.bin", dtype="u1", mode="r")
    saved = save({"x": array}, relocate=[(str(tmp_path / "old"), "<root>")])
    made = saved.restore({}, relocate=[(str(tmp_path / "new"), "<root>")])
    assert made["x"].tolist() == [3, ord("n")]


def test_a_private_map_is_state_like_any_array(save, digest_of, shards):
    array = np.memmap(shards[0], dtype="u2", mode="c")
    array[0] = 99
    saved = save({"x": array})
    assert saved.captured.opaque == []
    array[:] = 1
    for live in (array, None):
        made = saved.restore({"x": live})
        assert made["x"].tolist() == [99, *range(1, 10)]
        assert digest_of(made) == saved.digests
    assert np.fromfile(shards[0], "u2").tolist() == list(range(10))


def test_a_file_that_is_gone_is_named(save, shards, tmp_path):
    saved = save({"x": np.memmap(shards[0], dtype="u2", mode="r")})
    (tmp_path / "0.bin").unlink()
    left_out = []
    assert saved.restore({}, left_out=left_out) == {}
    assert "cannot be opened again" in left_out[0]


def test_an_archive_of_arrays_is_taken_from_the_live_program(save, tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(3))
    with np.load(tmp_path / "a.npz") as archive:
        saved = save({"data": archive})
        assert saved.captured.opaque == []
        assert saved.restore({"data": archive})["data"] is archive


def test_constants_of_numpy_stay_what_they_are(save, digest_of):
    values = [np.ma.masked, np.finfo("f4"), np.iinfo("u1"), np.add, np.newaxis]
    saved = save({"x": values})
    made = saved.restore({})
    assert made["x"][0] is np.ma.masked
    assert (made["x"][1].max, made["x"][2].max) == (np.finfo("f4").max, 255)
    assert digest_of(made) == saved.digests


BITS = [np.random.MT19937, np.random.PCG64, np.random.PCG64DXSM, np.random.SFC64, np.random.Philox]


@pytest.mark.parametrize("bits", BITS)
def test_a_generator_over_every_source_of_bits_continues(continues, bits):
    def make(seed):
        generator = np.random.Generator(bits(seed))
        return {"rng": generator, "also": [generator], "old": np.random.RandomState(seed)}

    def advance(state, _):
        rng, old = state["rng"], state["old"]
        child = state["also"][0].spawn(2)[1]
        return [
            rng.random(3, dtype="f4"),
            rng.integers(9, size=3, dtype="i1"),
            rng.permutation(5),
            child.normal(size=2),
            old.standard_normal(3),
            old.randint(5),
        ]

    continues(make, advance)


def test_a_seed_sequence_goes_on_counting_its_children(continues):
    def advance(state, _):
        return [child.generate_state(2) for child in state["seeds"][0].spawn(2)]

    continues(lambda seed: {"seeds": [np.random.SeedSequence(seed)]}, advance)
