"""Train a small GPT on sentences from a toy grammar, character by character."""

import argparse
import math
import random

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset


def make_text(sentences):
    rng = random.Random(7)
    subjects = ["the cat", "a small bird", "the engineer", "my neighbour", "the old clock"]
    verbs = ["watches", "repairs", "follows", "forgets", "draws"]
    objects = ["a river", "the machine", "every star", "the garden", "an empty train"]
    return " ".join(
        f"{rng.choice(subjects)} {rng.choice(verbs)} {rng.choice(objects)}."
        for _ in range(sentences)
    )


class CharDataset(Dataset):
    def __init__(self, text, block):
        self.chars = sorted(set(text))
        codes = {c: i for i, c in enumerate(self.chars)}
        self.data = torch.tensor([codes[c] for c in text])
        self.block = block

    def __len__(self):
        return len(self.data) - self.block

    def __getitem__(self, i):
        piece = self.data[i : i + self.block + 1]
        return piece[:-1], piece[1:]


class Block(nn.Module):
    def __init__(self, width, heads, dropout):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(dropout)
        )

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).split(c, dim=2)
        q, k, v = (z.view(b, t, self.heads, c // self.heads).transpose(1, 2) for z in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, c))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    def __init__(self, vocabulary, block, width, heads, layers, dropout):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.zeros(1, block, width))
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, idx, targets):
        x = self.tokens(idx) + self.positions[:, : idx.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Trainer:
    def __init__(self, config, model, dataset):
        self.config = config
        self.model = model
        self.dataset = dataset
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr)
        self.callbacks = []
        self.iter_num = 0
        self.loss = None

    def lr_at(self, it):
        warmup = min(1.0, (it + 1) / 10)
        return self.config.lr * warmup * 0.5 * (1 + math.cos(math.pi * it / self.config.max_iters))

    def run(self):
        model, config = self.model, self.config
        model.train()
        loader = DataLoader(self.dataset, shuffle=True, batch_size=config.batch_size)
        data_iter = iter(loader)
        while True:
            try:
                batch = next(data_iter)
            except StopIteration:
                data_iter = iter(loader)
                batch = next(data_iter)
            x, y = batch
            lr = self.lr_at(self.iter_num)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            logits, self.loss = model(x, y)
            model.zero_grad(set_to_none=True)
            self.loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            self.optimizer.step()
            loss = self.loss.item()
            for callback in self.callbacks:
                callback(self)
            self.iter_num += 1
            if self.iter_num >= config.max_iters:
                break


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--max-iters", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--block", type=int, default=32)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--sentences", type=int, default=12)
    config = parser.parse_args()

    dataset = CharDataset(make_text(config.sentences), config.block)
    model = GPT(len(dataset.chars), config.block, config.width, 4, config.layers, dropout=0.1)
    trainer = Trainer(config, model, dataset)

    seen = {"tokens": 0}

    def report(trainer):
        seen["tokens"] += config.batch_size * config.block
        if trainer.iter_num % 10 == 0:
            print(f"iter {trainer.iter_num}: loss {trainer.loss.item():.4f}")

    trainer.callbacks.append(report)
    trainer.run()
    print(f"finished after {seen['tokens']} tokens, loss {trainer.loss.item():.4f}")


if __name__ == "__main__":
    main()
