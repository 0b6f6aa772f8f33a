"""Iterators written in C go on where they stood, wherever they are put back."""

from __future__ import annotations

import collections
import csv
import io
import itertools
import os
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

ITEMS = ["ä", "b", "c", "dé", "e", "f"]
TABLE = {item: number for number, item in enumerate(ITEMS)}


def tee(items: Any) -> Any:
    first, second = itertools.tee(items)
    next(second)
    return zip(first, second, strict=False)


def again() -> int:
    return 7


MAKERS: dict[str, Any] = {
    "list": lambda: iter(list(ITEMS)),
    "tuple": lambda: iter(tuple(ITEMS)),
    "string": lambda: iter("äbcdef"),
    "ascii": lambda: iter("abcdef"),
    "bytes": lambda: iter(b"abcdef"),
    "bytearray": lambda: iter(bytearray(b"abcdef")),
    "range": lambda: iter(range(2, 14, 2)),
    "long range": lambda: iter(range(1 << 70, (1 << 70) + 6)),
    "reversed": lambda: reversed(list(ITEMS)),
    "reversed range": lambda: reversed(range(6)),
    "reversed tuple": lambda: reversed(tuple(ITEMS)),
    "dict": lambda: iter(dict(TABLE)),
    "values": lambda: iter(dict(TABLE).values()),
    "items": lambda: iter(dict(TABLE).items()),
    "reversed dict": lambda: reversed(dict(TABLE)),
    "reversed items": lambda: reversed(dict(TABLE).items()),
    "reversed values": lambda: reversed(dict(TABLE).values()),
    "set": lambda: iter(set(ITEMS)),
    "frozenset": lambda: iter(frozenset(range(6))),
    "deque": lambda: iter(collections.deque(ITEMS)),
    "enumerate": lambda: enumerate(ITEMS, 3),
    "zip": lambda: zip(ITEMS, range(6), strict=True),
    "map": lambda: map(len, ITEMS),
    "filter": lambda: filter(str.isalpha, ITEMS),
    "callable": lambda: iter(again, 8),
    "accumulate": lambda: itertools.accumulate(ITEMS),
    "chain": lambda: itertools.chain(ITEMS, "xy"),
    "chain of iterables": lambda: itertools.chain.from_iterable([ITEMS, "xy"]),
    "combinations": lambda: itertools.combinations(ITEMS, 2),
    "compress": lambda: itertools.compress(ITEMS, itertools.cycle([1, 0, 1])),
    "count": lambda: itertools.count(3, 2),
    "cycle": lambda: itertools.cycle(ITEMS),
    "dropwhile": lambda: itertools.dropwhile(str.isupper, ITEMS),
    "islice": lambda: itertools.islice(ITEMS, 1, 6, 2),
    "pairwise": lambda: itertools.pairwise(ITEMS),
    "permutations": lambda: itertools.permutations(ITEMS, 2),
    "product": lambda: itertools.product(ITEMS, repeat=2),
    "repeat": lambda: itertools.repeat("x", 6),
    "starmap": lambda: itertools.starmap(max, itertools.pairwise(ITEMS)),
    "takewhile": lambda: itertools.takewhile(str.islower, ITEMS),
    "tee": lambda: tee(list(ITEMS)),
    "zip_longest": lambda: itertools.zip_longest(ITEMS, "xy", fillvalue=0),
    "csv": lambda: csv.reader(iter(["a;b", '"c', 'd";e', "f;g", "h;i"]), delimiter=";"),
}


@pytest.mark.filterwarnings("ignore:Pickle, copy:DeprecationWarning")
@pytest.mark.parametrize("name", MAKERS)
def test_an_iterator_goes_on_from_everywhere(save, digest_of, name):
    for count in range(9):
        recorded, control = MAKERS[name](), MAKERS[name]()
        for each in (recorded, control):
            for _ in range(count):
                next(each, None)
        saved = save({"it": recorded})
        assert saved.captured.opaque == []
        rest = list(itertools.islice(control, 20))
        assert list(itertools.islice(recorded, 20)) == rest, "capturing moved the iterator"
        for live in ({"it": recorded}, {"it": MAKERS[name]()}, {}):
            made = saved.restore(live)["it"]
            assert digest_of({"it": made}) == saved.digests
            assert type(made) is type(control)
            assert list(itertools.islice(made, 20)) == rest
            assert list(itertools.islice(made, 20)) == list(itertools.islice(control, 20))
            control = saved.restore({})["it"]
            list(itertools.islice(control, 20))


