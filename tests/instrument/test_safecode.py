from __future__ import annotations

import dis
import faulthandler
from types import CodeType, FunctionType

import pytest
from bytecode import Bytecode

from flor_trace.instrument.safecode import Parts
from flor_trace.state.instructions import exception_table


def again(function):
    """Return the function with its code taken apart and put together."""
    parts = Parts(function.__code__)
    code = parts.put_together(parts.items)
    return FunctionType(code, function.__globals__, closure=function.__closure__)


def raises_inside_a_handler():
    count = 0
    for _ in range(5):
        try:
            try:
                raise ValueError
            except ValueError:
                raise KeyError from None
        except KeyError:
            count += 1
    return count


def table(code):
    return [(h.depth, h.lasti) for h in exception_table(code)]


def test_handler_depths_are_kept_where_the_defaults_of_bytecode_crash():
    code = raises_inside_a_handler.__code__
    faulthandler.enable()
    # Run the default's result and the interpreter dies; its depths show why.
    assert table(Bytecode.from_code(code).to_code()) != table(code)
    assert table(again(raises_inside_a_handler).__code__) == table(code)
    assert again(raises_inside_a_handler)() == 5


WIDE = (
    "def f():\n    a = (1,\n"
    + " " * 8
    + '"'
    + "x" * 130
    + '" + str(2),\n         3)\n    b = 1\n    c = 2\n    1 / 0\n'
)


def failing_line(function):
    with pytest.raises(ZeroDivisionError) as caught:
        function()
    return caught.value.__traceback__.tb_next.tb_lineno


def test_columns_from_128_on_do_not_shift_later_lines():
    names = {}
    exec(compile(WIDE, "<wide>", "exec"), names)
    code = names["f"].__code__
    by_default = Bytecode.from_code(code, conserve_exception_block_stackdepth=True).to_code(
        stacksize=code.co_stacksize, compute_exception_stack_depths=False
    )
    assert failing_line(FunctionType(by_default, names)) != 7
    assert failing_line(again(names["f"])) == failing_line(names["f"]) == 7
    assert list(again(names["f"]).__code__.co_positions()) == list(code.co_positions())


def lines(code):
    """Return the line of every instruction; the table may be cut into pieces at other places."""
    return [line for begin, end, line in code.co_lines() for _ in range(begin, end, 2)]


@pytest.mark.parametrize("width", [60, 70, 120, 127, 128, 129, 200, 255, 256, 300])
def test_positions_survive_at_every_column_width(width):
    source = f"def f():\n    g({'x' * width!r},\n      {'y' * width!r}, h(1), {'z' * 20!r}, i())\n"
    code = next(k for k in compile(source, "<w>", "exec").co_consts if isinstance(k, CodeType))
    parts = Parts(code)
    made = parts.put_together(parts.items)
    assert list(made.co_positions()) == list(code.co_positions())
    assert lines(made) == lines(code)


def keeps_its_names(flag):
    if flag:
        try:
            first = 1
        except ValueError:
            second = 2
        third = 3
    fourth = 4
    return list(locals()), first, third, fourth


def test_local_names_keep_their_order():
    assert again(keeps_its_names)(1) == keeps_its_names(1)
    assert again(keeps_its_names).__code__.co_varnames == keeps_its_names.__code__.co_varnames


def documented():
    """Say something."""
    return "other", None


def undocumented():
    return "first constant", 1


@pytest.mark.parametrize("function", [documented, undocumented])
def test_constants_and_docstrings_are_kept(function):
    made = again(function)
    assert made.__code__.co_consts == function.__code__.co_consts
    assert made.__doc__ == function.__doc__
    assert [i.argval for i in dis.get_instructions(made)] == [
        i.argval for i in dis.get_instructions(function)
    ]


def test_unwanted_constants_are_dropped_and_nested_code_is_exchanged():
    def outer():
        def inner():
            return 1

        return inner, "keep"

    parts = Parts(outer.__code__)
    inner = next(k for k in outer.__code__.co_consts if isinstance(k, CodeType))
    other = inner.replace(co_name="other")
    items = [i for i in parts.items if getattr(i, "arg", None) is not inner]
    made = parts.put_together(items, keep=lambda k: k != "gone", swap={id(inner): other})
    assert other in made.co_consts
    assert inner not in made.co_consts
