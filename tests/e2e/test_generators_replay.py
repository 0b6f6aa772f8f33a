"""Programs that keep their data in generators are restored in the middle of them."""

from __future__ import annotations

import pytest
from harness import Project

from flor_trace import _speedups

pytestmark = pytest.mark.skipif(
    not _speedups.NATIVE, reason="Python cannot read what lies on the value stack of a generator"
)

LOADER = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def infinite(loader):
    while True:
        for batch in loader:
            yield batch


torch.manual_seed(3)
x = torch.randn(96, 8)
y = (x.sum(1, keepdim=True) > 0).float()
loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
data = infinite(loader)
for epoch in range(6):
    for step in range(5):
        inputs, targets = next(data)
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(model(inputs), targets)
        loss.backward()
        optimizer.step()
        mark = loss.item()
        print("STEP", epoch, step, (inputs.sum() * mark).item().hex())
"""

NUMPY = """
import numpy as np

rng = np.random.default_rng(7)


def batches(x, n):
    while True:
        perm = rng.permutation(len(x))
        for i in range(0, len(x), n):
            yield x[perm[i : i + n]]


class Trainer:
    def __init__(self, x):
        self.stream = enumerate(batches(x, 8))
        self.w = np.zeros(4)

    def train(self):
        for epoch in range(8):
            for step in range(4):
                number, batch = next(self.stream)
                self.w = self.w + 0.1 * (batch.mean(0) - self.w) + rng.normal(size=4) * 0.01
                mark = float(self.w @ self.w) + number
                print("STEP", epoch, step, (float(batch.sum()) * mark).hex())


Trainer(rng.normal(size=(50, 4))).train()
"""

CASES = [
    pytest.param(
        LOADER, "(inputs.sum() * mark).item()", 6, 5, id="loader", marks=pytest.mark.torch
    ),
    pytest.param(NUMPY, "float(batch.sum()) * mark", 8, 4, id="numpy"),
]


def steps(out: str) -> dict[tuple[int, int], str]:
    """What the program printed for each step."""
    lines = [line.split() for line in out.splitlines() if line.startswith("STEP")]
    return {(int(epoch), int(step)): value for _, epoch, step, value in lines}


@pytest.mark.parametrize(("source", "question", "epochs", "count"), CASES)
def test_a_late_epoch_is_executed_from_a_generator_that_was_restored(
    project: Project, source: str, question: str, epochs: int, count: int
) -> None:
    """The steps of the last epochs: the batches come from where the generator stood then."""
    project.write("program.py", source)
    project.commit_all()
    truth = steps(project.record("program.py").stdout)
    (run,) = project.ls()
    assert "opaque" not in project.flor("show", run["run"]).stdout

    (document,) = project.replay(
        f"asked={question}", "--at", "step", "--where", f"epoch >= {epochs - 2}"
    )

    (result,) = document["results"]
    (plan,) = document["plans"]
    assert plan["steps"][0] | {"seconds": 0} == {
        "kind": "restore",
        "first": epochs - 2,
        "last": epochs - 2,
        "seconds": 0,
    }
    assert (result["plan"], result["failure"], result["diverged"]) == ("re-execute", None, 0)
    got = {
        (row["epoch"], row["step"]): row["asked"].hex()
        for row in project.pivot("epoch", "step", "asked")
        if row["asked"] is not None
    }
    wanted = {key: value for key, value in truth.items() if key[0] >= epochs - 2}
    assert got == wanted
    assert len(got) == 2 * count
