"""Training that keeps an iterator of a loader between its iterations is restored in the middle."""

from __future__ import annotations

from typing import Any

import pytest
from harness import Project

pytestmark = pytest.mark.torch

PROGRAM = """\
import itertools, random
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
{imports}

class Noisy(Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, index):
        return torch.full((8,), float(index)) + torch.rand(8) + random.random()


class Stream(IterableDataset):
    def __iter__(self):
        for index in range(10):
            yield torch.full((8,), float(index)) + torch.rand(8)


class Global:
    def __iter__(self):
        for _ in range(10):
            yield random.randrange(10)

    def __len__(self):
        return 10


def forever(loader):
    while True:
        yield from loader


def main():
    loader = DataLoader({loader})
    batches = {batches}
    model = torch.nn.Linear(8, 4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    step = 0
    while step < 7:
        batch = {take}
        loss = torch.nn.functional.dropout(model(batch)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        shown = loss.item()
        print(step, shown.hex())
        step += 1


main()
"""

ITER = "iter(loader)"
ENDLESS = "forever(loader)"
CASES: dict[str, dict[str, str]] = {
    "shuffled": {"loader": "Noisy(), batch_size=3, shuffle=True", "batches": ENDLESS},
    "sampler": {"loader": "Noisy(), batch_size=3, sampler=Global()", "batches": ENDLESS},
    "stream": {"loader": "Stream(), batch_size=3", "batches": "itertools.cycle(loader)"},
    "generator": {
        "loader": "Noisy(), batch_size=1, shuffle=True, generator=torch.Generator()",
        "batches": ITER,
    },
    "workers": {"loader": "Noisy(), batch_size=1, shuffle=True, num_workers=2", "batches": ITER},
    "persistent": {
        "loader": "TensorDataset(torch.rand(10, 8)), batch_size=1, shuffle=True, num_workers=2, "
        "persistent_workers=True",
        "batches": ITER,
        "take": "next(batches)[0]",
    },
    "wrapped": {
        "loader": "Noisy(), batch_size=3, shuffle=True",
        "batches": "enumerate(zip(itertools.cycle(loader), itertools.count()))",
        "take": "next(batches)[1][0]",
    },
}


def record(project: Project, case: dict[str, str], threads: str) -> Any:
    fields = {"imports": "", "take": "next(batches)", **case}
    project.write("train.py", PROGRAM.format(**fields))
    project.commit_all()
    done = project.record("train.py", env={"OMP_NUM_THREADS": threads})
    return done.stdout


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("name", CASES)
def test_a_step_in_the_middle_is_what_it_was(project: Project, name: str, threads: str) -> None:
    out = record(project, CASES[name], threads)
    other = {"OMP_NUM_THREADS": "2" if threads == "1" else "1"}

    (document,) = project.replay("seen=float(batch.sum()) + model.weight.sum().item()", env=other)
    (result,) = document["results"]
    assert (result["plan"], result["exact"], result["failure"]) == ("restore", 7, None), result
    assert out.count("\n") == 7
