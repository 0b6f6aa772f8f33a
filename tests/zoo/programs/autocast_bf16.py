"""bfloat16 autocast on the CPU, a GradScaler that is off, some weights in bfloat16."""

import torch
from torch import nn

torch.manual_seed(8)
device = "cuda" if torch.cuda.is_available() else "cpu"
model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.LayerNorm(32), nn.Linear(32, 3)).to(device)
table = nn.Embedding(10, 12).to(device=device, dtype=torch.bfloat16)
scaler = torch.amp.GradScaler(device, enabled=device == "cuda")
optimizer = torch.optim.AdamW(
    [{"params": model.parameters()}, {"params": table.parameters(), "lr": 1e-2}], lr=2e-3
)
tokens = torch.randint(0, 10, (96, 4), device=device)
labels = tokens.sum(1) % 3
generator = torch.Generator().manual_seed(21)

for epoch in range(7):
    order = torch.randperm(96, generator=generator)
    seen = 0.0
    for chunk in order.split(32):
        with torch.autocast(device, dtype=torch.bfloat16):
            logits = model(table(tokens[chunk]).mean(1))
            loss = nn.functional.cross_entropy(logits, labels[chunk])
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        seen += loss.float().item()
    print(f"epoch {epoch} loss {seen / 3!r} scale {scaler.get_scale()} {table.weight.dtype}")

print(table.weight.float().sum().item())
