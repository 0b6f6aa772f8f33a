# ruff: noqa: UP028 - loops as a program has them
"""Generators are saved before they begin, where they wait, and when they have ended."""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
import textwrap
import weakref

import pytest

from flor_trace import _speedups
from flor_trace.errors import RestoreError
from flor_trace.state.capture import capture
from flor_trace.state.changes import changes
from flor_trace.state.codecs import generators
from flor_trace.state.yields import yields_of

native = pytest.mark.skipif(not _speedups.NATIVE, reason="Python cannot read a value stack")


def two():
    yield 1
    yield 2


def infinite(items):
    while True:
        for item in items:
            yield item


def begun(generator, steps=1):
    for _ in range(steps):
        next(generator)
    return generator


def taken(generator, count):
    return list(itertools.islice(generator, count))


# -- before they begin, and when they have ended -------------------------------------------------


def test_generators_that_have_not_begun_or_have_ended_are_restored(save):
    fresh, ended = two(), two()
    list(ended)
    saved = save({"fresh": fresh, "ended": ended})
    assert saved.captured.opaque == []
    live = {"fresh": two(), "ended": two()}
    made = saved.restore(live)
    assert made["fresh"] is live["fresh"]
    assert (list(made["fresh"]), list(made["ended"])) == ([1, 2], [])


def test_one_that_has_ended_stays_the_object_it_was(save):
    ended = two()
    list(ended)
    assert save({"g": ended}).restore({"g": ended})["g"] is ended


@native
def test_what_one_was_called_with_is_restored_before_it_begins(save):
    items = [1, 2]
    saved = save({"g": infinite(items), "items": items})
    items.append(3)
    live = {"g": infinite([7]), "items": items}
    made = saved.restore(live)
    assert made["g"] is live["g"]
    assert taken(made["g"], 3) == [1, 2, 1]
    made["items"].append(5)
    assert next(save({"g": infinite([4])}).restore({})["g"]) == 4
    assert taken(made["g"], 2) == [2, 5]


@native
def test_one_that_has_begun_is_not_begun_again_but_made_anew(save):
    live = begun(two())
    made = save({"g": two()}).restore({"g": live})["g"]
    assert made is not live
    assert (list(made), list(live)) == ([1, 2], [2])


# -- where they wait ------------------------------------------------------------------------------


@native
def test_it_goes_on_in_the_live_one_and_in_a_new_one(save):
    recorded = begun(infinite("abc"), 5)
    saved = save({"g": recorded})
    assert saved.captured.opaque == []
    expected = taken(recorded, 7)
    for live in (begun(infinite("abc"), 2), infinite("xy")):
        made = saved.restore({"g": live})["g"]
        assert made is live
        assert taken(made, 7) == expected
    assert taken(saved.restore({})["g"], 7) == expected


@native
def test_what_is_sent_and_what_is_returned_arrive(save):
    def averages():
        total = 0.0
        for count in range(1, 4):
            total += yield total / count
        return total

    def outer():
        got = yield from averages()
        yield "got", got

    generator = begun(outer())
    generator.send(4.0)
    made = save({"g": generator}).restore({"g": outer()})["g"]
    assert made.gi_yieldfrom is not None
    assert made.send(2.0) == 2.0
    assert made.send(1.0) == ("got", 7.0)


@native
def test_closing_one_runs_its_finally_clauses_and_ends_its_contexts(save):
    class Context:
        ended = 0

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.ended += 1

    def program(context, log):
        try:
            with context:
                for number in range(9):
                    yield number
        finally:
            log.append("over")

    context, log = Context(), []
    saved = save({"g": begun(program(context, log), 3), "context": context, "log": log})
    made = saved.restore({"g": program(Context(), []), "context": Context(), "log": []})
    assert next(made["g"]) == 3
    made["g"].close()
    assert (made["context"].ended, made["log"]) == (1, ["over"])
    with pytest.raises(ZeroDivisionError):
        saved.restore({"g": program(context, log)})["g"].throw(ZeroDivisionError)


@native
def test_closures_and_the_generator_share_their_variables(save):
    def make():
        total = 0

        def add(amount):
            nonlocal total
            total += amount
            return total

        def running():
            nonlocal total
            for step in range(100):
                total += step
                yield total

        return {"add": add, "g": running()}

    recorded = make()
    begun(recorded["g"], 4)
    recorded["add"](10)
    saved = save(recorded)
    expected = [next(recorded["g"]), recorded["add"](100), next(recorded["g"])]
    for live in (make(), recorded):
        made = saved.restore(live)
        assert made["g"] is live["g"]
        assert [next(made["g"]), made["add"](100), next(made["g"])] == expected


