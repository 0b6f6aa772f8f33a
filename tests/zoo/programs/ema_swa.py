"""An exponential moving average by hand, and torch's AveragedModel with SWALR."""

import copy

import torch
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset


class EMA:
    def __init__(self, model, decay):
        self.shadow = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model):
        for mine, theirs in zip(self.shadow.parameters(), model.parameters()):
            mine.lerp_(theirs, 1 - self.decay)
        for mine, theirs in zip(self.shadow.buffers(), model.buffers()):
            mine.copy_(theirs)


torch.manual_seed(6)
x = torch.randn(160, 5)
y = x[:, :1].tanh() + 0.1 * torch.randn(160, 1)
loader = DataLoader(TensorDataset(x, y), batch_size=20, shuffle=True)
model = nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1))
ema, swa = EMA(model, 0.95), AveragedModel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
swa_scheduler = SWALR(optimizer, swa_lr=0.02, anneal_epochs=2)
swa_start = 4

for epoch in range(8):
    model.train()
    for xb, yb in loader:
        loss = nn.functional.mse_loss(model(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update(model)
    if epoch >= swa_start:
        swa.update_parameters(model)
        swa_scheduler.step()
    else:
        scheduler.step()
    ema.shadow.eval()
    gap = nn.functional.mse_loss(ema.shadow(x), y).item()
    print(f"epoch {epoch} loss {loss.item()!r} ema {gap!r} lr {optimizer.param_groups[0]['lr']!r}")

update_bn(loader, swa)
swa.eval()
print("swa", nn.functional.mse_loss(swa(x), y).item(), int(swa.n_averaged))
