"""Uses libraries that read, compile or wrap functions, and prints what comes of it."""

import json
import sys
import warnings

warnings.simplefilter("ignore")


def tell(name, *values):
    print(json.dumps([name, *values]))


def numba():
    import numba as nb
    import numpy as np
    from soak_functions import inner, looping, matrix, spinning, while_else

    for function, args in [
        (looping, (10,)),
        (spinning, (100,)),
        (matrix, (np.arange(12.0).reshape(3, 4),)),
        (while_else, (7,)),
    ]:
        fast = nb.njit(function)
        signature = [str(each) for each in (fast(*args), fast.nopython_signatures)]
        tell(f"njit {function.__name__}", str(function(*args)), *signature)
        assert len(fast.nopython_signatures) == len(fast.signatures) == 1

    @nb.njit(parallel=True)
    def parallel(n):
        total = 0.0
        for i in nb.prange(n):
            total += i
        return total

    tell("parallel", parallel(1000))
    helper = nb.njit(inner)

    @nb.njit
    def calls(n):
        total = 0
        for i in range(n):
            total += helper(i)
        return total

    tell("calls", int(calls(5)))


def numba_classes():
    import numba as nb
    import numpy as np

    @nb.vectorize(["float64(float64)"])
    def powers(x):
        out = 0.0
        for k in range(3):
            out += x**k
        return out

    tell("vectorize", powers(np.arange(4.0)).tolist())

    @nb.experimental.jitclass([("total", nb.int64)])
    class Sum:
        def __init__(self):
            self.total = 0

        def add(self, n):
            for i in range(n):
                self.total += i

    each = Sum()
    each.add(5)
    tell("jitclass", each.total)
    try:
        nb.njit(lambda xs: [x.nothing for x in xs])([1])
    except nb.TypingError as error:
        tell("typing error", type(error).__name__)


def jax():
    import os

    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax
    import jax.numpy as jnp
    from soak_functions import layers, newton, scan_free

    x = jnp.arange(4.0)
    for function in (layers, newton, scan_free):
        tell(f"jaxpr {function.__name__}", str(jax.make_jaxpr(function)(x)))
        tell(f"jit {function.__name__}", jax.jit(function)(x).tolist(), function(x).tolist())
        tell(f"grad {function.__name__}", jax.grad(lambda y, f=function: f(y).sum())(x).tolist())
        tell(f"vmap {function.__name__}", jax.vmap(function)(jnp.ones((2, 4))).tolist())
    traces = []

    @jax.jit
    def counted(y):
        for k in range(3):
            traces.append(k)
            y = y * k
        return y

    counted(x), counted(x), counted(jnp.ones(2))
    tell("traces", traces)
    tell("lowered", jax.jit(layers).lower(x).as_text())
    weights = jnp.ones(4)
    for epoch in range(3):
        for _ in range(2):
            weights = weights - 0.1 * jax.grad(lambda w: (layers(w) ** 2).sum())(weights)
        tell("epoch", epoch, weights.tolist())
    checkpointed = jax.checkpoint(layers)
    tell("remat", jax.grad(lambda y: checkpointed(y).sum())(x).tolist())


def wrappers():
    import dataclasses
    import functools
    import inspect

    import attrs
    import beartype
    import pydantic
    import typeguard
    from soak_functions import Account, Point, checked, guarded, summed

    tell("beartype", beartype.beartype(checked)([1, 2]), inspect.getsource(checked))
    try:
        beartype.beartype(checked)("ab")
    except beartype.roar.BeartypeCallHintViolation as error:
        tell("beartype error", str(error).splitlines()[0][:60])
    tell("typeguard", typeguard.typechecked(guarded)([1, 2]))
    try:
        typeguard.typechecked(guarded)(["a"])
    except typeguard.TypeCheckError as error:
        tell("typeguard error", str(error))
    tell("pydantic", Account(name="a", values=[3, 1, 2]).model_dump())
    try:
        Account(name="a", values=[-1])
    except pydantic.ValidationError as error:
        tell("pydantic error", error.errors(include_url=False, include_context=False))
    tell("validate_call", pydantic.validate_call(summed)("3"))
    tell("attrs", attrs.asdict(Point(1, [2, 3])), attrs.asdict(attrs.evolve(Point(1, []), x=5)))
    tell("cache", [functools.lru_cache(summed)(3) for _ in range(2)])

    @dataclasses.dataclass(slots=True)
    class Bag:
        items: list = dataclasses.field(default_factory=list)

        def __post_init__(self):
            for k in range(3):
                self.items.append(k)

    tell("dataclass", dataclasses.asdict(Bag()))
    tell("signature", str(inspect.signature(checked)), inspect.getsourcelines(Account.order)[1])


def hooked():
    """Check types by an import hook that compiles the module itself."""
    import typeguard

    with typeguard.install_import_hook(["soak_hooked"]):
        import soak_hooked
    tell("hooked", soak_hooked.total([1, 2, 3]))
    try:
        soak_hooked.total("abc")
    except typeguard.TypeCheckError as error:
        tell("hooked error", str(error))


{
    "numba": numba,
    "numba classes": numba_classes,
    "jax": jax,
    "wrappers": wrappers,
    "hooked": hooked,
}[sys.argv[1]]()
