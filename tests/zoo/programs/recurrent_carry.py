"""A recurrent language model whose hidden state is carried from piece to piece, detached."""

import torch
from torch import nn

TEXT = "the quick brown fox jumps over the lazy dog and then the dog jumps over the fox " * 6


class Model(nn.Module):
    def __init__(self, symbols, width=20):
        super().__init__()
        self.embed = nn.Embedding(symbols, width)
        self.rnn = nn.LSTM(width, width, num_layers=2, dropout=0.2, batch_first=True)
        self.out = nn.Linear(width, symbols)
        self.out.weight = self.embed.weight

    def forward(self, x, hidden):
        found, hidden = self.rnn(self.embed(x), hidden)
        return self.out(found), hidden


def detach(hidden):
    return tuple(h.detach() for h in hidden)


def main():
    torch.manual_seed(40)
    symbols = sorted(set(TEXT))
    code = {symbol: n for n, symbol in enumerate(symbols)}
    data = torch.tensor([code[c] for c in TEXT])
    batch, span = 4, 16
    data = data[: len(data) // batch * batch].view(batch, -1)
    model = Model(len(symbols))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    hidden = None
    for piece in range(0, data.size(1) - span - 1, span):
        x, y = data[:, piece : piece + span], data[:, piece + 1 : piece + span + 1]
        if hidden is not None:
            hidden = detach(hidden)
        logits, hidden = model(x, hidden)
        loss = nn.functional.cross_entropy(logits.reshape(-1, len(symbols)), y.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        optimizer.step()
        print(f"piece {piece} loss {loss.item()!r} |h| {hidden[0].norm().item():.6f}")
    model.eval()
    guess = model(data[:1, :10], None)[0].argmax(-1)[0]
    print("".join(symbols[n] for n in guess))


main()