@pytest.mark.parametrize("name", MAKERS)
def test_a_restored_iterator_is_told_from_the_recorded_one_nowhere_further_on(
    save, digest_of, name
):
    for count in range(9):
        recorded = MAKERS[name]()
        for _ in range(count):
            next(recorded, None)
        made = save({"it": recorded}).restore({})["it"]
        for _ in range(16):
            ended = next(made, None) is None, next(recorded, None) is None
            assert ended[0] == ended[1]
            if ended[0] and name == "zip_longest":
                break  # which of its iterators was the last to end is forgotten
            assert digest_of({"it": made}) == digest_of({"it": recorded})


@pytest.mark.parametrize("name", ["list", "tuple", "reversed"])
def test_a_live_iterator_over_the_same_thing_is_led_back(save, name):
    items = tuple(ITEMS) if name == "tuple" else list(ITEMS)
    it = reversed(items) if name == "reversed" else iter(items)
    next(it)
    saved = save({"items": items, "it": it})
    rest = [next(it), next(it)]
    made = saved.restore({"items": items, "it": it})
    assert made["it"] is it
    assert [next(it), next(it)] == rest


def test_an_iterator_runs_over_the_live_dict(save):
    table = dict(TABLE)
    it = iter(table.items())
    next(it)
    saved = save({"table": table, "it": it})
    made = saved.restore({"table": table, "it": it})
    table["b"] = "changed"
    assert next(made["it"]) == ("b", "changed")
    table["new"] = 1
    with pytest.raises(RuntimeError, match="changed size"):
        next(made["it"])


@pytest.mark.parametrize("container", [dict(TABLE), set(ITEMS)])
def test_an_iterator_whose_next_step_fails_is_opaque(save, container):
    it = iter(container)
    next(it)
    container.pop(*(["b"] if isinstance(container, dict) else []))
    (found,) = save({"it": it}).captured.opaque
    assert "changed size" in found


def test_branches_of_a_tee_still_share_what_they_run_over(save):
    source = iter(range(9))
    first, second = itertools.tee(source)
    next(first), next(first), next(second)
    saved = save({"source": source, "first": first, "second": second})
    made = saved.restore({})
    assert next(made["first"]) == 2
    assert [next(made["second"]), next(made["second"]), next(made["source"])] == [1, 2, 3]


def test_a_reader_knows_its_line_and_the_live_source(save):
    lines = iter(["a,b", "c,d", '"e', 'f",g', "h,i"])
    reader = csv.DictReader(lines)
    next(reader), next(reader)
    saved = save({"lines": lines, "reader": reader})
    rest = list(reader)
    made = saved.restore({"lines": lines, "reader": reader})
    assert made["reader"] is reader
    assert reader.line_num == 4
    assert list(reader) == rest
    assert reader.line_num == 5
    assert list(made["lines"]) == []


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: re.finditer("a", "banana"), "SRE_Scanner"),
        (lambda: os.scandir("."), "ScandirIterator"),
    ],
)
def test_what_cannot_say_where_it_stands_is_opaque(save, make, reason):
    it = make()
    (found,) = save({"it": it}).captured.opaque
    assert reason in found
    getattr(it, "close", list)()


@given(data=st.data())
def test_wrapped_iterators_go_on_from_everywhere(save, data):
    def make(layers: list[str]) -> Any:
        it: Any = iter(list(range(20)))
        for layer in layers:
            it = LAYERS[layer](it)
        return it

    layers = data.draw(st.lists(st.sampled_from(sorted(LAYERS)), max_size=4))
    count = data.draw(st.integers(0, 12))
    recorded, control = make(layers), make(layers)
    for each in (recorded, control):
        for _ in range(count):
            next(each, None)
    saved = save({"it": recorded})
    made = saved.restore({"it": make(layers)})["it"]
    assert list(itertools.islice(made, 30)) == list(itertools.islice(control, 30))


LAYERS: dict[str, Any] = {
    "enumerate": enumerate,
    "zip": lambda it: zip(it, itertools.count(), strict=False),
    "twice": lambda it: zip(it, it, strict=False),
    "islice": lambda it: itertools.islice(it, 1, None, 2),
    "chain": lambda it: itertools.chain(it, "ab"),
    "cycle": itertools.cycle,
    "map": lambda it: map(repr, it),
    "pairwise": itertools.pairwise,
    "tee": lambda it: itertools.tee(it)[0],
}


def test_strings_in_memory_go_on(save):
    text = io.StringIO("a\nb\nc\n")
    next(text)
    saved = save({"text": text})
    rest = list(text)
    assert list(saved.restore({"text": text})["text"]) == rest
