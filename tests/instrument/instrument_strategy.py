"""Random programs made of loops and of everything that leaves them."""

from __future__ import annotations

from hypothesis import strategies as st

SIMPLE = st.sampled_from(
    [
        "out.append(n)",
        "n += 1",
        "pass",
        "n += len(out) % 3",
        "x = [y for y in range(2)]",
        "out.append(sum(z for z in (1, n)))",
    ]
)
#: Conditions; `tick()` ends every program.
CONDITIONS = st.sampled_from(
    ["n % 2", "n < 5", "tick() and n < 9", "len(out) < 7", "True", "n and\n n < 4"]
)


def indented(lines):
    return [f"    {line}" for line in lines]


@st.composite
def blocks(draw, depth, in_loop, in_generator):
    """Lines of one block; `in_loop` allows break and continue."""
    lines = []
    for _ in range(draw(st.integers(1, 3))):
        lines += draw(statements(depth, in_loop, in_generator))
    return lines


@st.composite
def statements(draw, depth, in_loop, in_generator):
    leaves = ["simple", "return", "raise"] + (["break", "continue"] if in_loop else [])
    leaves += ["yield"] if in_generator else []
    compound = ["for", "while", "if", "try", "finally", "with"] if depth else []
    kind = draw(st.sampled_from(["simple", *leaves, *compound, *compound]))
    if kind in leaves:
        return [draw(_leaf(kind))]
    body = draw(blocks(depth - 1, in_loop or kind in ("for", "while"), in_generator))
    return draw(_compound(kind, body, depth, in_loop, in_generator))


def _leaf(kind):
    if kind == "simple":
        return SIMPLE
    if kind == "return":
        return st.sampled_from(["if n > 6: return n", "if n == 3: return"])
    if kind == "raise":
        return st.just("if n == 4: raise KeyError(n)")
    if kind == "yield":
        return st.just("n += (yield n) or 0")
    return st.sampled_from([kind, f"if n % 3 == 1: {kind}"])


@st.composite
def _compound(draw, kind, body, depth, in_loop, in_generator):
    other = draw(blocks(depth - 1, False, in_generator))
    has_else = draw(st.booleans())
    if kind == "for":
        head = draw(st.sampled_from(["for i in range(3):", "for i, n in enumerate([n, n]):"]))
        lines = [head, "    tick()", *indented(body)]
    elif kind == "while":
        condition = draw(CONDITIONS).replace("\n", "\n" + " " * 40)
        lines = [f"while ({condition}):", "    tick()", *indented(body)]
    elif kind == "if":
        lines = [f"if n % {draw(st.integers(2, 4))}:", *indented(body)]
    elif kind == "with":
        return ["with suppress(LookupError):", *indented(body)]
    elif kind == "try":
        handler = draw(blocks(depth - 1, in_loop, in_generator))
        return ["try:", *indented(body), "except KeyError as e:", *indented(handler)]
    else:
        # The compiler of 3.11 gives the end of a ``finally`` the line it happened to be on.
        last = draw(blocks(0, False, in_generator))
        return ["try:", *indented(body), "finally:", *indented(last)]
    return [*lines, "else:", *indented(other)] if has_else else lines


@st.composite
def programs(draw):
    """Source text of a program that ends and binds ``out``."""
    generator = draw(st.booleans())
    body = draw(blocks(3, False, generator))
    call = "list(f(0))" if generator else "f(0)"
    lines = [
        "from contextlib import suppress",
        "out = []",
        "left = [60]",
        "def tick():",
        "    left[0] -= 1",
        "    if left[0] <= 0: raise OverflowError",
        "    return True",
        "def f(n):",
        "    tick()",
        *indented(body),
        *(["    yield n"] if generator else []),
        "try:",
        f"    out.append({call})",
        "except (KeyError, OverflowError, UnboundLocalError) as error:",
        "    out.append(repr(error))",
        "error = None",
        "out = out[:50]",
    ]
    return "\n".join(lines) + "\n"
