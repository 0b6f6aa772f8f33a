"""A generator that takes its seed from the operating system: no replay can have the same."""

import numpy as np

rng = np.random.default_rng()
total = 0.0

for epoch in range(6):
    total += float(rng.normal(size=2000).mean())
    print(f"epoch {epoch} finite {np.isfinite(total)}")
