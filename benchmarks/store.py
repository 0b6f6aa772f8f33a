"""How small do states get, and what does that cost?  Of models trained here for a while.

    python benchmarks/store.py [--quick] [--json] [--part codec|bytes ...]

codec: the last state, by itself and with the one before it; CPU time of encoding and decoding.
bytes: the store after an epoch and after all, against torch.save() of model and optimizer each.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from measuring import Row, Way, in_turns
from torch import nn

from flor_trace.store import encoding
from flor_trace.store.encoding import Encoder, Numbers
from flor_trace.store.framing import HEADER_SIZE, Base, Key, key_for, parse_header, unframe
from flor_trace.store.layout import open_store
from flor_trace.store.packs import LARGEST_WHOLE, PackWriter

CONTEXT, WIDTH = 64, 192

State = dict[str, memoryview]


@dataclass
class Trained:
    """A model in training: `epoch` takes it further."""

    name: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    step: Callable[[], torch.Tensor]
    steps: int

    def epoch(self) -> None:
        for _ in range(self.steps):
            self.optimizer.zero_grad()
            self.step().backward()
            self.optimizer.step()

    def state(self) -> State:
        """A copy of every tensor there is."""
        found = {f"model.{name}": each for name, each in self.model.state_dict().items()}
        for number, held in self.optimizer.state_dict()["state"].items():
            tensors = ((name, each) for name, each in held.items() if torch.is_tensor(each))
            found |= {f"optimizer.{number}.{name}": each for name, each in tensors}
        return {name: memoryview(_bytes(each)) for name, each in found.items()}

    def saved(self) -> int:
        """How many bytes torch.save() writes."""
        file = io.BytesIO()
        torch.save([self.model.state_dict(), self.optimizer.state_dict()], file)
        return len(file.getvalue())


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


class Language(nn.Module):
    """A small GPT."""

    def __init__(self, layers: int, vocabulary: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, WIDTH)
        self.places = nn.Embedding(CONTEXT, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, 6, 4 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, vocabulary, bias=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(CONTEXT))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        mixed = self.tokens(tokens) + self.places.weight
        return self.head(self.norm(self.layers(mixed, mask=self.mask, is_causal=True)))


@functools.cache
def text(vocabulary: int) -> torch.Tensor:
    """The words of the standard library's sources, the rare ones taken together."""
    sources = sorted(Path(argparse.__file__).parent.glob("*.py"))[:60]
    words = " ".join(path.read_text(errors="replace") for path in sources).split()
    numbers: dict[str, int] = {}
    for word in words:
        numbers.setdefault(word, len(numbers))
    return torch.tensor([min(numbers[word], vocabulary - 1) for word in words])


def language(name: str, quick: bool, kind: torch.dtype, frozen: bool = False) -> Trained:
    torch.manual_seed(0)
    layers, vocabulary = (1, 512) if quick else (3, 4096)
    model = Language(layers, vocabulary).to(kind)
    if frozen:
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        model.head = nn.Linear(WIDTH, 4, bias=False)
    words, loss = text(vocabulary), nn.CrossEntropyLoss()

    def step() -> torch.Tensor:
        at = torch.randint(len(words) - CONTEXT - 1, (8,))
        seen = torch.stack([words[i : i + CONTEXT + 1] for i in at])
        wanted = seen[:, 1:] % 4 if frozen else seen[:, 1:]
        return loss(model(seen[:, :-1]).flatten(0, 1).float(), wanted.flatten())

    trained = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    return Trained(name, model, optimizer, step, 2 if quick else 60)


