from __future__ import annotations

import sys
from collections import UserDict

import pytest

from flor_trace import _pure

FOR = 0


class Look(list):
    """What a loop shows at each boundary, by a function of it."""

    def __init__(self, twin, look):
        super().__init__()
        self.site = twin.Site(None, FOR)
        twin.set_handler(lambda li: self.append(look(li)), lambda li, how: None)


def run(source, namespace, filename="<module of the test>"):
    exec(compile(source, filename, "exec"), namespace)
    return namespace


# -- variables of a loop's frame ---------------------------------------------------------------


def test_lookup_gives_values_and_unbound(twin):
    look = Look(twin, lambda li: li.lookup(("x", "later", "nowhere", "i")))
    U = twin.UNBOUND

    def program(x):
        for i in look.site[range(2)]:
            x += 1
            later = x + i
            del i
        return later

    program(1)

    assert look == [(1, U, U, U), (2, 2, U, U), (3, 4, U, U)]


def test_lookup_finds_names_that_are_not_interned(twin):
    names = ("".join(["la", "st one"]).replace(" ", "_"), "".join(["mis", "sing one"]))
    look = Look(twin, lambda li: li.lookup(names))

    def program():
        last_one = 5
        for _ in look.site[()]:
            pass
        return last_one

    program()

    assert look == [(5, twin.UNBOUND)]


def test_cells_are_read_through(twin):
    look = Look(twin, lambda li: (li.lookup(("own", "outer", "empty")), sorted(li.locals())))

    def program():
        outer = 1

        def inner():
            own = 2
            for _ in look.site[()]:
                empty = 3
            return lambda: (own, outer, empty)

        inner()
        outer = 4
        return inner()

    program()

    names = ["look", "outer", "own"]
    assert look == [((2, 1, twin.UNBOUND), names), ((2, 4, twin.UNBOUND), names)]


def test_locals_is_a_fresh_dict(twin):
    look = Look(twin, lambda li: li.locals())

    def program():
        x = 1
        for _ in look.site["a"]:
            look[0]["x"] = 9
        return x

    assert program() == 1
    assert look == [{"look": look, "x": 9}, {"look": look, "x": 1, "_": "a"}]


def test_reading_does_not_disturb_what_the_program_holds(native):
    look = Look(native, lambda li: (li.locals(), li.lookup(("x",)), native.frames({__file__})))

    def program():
        x = 1
        held = locals()
        for _ in look.site[()]:
            pass
        x = 2
        for _ in look.site[()]:
            pass
        return x, held

    assert program()[1] == {"x": 1, "look": look}


def test_a_module_is_read_from_its_namespace(twin):
    look = Look(twin, lambda li: (li.lookup(("i", "x", "nothing")), li.locals(), li.globals()))
    namespace = run("x = 1\nfor i in site['a']:\n    x = 2\n", {"site": look.site})

    (before, held, globals_), (after, _, _) = look
    assert before == (twin.UNBOUND, 1, twin.UNBOUND)
    assert after == ("a", 2, twin.UNBOUND)
    assert globals_ is namespace
    assert held is not namespace
    assert held["x"] == 1


def test_a_class_body_is_read_from_its_namespace(twin):
    look = Look(twin, lambda li: (li.lookup(("x", "i", "outer")), li.locals()["x"]))
    outer = 3

    class Body:
        x = outer
        for i in look.site["a"]:
            x += len(i)

    assert look == [((3, twin.UNBOUND, twin.UNBOUND), 3), ((4, "a", twin.UNBOUND), 4)]


def test_a_namespace_that_would_run_code_is_not_read(twin):
    class Namespace(UserDict):
        def __getitem__(self, name):
            if name == "x":
                raise AssertionError
            return super().__getitem__(name)

    look = Look(twin, lambda li: (li.lookup(("x", "i")), li.locals()))
    code = compile("for i in site['a']: x = 1", "<mapping>", "exec")
    exec(code, {}, Namespace(site=look.site))

    assert look == [((twin.UNBOUND, twin.UNBOUND), {})] * 2


def test_code_and_globals_are_those_of_the_loop(twin):
    look = Look(twin, lambda li: (li.code(), li.globals()))

    def program():
        for _ in look.site[()]:
            pass

    program()

    ((code, globals_),) = look
    assert code is program.__code__
    assert globals_ is globals()


def test_a_suspended_loop_shows_nothing(twin):
    look = Look(twin, lambda li: li)

    def numbers():
        for item in look.site[range(3)]:
            yield item + 1

    generator = numbers()
    next(generator)
    (loop,) = look

    assert (loop.locals(), loop.globals(), loop.code()) == (None, None, None)
    assert loop.lookup(("item", "look")) == (twin.UNBOUND,) * 2


def test_lookup_wants_a_tuple_of_names(twin):
    def boundary(li):
        for wrong in [["x"], "x", ("x", 1)]:
            with pytest.raises(TypeError, match="needs a tuple of str"):
                li.lookup(wrong)
        seen.append(li.lookup(()))

    seen = []
    twin.set_handler(boundary, lambda li, how: None)
    for _ in twin.Site(None, FOR)[()]:
        pass

    assert seen == [()]


def test_values_at_an_exit_are_those_of_the_last_iteration(twin):
    seen = []
    twin.set_handler(lambda li: None, lambda li, how: seen.append((how, li.lookup(("x",)))))

    def program(stop):
        for x in twin.Site(None, FOR)[range(3)]:
            if x == stop:
                break
            if x + stop == 0:
                raise KeyError

    program(1)
    program(5)
    with pytest.raises(KeyError):
        program(-2)
    with pytest.raises(KeyError):
        program(-0.0 - 1)

    assert seen == [("left", (1,)), ("exhausted", (2,)), ("raised", (2,)), ("raised", (1,))]


