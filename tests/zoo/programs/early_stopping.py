"""Keep a deep copy of the best weights, stop when nothing gets better, and go back to them."""

import copy

import torch
from torch import nn


class EarlyStopping:
    def __init__(self, patience):
        self.patience = patience
        self.best_score = None
        self.best_state = None
        self.waited = 0

    def __call__(self, score, model):
        if self.best_score is None or score < self.best_score:
            self.best_score = score
            self.best_state = copy.deepcopy(model.state_dict())
            self.waited = 0
        else:
            self.waited += 1
        return self.waited >= self.patience


def main():
    torch.manual_seed(31)
    train_x, test_x = torch.randn(40, 10), torch.randn(60, 10)
    weights = torch.randn(10, 1)
    train_y = train_x @ weights + torch.randn(40, 1)
    test_y = test_x @ weights
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    stopper = EarlyStopping(patience=3)
    for epoch in range(60):
        model.train()
        for chunk in torch.randperm(40).split(10):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(train_x[chunk]), train_y[chunk]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            score = nn.functional.mse_loss(model(test_x), test_y).item()
        print(f"epoch {epoch} validation {score!r} waited {stopper.waited}")
        if stopper(score, model):
            print("stopping early")
            break
    model.load_state_dict(stopper.best_state)
    with torch.no_grad():
        print("restored", nn.functional.mse_loss(model(test_x), test_y).item(), stopper.best_score)


main()