@native
def test_generators_within_generators_and_iterators_go_on_together(save):
    def make():
        inner = infinite("ab")
        pairs = zip(inner, (n * k for n in itertools.count(1) for k in (1, 10)), strict=False)
        return {"inner": inner, "all": enumerate(itertools.islice(pairs, 2, 20, 3))}

    recorded = make()
    begun(recorded["all"], 2)
    saved = save(recorded)
    assert saved.captured.opaque == []
    for live in ({}, make()):
        made = saved.restore(live)
        assert (next(made["inner"]), next(made["all"])) == ("a", (2, ("b", 5)))
    assert (next(recorded["inner"]), next(recorded["all"])) == ("a", (2, ("b", 5)))


class Owner:
    def __init__(self, items):
        self.items = items
        self.stream = self.each()
        self.twice = [self.stream, self.stream]

    def each(self):
        for number, item in enumerate(self.items):
            self.at = number
            yield item


@native
def test_one_kept_in_an_object_that_it_refers_to_goes_on(save):
    owner = Owner([5, 6, 7])
    next(owner.stream)
    made = save({"owner": owner}).restore({"owner": Owner([1])})["owner"]
    assert made.twice == [made.stream, made.stream]
    assert next(made.stream) == 6
    assert (made.at, made.items) == (1, [5, 6, 7])
    new = save({"owner": owner}).restore({})["owner"]
    assert (next(new.stream), new.at) == (6, 1)


@native
def test_variables_without_a_value_have_none(save):
    def program(flag):
        yield 1
        if flag:
            value = 1
        yield 2
        yield value

    made = save({"g": begun(program(False))}).restore({"g": begun(program(True), 2)})["g"]
    assert next(made) == 2
    with pytest.raises(UnboundLocalError):
        next(made)


@native
def test_generator_expressions_on_one_line_are_told_apart(save):
    def make():
        # fmt: off
        return {"a": (n + 1 for n in range(9)), "b": (n * 5 for n in range(9))}
        # fmt: on

    recorded = make()
    begun(recorded["a"], 2), begun(recorded["b"], 3)
    made = save(recorded).restore({})
    assert (next(made["a"]), next(made["b"])) == (3, 15)


@native
def test_names_that_were_given_to_it_are_kept(save):
    generator = begun(two())
    generator.__name__, generator.__qualname__ = "batches", "Data.batches"
    made = save({"g": generator}).restore({})["g"]
    assert (made.__name__, made.__qualname__) == ("batches", "Data.batches")


# -- what people see of it ------------------------------------------------------------------------


@native
def test_its_variables_are_named_where_they_change(save):
    def program():
        for i in range(5):
            yield i

    generator = begun(program())
    before = capture({"g": generator})
    next(generator)
    found = changes(before, capture({"g": generator}), [], [])
    assert [c.detail for c in found if c.path == "g.i"] == ["0 -> 1"]


@native
def test_a_name_that_holds_a_reading_of_a_clock_does_not_count(digest_of):
    def program(start):
        for i in range(5):
            yield i

    first, second = begun(program(1.0)), begun(program(2.0))
    clocks = frozenset({"start"})
    assert digest_of({"g": first}) != digest_of({"g": second})
    assert digest_of({"g": first}, clocks) == digest_of({"g": second}, clocks)


@native
def test_the_digest_tells_where_it_stands(digest_of):
    def program():
        yield 1
        yield 1

    def same():
        while True:
            yield 1

    one, other = digest_of({"g": begun(program())}), digest_of({"g": begun(program(), 2)})
    assert one != other
    assert digest_of({"g": begun(same())}) == digest_of({"g": begun(same(), 2)})


# -- what is refused ------------------------------------------------------------------------------


def opaque(save, generator):
    saved = save({"g": generator})
    with pytest.raises(RestoreError, match=r"^g .*generator"):
        saved.restore({"g": generator})
    (path,) = saved.captured.opaque
    return path.partition(" ")[2]


@native
def test_one_that_waits_in_an_except_clause_is_opaque(save):
    def program():
        try:
            raise KeyError
        except KeyError:
            yield 1

    name = f"{program.__qualname__}"
    why = f"(the generator {name} waits while an exception is handled)"
    assert opaque(save, begun(program())) == why


def test_one_that_runs_is_opaque(save):
    def program():
        yield opaque(save, generator)

    generator = program()
    assert next(generator) == f"(the generator {program.__qualname__} is running)"


@native
def test_code_of_no_module_is_opaque(save):
    space = {"__name__": "nowhere"}
    exec("def program():\n    yield 1", space)
    why = "(the generator program has code that belongs to no module)"
    assert opaque(save, begun(space["program"]())) == why


@native
def test_a_stack_that_the_code_does_not_explain_is_opaque(save, monkeypatch):
    generator = begun(infinite([1]))
    found = yields_of(generator.gi_code)
    (at,) = found.by_offset.values()
    wrong = type(at)(at.offset, at.place, at.copy, (*at.slots, None), at.delegates)
    monkeypatch.setitem(found.by_offset, at.offset, wrong)
    why = "(the generator infinite has a value stack that its code does not account for)"
    assert save({"g": generator}).captured.opaque == [f"g {why}"]


