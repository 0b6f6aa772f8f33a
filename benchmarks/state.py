"""What does looking at the state cost?  Ratios in one run, of the least CPU times of many turns.

    python benchmarks/state.py [--quick] [--json] [--part hash|tensors|model ...]

hash: large buffers, against the fastest sum of the same bytes, which are in no cache (needs cc).
tensors: 10,000 small ones, against the Python that the C extension stands for.
containers: a million plain scalars, against the Python twin and pickle.
model: 10,000 parameters with gradients and Adam's state, against Python and state_dict().
"""

from __future__ import annotations

import argparse
import ctypes
import json
import pickle
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Row, Way, in_turns

from flor_trace import _pure_hash, _pure_pack
from flor_trace._speedups import digest_many
from flor_trace.state.capture import _Walk, capture
from flor_trace.state.codecs.registry import load_libraries, plan_for
from flor_trace.state.digests import leaf_bytes
from flor_trace.state.packmemory import PackMemory

SUM = Path(__file__).with_name("readsum.c")


def least(rounds: int, **ways: Callable[[], object]) -> dict[str, float]:
    """The least seconds of each way; the machine is shared, and nothing makes it faster."""
    times = in_turns([Way(name, run) for name, run in ways.items()], rounds)
    return {name: min(each) for name, each in times.items()}


def read_sum() -> Callable[[Any], object]:
    """The sum in C, compiled here; NumPy's where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return np.sum
    with tempfile.TemporaryDirectory() as directory:
        library = Path(directory) / "readsum.so"
        flags = ("-O3", "-Wno-psabi", "-shared", "-fPIC", "-o", str(library))
        subprocess.run([compiler, *flags, str(SUM)], check=True)
        function = ctypes.PyDLL(str(library)).read_sum
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return lambda array: function(array.ctypes.data, array.size)


def hash_rows(quick: bool) -> Iterator[Row]:
    """Large buffers, and many pieces of one."""
    words = np.arange((1 if quick else 32) << 20, dtype="u8")
    total = read_sum()
    for size in (words.nbytes, 1 << 20, 1 << 16):
        parts = [words[n : n + size // 8] for n in range(0, words.size, size // 8)]
        found = least(
            3 if quick else 15,
            sum=lambda: total(words),
            ours=lambda parts=parts: digest_many(parts),
            package=lambda parts=parts: _pure_hash.digest_many(parts),
        )
        yield {
            "subject": f"{words.nbytes >> 20} MB in pieces of {size >> 10} KB",
            "of the sum's speed": found["sum"] / found["ours"],
            "of the xxhash package's": found["package"] / found["ours"],
        }


def tensor_rows(quick: bool) -> Iterator[Row]:
    """Small tensors: their nodes, their memory, and the digest of that."""
    import torch

    load_libraries()
    count = 500 if quick else 10_000
    for name, wrap in (("tensors", torch.Tensor.clone), ("parameters", torch.nn.Parameter)):
        tensors = [wrap(torch.rand(256)) for _ in range(count)]
        plan = plan_for(type(tensors[0]))
        by_python = type(plan.codec).capture.__get__(plan.codec)

        def walk(
            capture_one: Any, digests: Any, tensors: Any = tensors, plan: Any = plan
        ) -> Callable[[], object]:
            def run() -> object:
                at: Any = _Walk((), 10**8, lambda _: False)
                for tensor in tensors:
                    capture_one(at, tensor, plan)
                return digests(at.leaves)

            return run

        found = least(
            3 if quick else 15,
            ours=walk(plan.codec.capture, digest_many),
            python=walk(by_python, _pure_hash.digest_many),
            numpy=lambda t=tensors: _pure_hash.digest_many([each.detach().numpy() for each in t]),
        )
        yield {
            "subject": f"{count} {name} of 1 KB: node, memory and digest",
            "ns each": found["ours"] / count * 1e9,
            "Python / ours": found["python"] / found["ours"],
            "hashing tensor.numpy() / ours": found["numpy"] / found["ours"],
        }


def model_rows(quick: bool) -> Iterator[Row]:
    """A model of many layers with its optimizer."""
    import torch

    layers = 100 if quick else 5000
    model = torch.nn.ModuleList([torch.nn.Linear(15, 15) for _ in range(layers)])
    optimizer = torch.optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    codec: Any = plan_for(torch.Tensor).codec
    ours = codec.capture

    def by(way: Any) -> Callable[[], object]:
        def run() -> object:
            codec.capture = way
            try:
                return digest_many(leaf_bytes(capture({"model": model, "optimizer": optimizer})))
            finally:
                codec.capture = ours

        return run

    found = least(
        2 if quick else 7,
        ours=by(ours),
        python=by(type(codec).capture.__get__(codec)),
        state_dict=lambda: (model.state_dict(), optimizer.state_dict()),
    )
    yield {
        "subject": f"{2 * layers} parameters, gradients and Adam: captured and hashed",
        "µs a parameter": found["ours"] / (2 * layers) * 1e6,
        "tensors in Python / ours": found["python"] / found["ours"],
        "state_dict() alone / ours": found["state_dict"] / found["ours"],
    }


def plain_containers(count: int) -> dict[str, Any]:
    """Containers of about `count` scalars each."""
    return {
        "a list of floats": [n * 0.5 for n in range(count)],
        "a list of lists of 100 floats": [
            [n * 0.5 for n in range(100)] for _ in range(count // 100)
        ],
        "a list of tuples (int, float, str)": [
            (n, n * 0.5, f"text {n}") for n in range(count // 3)
        ],
        "a list of dicts of five": [
            {"id": n, "x": n * 0.5, "label": n % 3 == 0, "at": [n, n + 1]}
            for n in range(count // 5)
        ],
        "a set of ints": {n * 7919 for n in range(count)},
    }


def container_rows(quick: bool) -> Iterator[Row]:
    """Plain containers, captured; again when nothing changed; and by the Python twin."""
    count = 10_000 if quick else 1_000_000
    for name, value in plain_containers(count).items():
        memory = PackMemory()
        for _ in range(3):
            capture({"x": value}, memory=memory)
        found = least(
            2 if quick else 5,
            ours=lambda value=value: capture({"x": value}),
            again=lambda value=value, memory=memory: capture({"x": value}, memory=memory),
            twin=lambda value=value: _pure_pack.Packer({}, (), frozenset()).pack(list(value)),
            pickled=lambda value=value: pickle.dumps(value, 5),
        )
        yield {
            "subject": f"{name}, {count} scalars: captured",
            "ms": found["ours"] * 1e3,
            "ms when unchanged": found["again"] * 1e3,
            "Python twin / ours": found["twin"] / found["ours"],
            "pickle / ours": found["pickled"] / found["ours"],
        }


PARTS = {
    "hash": hash_rows,
    "tensors": tensor_rows,
    "model": model_rows,
    "containers": container_rows,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--part", action="append", choices=PARTS)
    options = parser.parse_args()
    load_libraries()
    rows = [row for part in options.part or PARTS for row in PARTS[part](options.quick)]
    if options.json:
        print(json.dumps(rows, indent=1))
    for row in rows if not options.json else ():
        numbers = (f"{name} {value:.2f}" for name, value in row.items() if name != "subject")
        print(f"{row['subject']}: {', '.join(numbers)}")


if __name__ == "__main__":
    main()