def perceptron(name: str, quick: bool) -> Trained:
    torch.manual_seed(0)
    width = 64 if quick else 768
    model = nn.Sequential(nn.Linear(256, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
    model.append(nn.Linear(width, 10))
    teacher, loss = torch.randn(256, 10), nn.CrossEntropyLoss()

    def step() -> torch.Tensor:
        seen = torch.randn(64, 256)
        return loss(model(seen), (seen @ teacher).argmax(1))

    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return Trained(name, model, optimizer, step, 5 if quick else 150)


def table(name: str, quick: bool) -> Trained:
    torch.manual_seed(0)
    rows = 1000 if quick else 50_000
    model = nn.Sequential(nn.EmbeddingBag(rows, 64, sparse=True), nn.Linear(64, 2))
    loss = nn.CrossEntropyLoss()

    def step() -> torch.Tensor:
        seen = (torch.rand(32, 8) ** 3 * rows).long()
        return loss(model(seen), seen.sum(1) % 2)

    return Trained(
        name, model, torch.optim.SGD(model.parameters(), lr=0.5), step, 5 if quick else 100
    )


SUBJECTS: dict[str, Callable[[str, bool], Trained]] = {
    "GPT fp32, AdamW": lambda name, quick: language(name, quick, torch.float32),
    "GPT bf16, AdamW": lambda name, quick: language(name, quick, torch.bfloat16),
    "perceptron fp32, SGD with momentum": perceptron,
    "sparse embedding fp32, SGD": table,
    "GPT fp32, all but the head frozen": lambda name, quick: language(
        name, quick, torch.float32, frozen=True
    ),
}


def pieces(data: memoryview) -> list[memoryview]:
    """What is encoded by itself, as `PackWriter` does."""
    return encoding.blocks_of(data) if len(data) > LARGEST_WHOLE else [data]


@dataclass(frozen=True)
class Job:
    """A buffer as it is given to the encoder, and what it is given before."""

    data: memoryview
    pieces: list[memoryview]
    keys: list[Key]
    bases: list[Base | None]

    @classmethod
    def of(cls, data: memoryview, before: memoryview | None) -> Job:
        parts = pieces(data)
        bases: list[Base | None] = [None] * len(parts)
        if before is not None and before != data:
            bases = [Base(key_for(old), old) for old in pieces(before)]
        return cls(data, parts, encoding.keys_for(parts), bases)

    def encode(self, encoder: Encoder) -> Iterator[encoding.Encoded]:
        numbers = Numbers.among(self.data)
        for piece, key, base in zip(self.pieces, self.keys, self.bases, strict=True):
            yield encoder.encode(piece, key, numbers, base, 0)


def codec_rows(quick: bool) -> Iterator[Row]:
    """Ratios, and GB of state per CPU second of one core."""
    for name, make in SUBJECTS.items():
        trained = make(name, quick)
        trained.epoch()
        before = trained.state()
        trained.epoch()
        state = trained.state()
        alone = [Job.of(data, None) for data in state.values()]
        # What is the same as before is not encoded again.
        both = [Job.of(data, before[name]) for name, data in state.items() if data != before[name]]
        for what, jobs in ((", by itself", alone), (", against the epoch before", both)):
            yield {"subject": name + what, **measured(jobs, 2 if quick else 9)}


def measured(jobs: Sequence[Job], rounds: int) -> Row:
    """What encoding and decoding give and cost."""
    encoder = Encoder()
    total = sum(len(job.data) for job in jobs)
    stored = []
    for job in jobs:
        for found, base in zip(job.encode(encoder), job.bases, strict=True):
            before = None if base is None else bytes(base.data)
            stored.append((parse_header(found.header), b"".join(found.body), before))
    times = in_turns(
        [
            Way("copy", lambda: [bytes(job.data) for job in jobs]),
            Way("encode", lambda: [all(job.encode(encoder)) for job in jobs]),
            Way("decode", lambda: [unframe(h, b, lambda _k, _d, x=x: x) for h, b, x in stored]),
        ],
        rounds,
    )
    speed = {way: total / min(found) / 1e9 for way, found in times.items()}
    return {
        "MB": total / 1e6,
        "ratio": total / sum(len(body) + HEADER_SIZE for _, body, _ in stored),
        "encode GB/s": speed["encode"],
        "decode GB/s": speed["decode"],
        "copy GB/s": speed["copy"],
    }


def bytes_rows(quick: bool) -> Iterator[Row]:
    """What a recorder stores: each tensor with what it was an epoch before."""
    epochs = 3 if quick else 20
    for name, make in SUBJECTS.items():
        trained = make(name, quick)
        saved, sizes = 0, []
        with tempfile.TemporaryDirectory() as directory:
            writer = PackWriter(open_store(Path(directory) / "store", create=True), "run")
            before: dict[str, Base] = {}
            for _ in range(epochs):
                trained.epoch()
                for each, data in trained.state().items():
                    key = key_for(data)
                    writer.put(data, key=key, base=before.get(each))
                    before[each] = Base(key, data)
                writer.flush()
                sizes.append(writer.bytes_written)
                saved += trained.saved()
            writer.close()
        yield {
            "subject": f"{name}, {epochs} epochs",
            "MB in the store": sizes[-1] / 1e6,
            "torch.save / store": saved / sizes[-1],
            "after one epoch": saved / epochs / sizes[0],
            "% of the first, per later epoch": 100 * (sizes[-1] / sizes[0] - 1) / (epochs - 1),
        }


PARTS = {"codec": codec_rows, "bytes": bytes_rows}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--part", action="append", choices=PARTS)
    options = parser.parse_args()
    torch.set_num_threads(1)  # others would wait for a turn where the machine is shared
    rows = [row for part in options.part or PARTS for row in PARTS[part](options.quick)]
    if options.json:
        print(json.dumps(rows, indent=1))
    for row in rows if not options.json else ():
        numbers = (f"{name} {value:.2f}" for name, value in row.items() if name != "subject")
        print(f"{row['subject']}: {', '.join(numbers)}")


if __name__ == "__main__":
    main()
