"""A log file, a CSV and the standard streams; what was written is not read again."""

import csv
import logging
import os
import sys

import numpy as np

os.makedirs("out", exist_ok=True)
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(message)s")
log = logging.getLogger("training")
log.addHandler(logging.FileHandler("out/train.log"))

rng = np.random.default_rng(12)
weights = np.zeros(4)
with open("out/metrics.csv", "w", newline="") as file:
    writer = csv.DictWriter(file, ["epoch", "loss"])
    writer.writeheader()
    for epoch in range(9):
        x = rng.normal(size=(64, 4))
        error = x @ weights - x @ np.array([1.0, -2.0, 0.5, 3.0])
        weights -= 0.1 * x.T @ error / 64
        loss = float((error**2).mean())
        writer.writerow({"epoch": epoch, "loss": loss})
        file.flush()
        log.info("epoch %d loss %r", epoch, loss)

print("weights", weights)
