"""Questions to ask of recorded runs; the parameters are names of the recorded program."""

import torch


def grad_norm(model):
    """Norm of the gradient of the last step of the epoch."""
    squares = [p.grad.square().sum() for p in model.parameters() if p.grad is not None]
    return torch.stack(squares).sum().sqrt()


def weight_norm(model):
    """Norm of all weights."""
    return torch.stack([p.square().sum() for p in model.parameters()]).sum().sqrt()
