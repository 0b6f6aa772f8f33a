"""A project of several files, with counters in modules and on classes."""

from lib import counters
from lib.model import Model
from lib.train import Loop


def main():
    model = Model(6)
    loop = Loop(model, rounds=10)
    for report in loop.rounds():
        print(report, counters.CALLS, Model.created, sorted(counters.BY_NAME.items()))
    print("best", loop.best, counters.describe())


if __name__ == "__main__":
    main()
