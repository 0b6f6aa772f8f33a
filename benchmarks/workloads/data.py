"""Data that needs no download, made anew from a seed each time."""

from __future__ import annotations

from pathlib import Path

import torch


def digits(copies: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The handwritten digits of scikit-learn, each `copies` times with other noise."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = torch.tensor(found.images, dtype=torch.float32).repeat(copies, 1, 1) / 16
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(7))
    return images + 0.05 * noise, torch.tensor(found.target).repeat(copies)


def characters() -> tuple[torch.Tensor, int]:
    """The text of this folder's programs as numbers below a count, and the count."""
    text = "".join(path.read_text() for path in sorted(Path(__file__).parent.glob("*.py")))
    known = {character: number for number, character in enumerate(sorted(set(text)))}
    return torch.tensor([known[character] for character in text * 4]), len(known)
