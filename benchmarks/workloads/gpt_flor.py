"""A small transformer that learns to write these programs by character, edited for FlorDB."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import flordb as flor
import torch
from data import characters
from saving import WAYS, finish, save
from torch import Tensor, nn


@dataclass
class Config:
    """Everything that determines the model."""

    vocabulary: int
    context: int = 64
    layers: int = 4
    heads: int = 4
    width: int = 128


class Block(nn.Module):
    """Attention, then two linear layers, each added to what came in."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm1 = nn.LayerNorm(config.width)
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.norm2 = nn.LayerNorm(config.width)
        self.wide = nn.Linear(config.width, 4 * config.width)
        self.narrow = nn.Linear(4 * config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the next block gets."""
        batch, time, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, time, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, time, width))
        y: Tensor = x + self.narrow(nn.functional.gelu(self.wide(self.norm2(x))))
        return y


class GPT(nn.Module):
    """The whole model."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocabulary, config.width)
        self.places = nn.Embedding(config.context, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return how likely each character is to come next."""
        y = self.tokens(x) + self.places.weight[: x.shape[1]]
        for block in self.blocks:
            y = block(y)
        scores: Tensor = self.head(self.norm(y))
        return scores


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save", choices=WAYS, default="none")
    parser.add_argument("--steps", type=int, default=20, help="of one epoch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    text, vocabulary = characters()
    model = GPT(Config(vocabulary))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with flor.checkpointing(model=model, optimizer=optimizer):
        for epoch in flor.loop("epoch", range(options.epochs)):
            for _step in flor.loop("step", range(options.steps)):
                starts = torch.randint(len(text) - 65, (16,)).tolist()
                x = torch.stack([text[at : at + 64] for at in starts])
                y = torch.stack([text[at + 1 : at + 65] for at in starts])
                loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            last = loss.item()
            flor.log("loss", last)
            save(options.save, epoch, model, optimizer)
    finish()


if __name__ == "__main__":
    main()
