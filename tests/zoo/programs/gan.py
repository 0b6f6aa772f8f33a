"""Two networks, two optimizers, one after the other on each batch."""

import math

import torch
from torch import nn


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 2))

    def forward(self, z):
        return self.net(z)


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.utils.parametrizations.spectral_norm(nn.Linear(2, 24)),
            nn.LeakyReLU(0.2),
            nn.Dropout(0.2),
            nn.Linear(24, 1),
        )

    def forward(self, x):
        return self.net(x)


def real_batch(n):
    angle = torch.rand(n) * 2 * math.pi
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(n, 2)


torch.manual_seed(9)
G, D = Generator(), Critic()
opt_g = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.999))
opt_d = torch.optim.Adam(D.parameters(), lr=1e-3, betas=(0.5, 0.999))
criterion = nn.BCEWithLogitsLoss()
fixed_noise = torch.randn(16, 4)
samples = []

for epoch in range(7):
    for _ in range(6):
        real = real_batch(32)
        opt_d.zero_grad()
        fake = G(torch.randn(32, 4))
        loss_d = criterion(D(real), torch.full((32, 1), 0.9))
        loss_d = loss_d + criterion(D(fake.detach()), torch.zeros(32, 1))
        loss_d.backward()
        opt_d.step()
        opt_g.zero_grad()
        loss_g = criterion(D(fake), torch.ones(32, 1))
        loss_g.backward()
        opt_g.step()
    with torch.no_grad():
        G.eval()
        samples.append(G(fixed_noise))
        G.train()
    print(
        f"epoch {epoch} D {loss_d.item():.8f} G {loss_g.item():.8f} {samples[-1].mean().item()!r}"
    )

print("drift", (samples[-1] - samples[0]).norm().item())
