"""Arrays, keys and states of JAX programs come back bit for bit."""

from __future__ import annotations

import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
jnp = jax.numpy


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "bool", "float8_e4m3fn"])
def test_an_array_of_every_type_comes_back(save, digest_of, dtype):
    array = jnp.arange(6).reshape(2, 3).astype(dtype)
    saved = save({"x": array})
    made = saved.restore({})
    assert saved.captured.opaque == []
    assert made["x"].dtype == array.dtype
    assert digest_of(made) == saved.digests


def test_a_training_loop_of_pure_functions_continues(continues):
    transform = optax.adam(0.1)

    def loss(weights, inputs):
        return jnp.mean((inputs @ weights["w"] + weights["b"]) ** 2)

    def make(seed):
        weights = {"w": jax.random.normal(jax.random.PRNGKey(seed), (4, 2)), "b": jnp.zeros(2)}
        keys = {"old": jax.random.PRNGKey(seed), "new": jax.random.key(seed)}
        return {"weights": weights, "moments": [transform.init(weights)], "keys": keys}

    def advance(state, _):
        keys = state["keys"]
        keys["old"], one = jax.random.split(keys["old"])
        keys["new"], two = jax.random.split(keys["new"])
        inputs = jax.random.normal(one, (8, 4)) + jax.random.uniform(two, (8, 4))
        value, slopes = jax.value_and_grad(loss)(state["weights"], inputs)
        updates, state["moments"][0] = transform.update(slopes, state["moments"][0])
        state["weights"].update(optax.apply_updates(state["weights"], updates))
        return value

    continues(make, advance)