SOURCE = """
def program(items):
    factor = 2.5
    for item in items:
        yield item
"""


@native
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("yield item", "yield item + 1.5"), "the code of the generator program is not"),
        (("for item", "\n    for item"), "the code of the generator program is not"),
        (("2.5", "3.5"), "the code of the generator program is not"),
        (("(items)", "(items, more=0)"), "the code of the generator program is not"),
    ],
)
def test_other_code_of_the_same_name_does_not_go_on(save, monkeypatch, change, reason):
    def module(source):
        made = type(sys)("changing_module")
        monkeypatch.setitem(sys.modules, "changing_module", made)
        exec(source, vars(made))
        return made

    saved = save({"g": begun(module(SOURCE).program([1, 2]))})
    other = module(SOURCE.replace(*change)).program([3, 4])
    gc.collect()
    with pytest.raises(RestoreError, match=reason):
        saved.restore({"g": other})
    assert next(other) >= 3
    assert next(saved.restore({"g": module(SOURCE).program([])})["g"]) == 2


@native
def test_one_that_iterates_over_what_is_left_out_is_left_out(save):
    async def nothing():
        yield 1

    def program(value):
        for i in range(3):
            yield i, value

    saved = save({"g": begun(program(nothing()))})
    live = begun(program(5), 2)
    left_out: list[str] = []
    assert saved.restore({"g": live}, left_out=left_out) == {}
    assert next(live) == (2, 5)
    assert any(path.startswith("g (") for path in left_out)


@native
def test_an_interpreter_that_lays_generators_out_otherwise_has_them_opaque(save, monkeypatch):
    def elsewhere(generator):
        read = _speedups.read_generator(generator)
        return read and (*read[:2], read[2] + 2, *read[3:])

    monkeypatch.setattr(generators, "read_generator", elsewhere)
    generators.readable.cache_clear()
    try:
        assert not generators.readable()
        assert "this interpreter does not lay it out" in opaque(save, begun(two()))
        assert list(save({"g": two()}).restore({"g": two()})["g"]) == [1, 2]
    finally:
        generators.readable.cache_clear()


def test_the_python_twin_leaves_them_opaque():
    program = """
        from flor_trace.state.capture import capture
        def two():
            yield 1
            yield 2
        first, second, third = two(), two(), two()
        next(first); list(third)
        graph = capture({"first": first, "second": second, "third": third})
        print(graph.opaque, [node.payload[0] for node in graph.nodes[1:]])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "FLOR_TRACE_NATIVE": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == (
        "['first (the generator two has begun: reading it needs the native extension)'] "
        "['not begun', 'ended']"
    )


# -- what it does not do --------------------------------------------------------------------------


class Probe:
    """Tells when it is gone."""


@native
def test_capturing_changes_nothing(save):
    def program(probe, items):
        cell = [probe]
        for item in items:
            yield (lambda: cell), item

    probe, items = Probe(), ["x", "y"]
    generator = begun(program(probe, items))
    counts = [sys.getrefcount(each) for each in (probe, items, generator, *items)]
    before = _speedups.read_generator(generator)
    for _ in range(3):
        save({"g": generator})
    after = _speedups.read_generator(generator)
    assert list(map(id, before[3] + before[4])) == list(map(id, after[3] + after[4]))
    del before, after
    gc.collect()
    assert [sys.getrefcount(each) for each in (probe, items, generator, *items)] == counts
    gone = weakref.ref(probe)
    del probe
    generator.close()
    assert gone() is None


@native
def test_restoring_again_and_again_keeps_nothing(save):
    items, probe = [object(), object()], Probe()

    def program(items, probe):
        for _ in items:
            while True:
                yield probe

    live = begun(program(items, probe))
    saved = save({"g": live, "items": items, "probe": probe})

    def counts():
        gc.collect()
        return [sys.getrefcount(each) for each in (items, probe, live)], len(gc.get_objects())

    def repeat(times):
        for _ in range(times):
            saved.restore({"g": live, "items": items, "probe": probe})
            saved.restore({"items": items, "probe": probe})

    repeat(3)
    held, objects = counts()
    repeat(50)
    again, more = counts()
    assert again == held
    assert more - objects < 20


@native
def test_what_a_live_one_held_is_let_go_when_it_is_written_over(save):
    def program(probe):
        yield 1
        yield probe

    old = Probe()
    gone = weakref.ref(old)
    live = begun(program(old))
    del old
    made = save({"g": begun(program(None))}).restore({"g": live})["g"]
    assert gone() is None
    assert next(made) is None
