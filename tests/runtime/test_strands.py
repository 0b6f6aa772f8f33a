# ruff: noqa: B007, UP028 - loops as a program has them
from __future__ import annotations

import threading

import pytest
from runtime_helpers import Observer, site

from flor_trace._speedups import set_handler
from flor_trace.runtime import nest as nest_module
from flor_trace.runtime.guard import Guard
from flor_trace.runtime.nest import Nest
from flor_trace.runtime.strands import Strands


def stop():
    set_handler(None, None)


class Strand:
    def __init__(self):
        self.main = Observer()
        self.others = {}
        self.failures = []
        guard = Guard(lambda what, error: self.failures.append(str(error)))
        self.strands = Strands(
            Nest(self.main, probing=False), self.other, guard, before=int, stop=stop
        )
        self.strands.start()

    def other(self, name):
        self.others[name] = Observer()
        return Nest(self.others[name], probing=False)


@pytest.fixture
def hear(monkeypatch):
    monkeypatch.delenv("FLOR_TRACE_STRICT", raising=False)
    yield Strand
    set_handler(None, None)


def in_thread(action, name):
    thread = threading.Thread(target=action, name=name)
    thread.start()
    thread.join()


def test_each_thread_has_a_nest_of_its_own(hear):
    heard = hear()
    outer, inner = site("epoch"), site("item", line=2)

    def produce():
        for item in inner["ab"]:
            pass

    for epoch in outer[range(2)]:
        in_thread(produce, "worker")

    assert heard.main.all("over") == [("epoch", (0,), (0,)), ("epoch", (1,), (1,))]
    assert set(heard.others) == {"worker", "worker #2"}
    for seen in heard.others.values():
        assert seen.all("entered") == [("item", 0, ())]
        assert seen.all("over") == [("item", (0,), ("a",)), ("item", (1,), ("b",))]


def test_a_generator_that_another_thread_takes_over_is_not_told_there(hear):
    heard = hear()
    loop = site("item")

    def items():
        for item in loop[range(5)]:
            yield item

    generator = items()
    next(generator)
    in_thread(lambda: next(generator), "taker")
    next(generator)
    generator.close()

    assert [path for _, path, _ in heard.main.all("over")][-1] in {(1,), (2,)}
    assert heard.others["taker"].events == []


def test_threads_that_run_loops_at_once_do_not_mix(hear):
    heard = hear()
    loop = site("i", stores=("x",))
    barrier = threading.Barrier(4, timeout=20)

    def program(base):
        barrier.wait()
        for i in loop[range(base, base + 300)]:
            x = i * 2  # noqa: F841

    threads = [threading.Thread(target=program, args=(1000 * k,), name=f"t{k}") for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for k in range(4):
        rows = heard.others[f"t{k}"].all("over")
        assert rows == [("i", (j,), (1000 * k + j, 2 * (1000 * k + j))) for j in range(300)]


def test_no_thread_is_listed_that_the_program_has_not_started(hear):
    hear()
    loop, done = site("i"), threading.Event()

    def program():
        for i in loop[range(2)]:
            pass
        names.append([thread.name for thread in threading.enumerate()])
        done.set()

    names = []
    import _thread

    _thread.start_new_thread(program, ())
    assert done.wait(20)
    assert not any("Dummy" in name for name in names[0])


def test_the_first_failure_ends_the_reporting_on_all_threads(hear, monkeypatch, capsys):
    heard = hear()
    loop = site("i")
    monkeypatch.setattr(nest_module, "running", int)  # which gives nothing to go through
    for i in loop[range(3)]:
        pass

    def program():
        for i in loop[range(3)]:
            pass

    in_thread(program, "later")
    assert heard.failures == ["'int' object is not iterable"]
    assert heard.others == {}
    assert capsys.readouterr().err.count("\n") == 1
