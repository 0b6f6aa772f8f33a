"""Classify scikit-learn's digits with a small PyTorch network."""

import argparse

import torch
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, hidden, dropout):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, 10),
        )

    def forward(self, x):
        return self.layers(x)


def train(model, loader, optimizer, criterion):
    model.train()
    total = 0.0
    for step, (x, y) in enumerate(loader):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / (step + 1)


@torch.no_grad()
def predict(model, x):
    model.eval()
    return model(x).argmax(dim=1)


def test(model, x, labels):
    return (predict(model, x) == labels).float().mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--save", default="digits.pt")
    args = parser.parse_args()

    digits = load_digits()
    train_x, test_x, train_y, test_y = train_test_split(
        digits.data / 16.0, digits.target, test_size=0.25, random_state=0, stratify=digits.target
    )
    train_x = torch.tensor(train_x, dtype=torch.float32)
    test_x = torch.tensor(test_x, dtype=torch.float32)
    train_labels = torch.tensor(train_y)
    test_labels = torch.tensor(test_y)
    loader = DataLoader(
        TensorDataset(train_x, train_labels), batch_size=args.batch_size, shuffle=True
    )

    model = Net(args.hidden, args.dropout)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5)

    best = 0.0
    for epoch in range(1, args.epochs + 1):
        train_loss = train(model, loader, optimizer, criterion)
        accuracy = test(model, test_x, test_labels)
        scheduler.step()
        print(f"epoch {epoch}: loss {train_loss:.4f}, accuracy {accuracy:.4f}")
        if accuracy > best:
            best = accuracy
            torch.save(model.state_dict(), args.save)
    right = confusion_matrix(test_labels, predict(model, test_x)).diagonal()
    print(f"best accuracy {best:.4f}, right by digit {right.tolist()}")


if __name__ == "__main__":
    main()
