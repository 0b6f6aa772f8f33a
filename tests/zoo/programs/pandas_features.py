"""Feature engineering: a frame grows column by column, and a table of results row by row."""

import numpy as np
import pandas as pd

rng = np.random.default_rng(10)
days = pd.date_range("2024-01-01", periods=200, freq="D")
frame = pd.DataFrame(
    {
        "sales": rng.gamma(2.0, 50.0, 200),
        "shop": pd.Categorical(rng.choice(["north", "south", "west"], 200)),
        "promo": rng.random(200) < 0.2,
    },
    index=days,
)
target = frame["sales"].shift(-1).ffill()
report = pd.DataFrame(columns=["feature", "correlation", "error"])

for lag in [1, 2, 3, 5, 7, 14, 21, 28]:
    name = f"lag_{lag}"
    frame[name] = frame["sales"].shift(lag).fillna(frame["sales"].mean())
    frame[f"mean_{lag}"] = frame["sales"].rolling(lag, min_periods=1).mean()
    noise = rng.normal(scale=0.1, size=len(frame))
    design = np.column_stack([frame.filter(regex="lag_|mean_"), noise])
    weights, *_ = np.linalg.lstsq(design, target, rcond=None)
    error = float(np.sqrt(np.mean((design @ weights - target) ** 2)))
    report.loc[len(report)] = [name, float(frame[name].corr(target)), error]
    by_shop = frame.groupby("shop", observed=True)[name].mean()
    print(f"{name}: {frame.shape[1]} columns, error {error:.6f}, {by_shop.round(4).to_dict()}")

print(report.to_string())
print(frame.iloc[-1].to_dict())
