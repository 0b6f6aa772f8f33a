"""Functions keep the live code; what they close over, and what classes hold, is state."""

from __future__ import annotations

import functools

import pytest

from flor_trace.errors import RestoreError


def ours(filename):
    return filename == __file__


class Counted:
    total = 0
    seen: list = []  # noqa: RUF012 - shared state is what the test is about

    @classmethod
    def count(cls):
        cls.total += 1
        cls.seen.append(cls.total)


def counter(start):
    count = start

    def step():
        nonlocal count
        count += 1
        return count

    def peek():
        return count

    return step, peek


def remember(value, memory=[]):  # noqa: B006 - shared state is what the test is about
    memory.append(value)
    return list(memory)


@pytest.fixture(autouse=True)
def clean():
    yield
    Counted.total, Counted.seen = 0, []
    remember.__defaults__[0].clear()


def test_closures_share_their_restored_variable(save):
    step, peek = counter(0)
    step()
    saved = save({"f": [step, peek]}, is_project_file=ours)
    live = list(counter(50))
    functions = list(live)
    saved.restore({"f": live})
    assert [one is other for one, other in zip(live, functions, strict=True)] == [True, True]
    assert (live[0](), live[1]()) == (2, 2)


def test_a_closure_made_while_the_program_ran_is_made_again(save):
    step, peek = counter(0)
    step()
    saved = save({"f": [step, peek]}, is_project_file=ours)
    made = saved.restore({"f": []})["f"]
    assert (made[0](), made[1](), made[0].__qualname__) == (2, 2, step.__qualname__)


def test_lambdas_are_matched_by_their_line(save):
    def make(first):
        scale = first
        return [lambda x: x * scale, lambda x: x + scale]

    saved = save({"f": make(2)}, is_project_file=ours)
    live = make(7)
    saved.restore({"f": live})
    assert [function(3) for function in live] == [6, 5]


def test_mutable_defaults_and_attributes_are_state(save):
    remember(1)
    remember.calls = 1
    saved = save({"f": remember}, is_project_file=ours)
    remember(2)
    remember.calls = 2
    saved.restore({"f": remember})
    assert remember.calls == 1
    assert remember(3) == [1, 3]
    del remember.calls


def test_functions_of_libraries_are_only_named(save):
    saved = save({"f": functools.reduce, "g": pytest.raises})
    assert [len(node.children) for node in saved.graph.nodes] == [0, 0]


def test_a_function_replaced_during_the_run_is_found_by_name(save):
    saved = save({"f": {"loss": remember}})
    live = {"loss": counter}
    saved.restore({"f": live})
    assert live["loss"] is remember


def test_bound_methods_are_bound_to_the_restored_object(save):
    class Trainer:
        def __init__(self):
            self.hooks = [self.step]
            self.n = 0

        def step(self):
            self.n += 1

    recorded, live = Trainer(), Trainer()
    recorded.step()
    hook = live.hooks[0]
    save({"t": recorded}).restore({"t": live})
    assert live.hooks[0] is hook
    live.hooks[0]()
    assert live.n == 2


def test_partials_and_wrapped_functions_come_back(save, digest_of):
    memory: list = []
    partial = functools.partial(remember, memory=memory)
    saved = save({"m": memory, "p": partial})
    made = saved.restore({})
    made["p"](5)
    assert made["m"] == [5]


def test_attributes_of_the_projects_classes_are_state(save):
    Counted.count()
    saved = save({"c": Counted()}, is_project_file=ours)
    seen = Counted.seen
    Counted.count()
    saved.restore({"c": Counted()})
    assert Counted.total == 1
    assert Counted.seen is seen
    assert seen == [1]


def test_a_class_attribute_counts_towards_the_digest_of_its_instances(save):
    before = save({"c": Counted()}, is_project_file=ours).digests
    Counted.count()
    assert save({"c": Counted()}, is_project_file=ours).digests != before


def logged(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


@logged
def decorated(value):
    return value


def test_a_function_below_a_decorator_is_told_from_the_one_above(save):
    saved = save({"f": [decorated, decorated.__wrapped__]})
    made = saved.restore({})["f"]
    assert made[0] is decorated
    assert made[1] is decorated.__wrapped__


def test_a_function_that_is_gone_is_named(save):
    space = {"__name__": __name__}
    exec("def gone(): return 1", space)
    saved = save({"f": {"x": space["gone"]}})
    with pytest.raises(RestoreError, match=r"f\['x'\].*was made while the program ran"):
        saved.restore({"f": {}})
