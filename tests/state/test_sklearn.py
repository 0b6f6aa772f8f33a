"""Estimators of scikit-learn continue bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn")

from sklearn.cluster import MiniBatchKMeans  # noqa: E402
from sklearn.linear_model import SGDClassifier  # noqa: E402
from sklearn.naive_bayes import GaussianNB  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from flor_trace.state.rng import rng_roots  # noqa: E402

CLASSES = np.array([0, 1])
ESTIMATORS = {
    "sgd": lambda: SGDClassifier(loss="log_loss", learning_rate="adaptive", eta0=0.1),
    "kmeans": lambda: MiniBatchKMeans(n_clusters=3, batch_size=32, n_init=1),
    "adam": lambda: MLPClassifier(hidden_layer_sizes=(8,), solver="adam"),
    "mlp-sgd": lambda: MLPClassifier(hidden_layer_sizes=(8,), solver="sgd"),
    "bayes": GaussianNB,
    "scaler": StandardScaler,
}


def batch(rng):
    inputs = rng.standard_normal((32, 5))
    return inputs, (inputs.sum(1) > 0).astype(int)


def learn(state, count):
    for _ in range(count):
        inputs, targets = batch(state["rng"])
        model = state["model"]
        if isinstance(model, SGDClassifier | MLPClassifier | GaussianNB):
            model.partial_fit(inputs, targets, classes=CLASSES)
        else:
            model.partial_fit(inputs)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_continues_bit_for_bit(save, digest_of, name):
    def make(seed):
        np.random.seed(seed)
        return {"model": ESTIMATORS[name](), "rng": np.random.default_rng(seed), **rng_roots()}

    recorded = make(1)
    saved = [save(recorded)]
    for _ in range(2):
        learn(recorded, 2)
        saved.append(save(recorded))
    assert not any(each.captured.opaque for each in saved)
    final = digest_of(recorded)
    for start, each in enumerate(saved):
        live = make(9)
        model = live["model"]
        made = each.restore(live)
        assert made["model"] is model
        assert digest_of(made) == each.digests
        learn(made, 4 - 2 * start)
        assert digest_of(made) == final