# -- running loops -----------------------------------------------------------------------------


def test_running_loops_are_given_from_the_outermost_inwards(twin):
    look = Look(twin, lambda li: [loop.tag for loop in twin.running()])
    site = look.site

    def tagged(name):
        (loop,) = twin.running()[-1:]
        loop.tag = name

    def inner():
        for _ in site[range(1)]:
            tagged("d")
            for _ in site[range(1)]:
                tagged("e")

    def program():
        for _ in site[range(1)]:
            tagged("a")
            for _ in site[range(1)]:
                tagged("b")
                inner()

    program()

    assert look == [
        [None],
        ["a", None],
        ["a", "b", None],
        ["a", "b", "d", None],
        ["a", "b", "d", "e"],
        ["a", "b", "d"],
        ["a", "b"],
        ["a"],
    ]
    assert twin.running() == []


def test_recursive_loops_are_told_apart(twin):
    depths = []
    twin.set_handler(lambda li: depths.append(len(twin.running())), lambda li, how: None)
    site = twin.Site(None, FOR)

    def descend(depth):
        for _ in site[range(1)]:
            if depth:
                descend(depth - 1)

    descend(3)

    assert depths == [1, 2, 3, 4, 4, 3, 2, 1]
    assert site.entries == 4


def test_loops_of_suspended_generators_are_not_running(twin):
    look = Look(twin, lambda li: [loop.tag for loop in twin.running()])
    site = look.site

    def numbers(name):
        for item in site[range(9)]:
            twin.running()[-1].tag = name
            yield item

    first, second = numbers("first"), numbers("second")
    next(first), next(second)
    for _ in site[range(1)]:
        twin.running()[0].tag = "main"
        next(first)
        assert [loop.tag for loop in twin.running()] == ["main"]
        next(second)

    assert look == [[None], [None], [None], ["main", "first"], ["main", "second"], ["main"]]
    first.close()
    second.close()
    assert (site.entries, twin.running()) == (3, [])


def test_a_coroutine_is_running_only_while_it_runs(twin):
    look = Look(twin, lambda li: len(twin.running()))

    class Pause:
        def __await__(self):
            yield

    async def job():
        for _ in look.site[range(2)]:
            await Pause()

    jobs = [job(), job()]
    for each in jobs:
        each.send(None)
    assert twin.running() == []
    for each in jobs:
        each.send(None)
        each.close()

    assert look == [1, 1, 1, 1]


# -- frames ------------------------------------------------------------------------------------


def test_frames_gives_the_named_files_from_the_innermost_outwards(twin):
    source = "def f(x):\n    y = x + 1\n    return look()\nz = f(1)\n"
    other = "result = list(map(f, [5]))\n"
    seen = []

    def look():
        seen.append(twin.frames({"<one>", "<two>"}))

    one = run(source, {"look": look}, "<one>")
    two = run(other, {"f": one["f"]}, "<two>")

    (inner, module), (called, caller) = seen
    assert [row[0].co_name for row in (inner, module)] == ["f", "<module>"]
    assert inner[1] is one
    assert inner[2] == {"x": 1, "y": 2}
    assert module[2]["f"] is one["f"]
    assert module[2] is not one
    assert called[2] == {"x": 5, "y": 6}
    assert caller[1] is two
    assert twin.frames(frozenset()) == []


def test_frames_gives_the_cells(native):
    def outer(argument):
        free = 1

        def inner():
            own = free + argument
            (row, around) = native.frames({__file__})[:2]
            return row, around, (lambda: own), (lambda: unset)

        row, around, get_own, get_unset = inner()
        unset = 2
        return row, around, get_own, get_unset, inner

    row, around, get_own, get_unset, inner = outer(5)

    assert set(row[3]) == {"own", "free", "argument", "unset", "native"}
    assert row[3]["own"] is get_own.__closure__[0]
    assert row[3]["free"] is inner.__closure__[inner.__code__.co_freevars.index("free")]
    assert row[2]["own"] == 6
    assert "unset" not in row[2]
    assert row[3]["unset"] is get_unset.__closure__[0] is around[3]["unset"]


def test_frames_sees_through_calls_from_c(twin):
    class Key:
        def __init__(self, value):
            self.value = value

        def __lt__(self, other):
            seen.append([row[0].co_name for row in twin.frames({__file__})][:2])
            return self.value < other.value

    seen = []
    sorted([Key(2), Key(1)])

    assert seen == [["__lt__", "test_frames_sees_through_calls_from_c"]]


def test_frames_wants_a_set(twin):
    with pytest.raises(TypeError, match="needs a set or frozenset of file names, not list"):
        twin.frames([__file__])


def test_a_variable_of_a_comprehension_is_not_one_of_its_module(native):
    source = "rows = [look() for hidden in [1]]\n"
    seen = []
    run(source, {"look": lambda: seen.append(native.frames({"<c>"}))}, "<c>")

    assert all("hidden" not in row[2] for row in seen[0][-1:])


def test_the_variables_are_those_that_python_shows(twin):
    """Every kind of variable, against ``sys._getframe().f_locals``."""

    def program(a, /, b, *c, d=4, **e):
        f = [a + 1 for a in [b]]
        (g, h), *i = (1, 2), 3
        with pytest.raises(ZeroDivisionError):
            1 / 0  # noqa: B018
        del g
        shown = dict(sys._getframe().f_locals)
        return shown, twin.frames({__file__})[0][2], (a, f, h, i, c, d, e)

    shown, given, _ = program(1, 2, 3, x=5)

    given.pop("shown")
    assert given == shown
    assert list(given) == list(shown) or twin is _pure
