"""Out-of-core learning: a scaler and two linear models fed in pieces."""

import numpy as np
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from sklearn.utils import shuffle

rng = np.random.RandomState(5)
x = rng.randn(600, 12)
y = (x @ rng.randn(12) + 0.5 * rng.randn(600) > 0).astype(int)
train_x, test_x, train_y, test_y = x[:450], x[450:], y[:450], y[450:]

scaler = StandardScaler()
models = {
    "sgd": SGDClassifier(loss="log_loss", learning_rate="adaptive", eta0=0.05, random_state=rng),
    "averaged": SGDClassifier(loss="modified_huber", average=True),
}
history = []

for epoch in range(8):
    train_x, train_y = shuffle(train_x, train_y)
    for start in range(0, len(train_x), 50):
        part = slice(start, start + 50)
        scaler.partial_fit(train_x[part])
        for model in models.values():
            model.partial_fit(scaler.transform(train_x[part]), train_y[part], classes=[0, 1])
    scores = {name: model.score(scaler.transform(test_x), test_y) for name, model in models.items()}
    loss = log_loss(test_y, models["sgd"].predict_proba(scaler.transform(test_x)))
    history.append((epoch, loss, scores))
    print(f"epoch {epoch} log loss {loss!r} " + " ".join(f"{k}={v:.4f}" for k, v in scores.items()))

print("coefficients", float(np.abs(models["sgd"].coef_).sum()), models["averaged"].t_)
