"""A grid search written out: forests over a product of settings, the best one kept."""

from itertools import product

import numpy as np
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_score

x, y = make_classification(n_samples=240, n_features=8, n_informative=4, random_state=2)
grid = {"max_depth": [2, 5], "min_samples_leaf": [1, 6], "max_features": ["sqrt", None]}
results = []
best, best_score = None, -np.inf

for values in product(*grid.values()):
    settings = dict(zip(grid, values))
    forest = RandomForestClassifier(n_estimators=6, **settings)
    folds = StratifiedKFold(3, shuffle=True)
    score = cross_val_score(forest, x, y, cv=folds).mean()
    results.append((score, settings))
    if score > best_score:
        best_score = score
        best = forest.fit(x, y)
    print(f"{settings} -> {score!r} (best {best_score!r})")

results.sort(key=lambda pair: -pair[0])
for score, settings in results[:3]:
    print(f"{score:.6f} {settings}")
print("importances", np.round(best.feature_importances_, 6).tolist())
