"""Loop programs, each with what its loops must tell.

A program binds ``out``.  Events are written ``+0`` (loop 0 is entered), ``.0`` (an iteration of it
begins), ``=0`` (it ran out), ``-0`` (it was left), with loops numbered in source order.
"""

PROGRAMS = {
    "a for at module level": (
        """
out = []
for i in range(2):
    out.append(i)
""",
        "+0 .0 .0 =0",
    ),
    "a for over nothing": (
        """
out = 1
for i in ():
    pass
""",
        "+0 =0",
    ),
    "a for with else": (
        """
out = []
for i in range(2):
    out.append(i)
else:
    out.append('e')
""",
        "+0 .0 .0 =0",
    ),
    "a for that breaks has no else": (
        """
out = []
for i in range(9):
    if i == 1:
        break
else:
    out.append('e')
""",
        "+0 .0 .0 -0",
    ),
    "a for that continues": (
        """
out = []
for i in range(3):
    if i == 1:
        continue
    out.append(i)
""",
        "+0 .0 .0 .0 =0",
    ),
    "a while at module level": (
        """
out = 0
while out < 2:
    out += 1
""",
        "+0 .0 .0 =0",
    ),
    "a while that never runs": (
        """
out = 0
while out:
    out += 1
""",
        "+0 =0",
    ),
    "a while with else": (
        """
out = 0
while out < 2:
    out += 1
else:
    out += 10
""",
        "+0 .0 .0 =0",
    ),
    "a while that breaks has no else": (
        """
out = 0
while out < 9:
    out += 1
    if out == 2:
        break
else:
    out = 99
""",
        "+0 .0 .0 -0",
    ),
    "an endless while that breaks": (
        """
out = 0
while True:
    out += 1
    if out == 3:
        break
""",
        "+0 .0 .0 .0 -0",
    ),
    "a while that continues": (
        """
out = k = 0
while k < 3:
    k += 1
    if k == 2:
        continue
    out += k
""",
        "+0 .0 .0 .0 =0",
    ),
    "a while over and-or on several lines": (
        """
k = 0
out = []
while (k < 9 and
       len(out) < 2
       or k == 0):
    k += 1
    out.append(k)
""",
        "+0 .0 .0 =0",
    ),
    "a while over several lines with a pass in its else": (
        """
def f(n):
    while (n and
           n < 4):
        n -= 1
    else:
        pass
out = f(0), f(2), f(5)
""",
        "+0 =0 +0 .0 .0 =0 +0 =0",
    ),
    "a while with a walrus": (
        """
data = [1, 2, 0]
out = 0
while (x := data.pop(0)):
    out += x
""",
        "+0 .0 .0 =0",
    ),
    "an else of a while that returns": (
        """
def f(n):
    while n:
        n -= 1
    else:
        return 'else'
    return 'end'
out = f(2)
""",
        "+0 .0 .0 =0",
    ),
    "an else of a while with a loop in it": (
        """
out = []
n = 1
while n:
    n -= 1
else:
    for i in range(1):
        out.append(i)
""",
        "+0 .0 =0 +1 .1 =1",
    ),
    "an else that breaks the outer loop is left alone": (
        """
out = []
for i in range(3):
    n = i
    while n:
        n -= 1
    else:
        if i == 1:
            break
    out.append(i)
""",
        "+0 .0 .0 -0",
    ),
    "a return inside a for": (
        """
def f():
    for i in range(5):
        if i == 2:
            return i
out = f()
""",
        "+0 .0 .0 .0 -0",
    ),
    "a return inside a while inside a for": (
        """
def f():
    for i in range(5):
        while True:
            return i
out = f()
""",
        "+0 .0 +1 .1 -1 -0",
    ),
    "an implicit return after a while": (
        """
def f(n):
    while n:
        n -= 1
out = f(2)
""",
        "+0 .0 .0 =0",
    ),
    "an implicit return after a while that breaks": (
        """
def f(n):
    while n:
        n -= 1
        if n == 1:
            break
out = f(3)
""",
        "+0 .0 .0 -0",
    ),
    "a raise inside both": (
        """
def f():
    for i in range(5):
        k = 0
        while k < 3:
            k += 1
            raise KeyError(i)
try:
    f()
except KeyError as e:
    out = e.args
e = None
""",
        "+0 .0 +1 .1 -1 -0",
    ),
    "a raise in the condition": (
        """
out = 0
try:
    while 1 / (2 - out):
        out += 1
except ZeroDivisionError:
    out = -out
""",
        "+0 .0 .0 -0",
    ),
    "an error when the iterable is made": (
        """
try:
    for i in 3:
        pass
except TypeError as error:
    out = str(error)
""",
        "",
    ),
    "a try in a while": (
        """
out = []
n = 0
while n < 3:
    n += 1
    try:
        1 / (n - 2)
    except ZeroDivisionError:
        out.append(n)
        continue
    finally:
        out.append('f')
""",
        "+0 .0 .0 .0 =0",
    ),
    "a while as a whole in a try with finally": (
        """
def f(n):
    try:
        while n:
            n -= 1
            if n == 5:
                return 'five'
    finally:
        n = 0
    return n
out = f(2), f(7)
""",
        "+0 .0 .0 =0 +0 .0 .0 -0",
    ),
    "a break through finally and with": (
        """
import contextlib
out = []
while True:
    with contextlib.suppress(KeyError):
        try:
            break
        finally:
            out.append('f')
""",
        "+0 .0 -0",
    ),
    "loops in a finally that is compiled twice": (
        """
out = []
def f(x):
    try:
        return 1 // x
    finally:
        for i in range(1):
            out.append(i)
        n = 2
        while n:
            n -= 1
f(1)
try:
    f(0)
except ZeroDivisionError:
    pass
""",
        "+0 .0 =0 +1 .1 .1 =1 +0 .0 =0 +1 .1 .1 =1",
    ),
    "a raise inside a handler inside a loop": (
        """
out = 0
for i in range(3):
    try:
        try:
            raise ValueError
        except ValueError:
            raise KeyError
    except KeyError:
        out += 1
""",
        "+0 .0 .0 .0 =0",
    ),
    "a match in a while": (
        """
out = []
work = [(1, 2), 'x', None]
while work:
    match work.pop():
        case (a, b):
            out.append(a + b)
        case str() as s:
            continue
        case None:
            out.append('none')
""",
        "+0 .0 .0 .0 =0",
    ),
    "a generator with a for": (
        """
def g(n):
    for i in range(n):
        yield i
out = list(g(2))
""",
        "+0 .0 .0 =0",
    ),
    "a generator with a while": (
        """
def g(n):
    while n:
        n -= 1
        yield n
out = list(g(2))
""",
        "+0 .0 .0 =0",
    ),
    "a closed generator": (
        """
def g():
    n = 0
    while True:
        n += 1
        for i in range(9):
            yield n, i
it = g()
out = [next(it), next(it)]
it.close()
""",
        "+0 .0 +1 .1 .1 -1 -0",
    ),
    "a generator that is sent values": (
        """
def g():
    got = []
    while len(got) < 2:
        got.append((yield len(got)))
    return got
it = g()
next(it)
it.send('a')
try:
    it.send('b')
except StopIteration as stop:
    out = stop.value
""",
        "+0 .0 .0 =0",
    ),
    "yield from in a loop": (
        """
def g():
    for part in ('ab', 'c'):
        yield from part
out = list(g())
""",
        "+0 .0 .0 =0",
    ),
    "a coroutine with loops": (
        """
async def f():
    total = 0
    for i in range(2):
        await other()
        while i:
            i -= 1
        total += 1
    return total
async def other():
    pass
try:
    f().send(None)
except StopIteration as stop:
    out = stop.value
""",
        "+0 .0 +1 =1 .0 +1 .1 =1 =0",
    ),
    "an async for stays unreported and its inner loop does not": (
        """
class Two:
    n = 0
    def __aiter__(self):
        return self
    async def __anext__(self):
        self.n += 1
        if self.n > 2:
            raise StopAsyncIteration
        return self.n
async def f():
    got = []
    async for x in Two():
        for y in range(1):
            got.append((x, y))
    return got
try:
    f().send(None)
except StopIteration as stop:
    out = stop.value
""",
        "+0 .0 =0 +0 .0 =0",
    ),
    "a class body with loops": (
        """
class C:
    total = 0
    for k in range(2):
        total += k
    while total:
        total -= 1
out = C.k, C.total
""",
        "+0 .0 .0 =0 +1 .1 =1",
    ),
    "nested functions with loops": (
        """
def f():
    rows = []
    def g(x):
        for i in range(x):
            rows.append(i)
    for x in range(2):
        g(x)
    return rows
out = f()
""",
        "+1 .1 +0 =0 .1 +0 .0 =0 =1",
    ),
    "recursion": (
        """
def f(n):
    for i in range(2):
        if n:
            f(n - 1)
out = f(1)
""",
        "+0 .0 +0 .0 .0 =0 .0 +0 .0 .0 =0 =0",
    ),
    "deletion of the target": (
        """
out = 0
for i in range(2):
    out += i
    del i
""",
        "+0 .0 .0 =0",
    ),
    "constant iterables": (
        """
out = []
for a in [1, 2]:
    out.append(a)
for b in {3}:
    out.append(b)
for c in (4,):
    out.append(c)
for d in 'x':
    out.append(d)
""",
        "+0 .0 .0 =0 +1 .1 =1 +2 .2 =2 +3 .3 =3",
    ),
    "unpacking targets": (
        """
out = []
for i, (a, *b) in enumerate(['xy', 'z']):
    out.append((i, a, b))
""",
        "+0 .0 .0 =0",
    ),
    "attribute and item targets": (
        """
class O: pass
o = O()
d = {}
for o.x in range(2):
    pass
for d['k'] in range(2):
    pass
out = o.x, d
""",
        "+0 .0 .0 =0 +1 .1 .1 =1",
    ),
    "comprehensions are no loops": (
        """
out = [x for x in range(3)], {x for x in 'a'}, {x: 1 for x in 'b'}, list(x for x in 'c')
for y in [z for z in range(2)]:
    out += (y,)
""",
        "+0 .0 .0 =0",
    ),
    "loops on one line": (
        """
out = 0
for i in range(2): out += i
while out < 3: out += 1
while out: out -= 1; break
""",
        "+0 .0 .0 =0 +1 .1 .1 =1 +2 .2 -2",
    ),
    "whiles nested in whiles": (
        """
out = 0
a = 2
while a:
    a -= 1
    b = 2
    while b:
        b -= 1
        c = 1
        while c:
            c -= 1
            out += 1
""",
        "+0 .0 +1 .1 +2 .2 =2 .1 +2 .2 =2 =1 .0 +1 .1 +2 .2 =2 .1 +2 .2 =2 =1 =0",
    ),
    "a while that ends an if branch": (
        """
def f(n, flag):
    if flag:
        while n:
            n -= 1
    else:
        n = -1
    return n
out = f(1, True), f(1, False)
""",
        "+0 .0 =0",
    ),
    "a while with a constant false condition": (
        """
out = 1
while 0:
    out = 2
while False:
    out = 3
else:
    out = 4
""",
        "+0 =0 +1 =1",
    ),
    "a with around a while that returns": (
        """
import contextlib
def f(n):
    with contextlib.nullcontext() as c:
        while True:
            n -= 1
            if not n:
                return 'done'
out = f(2)
""",
        "+0 .0 .0 -0",
    ),
    "exception groups": (
        """
out = []
for i in range(2):
    try:
        raise ExceptionGroup('g', [ValueError(i), KeyError(i)])
    except* ValueError as group:
        while len(out) < 1:
            out.append(group.exceptions[0].args)
    except* KeyError:
        pass
""",
        "+0 .0 +1 .1 =1 .0 +1 =1 =0",
    ),
}
