"""Every scheduler people reach for, on one parameter each, and a plateau that is found."""

import torch
from torch import nn
from torch.optim import lr_scheduler

torch.manual_seed(12)
x = torch.randn(80, 3)
y = x.sum(1, keepdim=True)
models = {}


def build(name, make):
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.8)
    models[name] = (model, optimizer, make(optimizer))


build("onecycle", lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.2, total_steps=45))
build("plateau", lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=1))
build("cyclic", lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=4, mode="triangular2"))
build("warm", lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=5, T_mult=2))
build("lambda", lambda o: lr_scheduler.LambdaLR(o, lambda n: 0.9**n))
build(
    "sequence",
    lambda o: lr_scheduler.SequentialLR(
        o,
        [lr_scheduler.LinearLR(o, 0.1, total_iters=4), lr_scheduler.ExponentialLR(o, 0.9)],
        milestones=[4],
    ),
)

for epoch in range(9):
    rates = {}
    for name, (model, optimizer, scheduler) in models.items():
        for xb, yb in zip(x.split(16), y.split(16)):
            loss = (model(xb) - yb).square().mean() + 0.01 * torch.rand(())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if name in ("onecycle", "cyclic"):
                scheduler.step()
        if name == "plateau":
            scheduler.step(loss.item())
        elif name not in ("onecycle", "cyclic"):
            scheduler.step()
        rates[name] = optimizer.param_groups[0]["lr"]
    print(f"epoch {epoch}", " ".join(f"{name}={rate!r}" for name, rate in rates.items()))

print({name: model.weight.sum().item() for name, (model, _, _) in models.items()})
