"""Programs from a grammar over statements, each choice of which is a byte of some given bytes.

Zeros choose what is simplest, so that hypothesis, which shrinks bytes towards zeros, shrinks
programs.  Every program ends: each pass of a loop calls ``tick()``, which raises in the end.
"""

from __future__ import annotations

#: What programs use; it is run in their namespace before them.
HELPERS = """\
from contextlib import suppress
from traceback import walk_tb
left = [90]
shared = 0
def tick(value=True):
    left[0] -= 1
    if left[0] <= 0:
        raise OverflowError
    return value
def show(error):
    trace = [(frame.f_code, line) for frame, line in walk_tb(error.__traceback__)]
    places = [(code.co_name, line) for code, line in trace if code.co_filename[0] == '<']
    print(type(error).__name__, error, places, type(error.__context__).__name__)
class Turn:
    def __init__(self, swallow):
        self.swallow = swallow
    def __enter__(self):
        return self
    def __exit__(self, kind, error, trace):
        return self.swallow and kind is KeyError
    async def __aenter__(self):
        await Pause()
        return self
    async def __aexit__(self, kind, error, trace):
        await Pause()
        return self.swallow and kind is KeyError
class Pause:
    def __await__(self):
        yield 'pause'
class Count:
    def __init__(self, n):
        self.n = n
    def __aiter__(self):
        return self
    async def __anext__(self):
        if self.n <= 0:
            raise StopAsyncIteration
        self.n -= 1
        await Pause()
        return self.n
class Odd:
    def __init__(self, n):
        self.n = n
    def __iter__(self):
        return self
    def __next__(self):
        self.n -= 1
        if self.n < 0:
            raise StopIteration
        if self.n == 2:
            raise KeyError('odd')
        return self.n
"""

_SUB = """\
def sub(n):
    for k in range(n % 3):
        yield k
def sub_list(n):
    r = []
    while n > 0:
        n -= 2
        r.append(n)
    return r
def drive(coroutine):
    while True:
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
"""

_SIMPLE = (
    "n += 1",
    "print(n)",
    "pass",
    "x = [y for y in range(n % 3)]",
    "z = sum(y for y in (1, n)); n += z % 2",
    "print(*[a + b for a in 'xy' for b in 'z'], end=' ')",
    "n = (w := n + 1) % 7",
    "x = {y: (lambda: y)() for y in 'ab'}; print(len(x))",
    "a, *b = n, 2, 3; print(b)",
    "assert n < 8, n",
)
_FOR_HEADS = (
    "for i in range(3):",
    "for i in [1, 2]:",
    "for i in {3}:",
    "for i, (n, *_) in enumerate([(n, 1), (2,)]):",
    "for i in (x for x in range(2)):",
    "for o[0] in 'ab':",
    "for i in Odd(n % 5):",
    "for i in (tick(), n):",
    "for i in (n,\n   n + 1):",
    "for i in sub(n):",
)
_TESTS = (
    "n < 4",
    "True",
    "n % 3",
    "tick() and n < 9",
    "n and\n n < 4",
    "(w := n % 4)",
    "not (n > 5 or n == 3)",
    "1",
    "[y for y in range(n % 3)]",
    "n < 6 if n % 2 else n < 3",
    "any(y for y in (0, n < 5))",
)
_LEAVING = ("if n % 3 == 1: {}", "{}", "if n > 2:\n    {}", "if not n % 2: {}")


class _Scope:
    """What may stand in the body of one code object."""

    def __init__(self, kind):
        self.kind = kind
        self.returns = kind in ("function", "generator", "coroutine", "asyncgen")
        self.yields = kind in ("generator", "asyncgen")
        self.awaits = kind in ("coroutine", "asyncgen")


