"""Context managers around the loop, and exceptions that are caught inside of it."""

import contextlib
import random
import warnings

import numpy as np


class Diverged(Exception):
    pass


@contextlib.contextmanager
def phase(name, log):
    log.append(f"begin {name}")
    try:
        yield log
    finally:
        log.append(f"end {name}")


def attempt(rng, weights, rate):
    step = rng.normal(size=weights.shape) * rate
    if abs(step).max() > 2.2 * rate:
        raise Diverged(f"{abs(step).max():.4f}")
    if random.random() < 0.2:
        raise KeyError("flaky")
    return weights - 0.1 * weights + step


def main():
    random.seed(3)
    rng = np.random.default_rng(3)
    weights, log, failures = np.ones(6), [], {"diverged": 0, "flaky": 0}
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(phase("training", log))
        with np.errstate(all="ignore"):
            for epoch in range(15):
                with phase(f"epoch {epoch}", log):
                    try:
                        weights = attempt(rng, weights, rate=0.5 / (epoch + 1))
                    except Diverged as error:
                        failures["diverged"] += 1
                        print("  diverged:", error)
                        continue
                    except KeyError:
                        failures["flaky"] += 1
                    else:
                        print(f"epoch {epoch} norm {float(np.linalg.norm(weights))!r}")
                    finally:
                        log.append(f"{epoch} over")
    print(failures, len(log), log[-3:])


main()