class Writer:
    """Turns bytes into the source text of one program."""

    def __init__(self, data):
        self.data = data
        self.at = 0
        self.names = 0

    def pick(self, count):
        value = self.data[self.at] if self.at < len(self.data) else 0
        self.at += 1
        return value % count

    def one(self, choices):
        return choices[self.pick(len(choices))]

    # -- statements ------------------------------------------------------------------------------

    def block(self, depth, scope, loop):
        lines = []
        for _ in range(1 + self.pick(3)):
            lines += self.statement(depth, scope, loop)
        return lines

    def statement(self, depth, scope, loop):
        kinds = [self.simple, self.leave]
        if depth and self.at < len(self.data):
            kinds += [self.for_, self.while_, self.while_, self.for_]
            kinds += [self.if_, self.try_, self.finally_, self.with_, self.match]
            kinds += [self.nested] if depth > 1 else []
            kinds += [self.asynchronous] if scope.awaits else []
        return self.one(kinds)(depth, scope, loop)

    def simple(self, depth, scope, loop):
        return [self.one(_SIMPLE)]

    def leave(self, depth, scope, loop):
        ways = ["raise KeyError(n)", "n += 1"]
        ways += ["break", "continue", "break", "continue"] if loop else []
        if scope.returns:
            ways += ["return", "return"] if scope.kind == "asyncgen" else ["return n", "return"]
        ways += ["n += (yield n) or 0", "yield"] if scope.yields else []
        ways += ["yield from sub(n)"] if scope.kind == "generator" else []
        ways += ["await Pause()"] if scope.awaits else []
        ways += ["del i", "n += len(sub_list(n % 9))"]
        return self.one(_LEAVING).format(self.one(ways)).split("\n")

    def for_(self, depth, scope, loop):
        head = self.one(_FOR_HEADS)
        return self.with_else([head.replace("\n", "\n" + " " * 60)], depth, scope, loop)

    def while_(self, depth, scope, loop):
        test = self.one(_TESTS)
        if scope.yields and not self.pick(4) and scope.kind == "generator":
            test = "(yield n) or n < 5"
        if "\n" in test:
            test = "(" + test.replace("\n", "\n" + " " * 60) + ")"
        return self.with_else([f"while {test}:"], depth, scope, loop)

    def with_else(self, head, depth, scope, loop):
        body = ["tick()", *self.block(depth - 1, scope, True)]
        if self.pick(3) == 1:
            body = ["n += 1", *body]
        lines = [*head, *indented(body)]
        if self.pick(3) == 1:
            # What would leave a loop around it is a form of its own, which is left alone.
            lines += ["else:", *indented(self.block(depth - 1, scope, False))]
        return lines

    def if_(self, depth, scope, loop):
        lines = [f"if n % {2 + self.pick(3)}:", *indented(self.block(depth - 1, scope, loop))]
        if self.pick(2):
            lines += ["else:", *indented(self.block(depth - 1, scope, loop))]
        return lines

    def try_(self, depth, scope, loop):
        body = indented(self.block(depth - 1, scope, loop))
        handler = self.one(
            ("except KeyError as e:", "except (KeyError, TypeError):", "except KeyError:")
        )
        lines = ["try:", *body, handler, *indented(self.block(depth - 1, scope, loop))]
        if self.pick(3) == 1:
            lines += ["else:", *indented(self.block(0, scope, loop))]
        if self.pick(3) == 1:
            lines += ["finally:", *indented(self.final(depth, scope, loop))]
        return lines

    def finally_(self, depth, scope, loop):
        body = indented(self.block(depth - 1, scope, loop))
        return ["try:", *body, "finally:", *indented(self.final(depth, scope, loop))]

    def final(self, depth, scope, loop):
        """A ``continue`` in there could keep a loop going for ever."""
        if loop and self.pick(6) == 5:
            return ["n += 1", "if n % 4 == 3: break"]
        if scope.returns and self.pick(8) == 7:
            return ["if n % 4 == 3: return"]
        return self.block(min(depth - 1, 1), _Scope("class"), False)

    def with_(self, depth, scope, loop):
        head = self.one(
            ("with Turn(1):", "with Turn(0) as t:", "with suppress(KeyError), Turn(0):")
        )
        return [head, *indented(self.block(depth - 1, scope, loop))]

    def match(self, depth, scope, loop):
        first = indented(indented(self.block(depth - 1, scope, loop)))
        other = indented(indented(self.block(depth - 1, scope, loop)))
        return [
            *("match (n % 3, n):", "    case (0, _):", *first),
            *("    case (1, m) if m < 5:", "        n = m + 1"),
            *("    case _:", *other),
        ]

    def asynchronous(self, depth, scope, loop):
        if self.pick(2):
            head = self.one(("async with Turn(1):", "async with Turn(0) as t:"))
            return [head, *indented(self.block(depth - 1, scope, loop))]
        return self.with_else(["async for i in Count(n % 4):"], depth, scope, loop)

    def nested(self, depth, scope, loop):
        self.names += 1
        name = f"inner{self.names}"
        if self.pick(4) == 3:
            body = ["n = 0", *self.block(depth - 1, _Scope("class"), False)]
            return [f"class {name.title()}:", *indented(body)]
        lines = [f"def {name}(n):", *indented(self.opening("function"))]
        lines += indented(self.block(depth - 1, _Scope("function"), False))
        return [*lines, f"print({name}(n % 5))"]

    # -- definitions -----------------------------------------------------------------------------

    def opening(self, kind):
        lines = ["tick()", "o = [0]", "i = x = w = 0"]
        declared = self.pick(6)
        if declared == 5:
            return ["global shared", *lines, "shared += 1"]
        return lines

    def definition(self, kind):
        name = f"f_{kind}"
        scope = _Scope(kind)
        lines = self.opening(kind)
        lines += self.block(3, scope, False)
        if kind in ("generator", "asyncgen"):
            lines += ["yield n"]
        if kind == "function" and self.pick(3) == 2:
            lines += ["if n < 2: print(f_function(n + 1))"]
        head = "async def" if scope.awaits else "def"
        return [f"{head} {name}(n):", *indented(lines)]

    def program(self):
        kinds = ("function", "generator", "coroutine", "class", "module", "closure", "asyncgen")
        kind = self.one(kinds)
        lines = getattr(self, f"program_{kind}")()
        return _SUB + "\n".join(lines) + "\n"

    def program_function(self):
        return [*self.definition("function"), *caught(["print(f_function(0))"])]

    def program_generator(self):
        lines = self.definition("generator")
        uses = self.one(
            (
                ["print(*f_generator(0))"],
                ["g = f_generator(0)", "print(next(g, None))", "g.close()"],
                ["g = f_generator(1)", "print(next(g, 9))", "print(g.throw(KeyError('thrown')))"],
                ["g = f_generator(0)", "print(next(g), g.send(3), g.send(None))"],
                ["g = f_generator(2)", "print(next(g, None))", "g = None"],
                ["for i in f_generator(0):", "    while i:", "        i -= 1", "        tick()"],
            )
        )
        return [*lines, *caught(uses)]

    def program_coroutine(self):
        return [*self.definition("coroutine"), *caught(["print(drive(f_coroutine(0)))"])]

    def program_asyncgen(self):
        lines = self.definition("asyncgen")
        lines += ["async def main():", "    async for i in f_asyncgen(0):"]
        lines += ["        print(i)", "        for k in 'a':", "            tick()"]
        return [*lines, *caught(["drive(main())"])]

    def program_class(self):
        body = ["n = 0", "o = [0]", *self.block(3, _Scope("class"), False)]
        return caught(["class C:", *indented(body), "print(sorted(k for k in vars(C)))"])

    def program_module(self):
        return ["n = 0", "o = [0]", *self.block(3, _Scope("module"), False)]

    def program_closure(self):
        inner = ["nonlocal n", "n += 1", *self.block(2, _Scope("function"), False)]
        lines = ["def outer(n):", "    o = [0]", "    def inner():", *indented(indented(inner))]
        lines += ["    for k in range(2):", "        print(inner(), n)"]
        return [*lines, *caught(["outer(0)"])]


def indented(lines):
    return [f"    {line}" for line in lines]


def caught(lines):
    return ["try:", *indented(lines), "except Exception as error:", "    show(error)"]


def program(data):
    """Return the program that the bytes choose."""
    return Writer(data).program()
