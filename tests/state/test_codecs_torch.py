"""Torch programs continue bit for bit from a restored state."""

from __future__ import annotations

import collections
import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

from torch.utils.data import DataLoader, TensorDataset  # noqa: E402
from torch.utils.data import dataloader as loader_module  # noqa: E402

from flor_trace.state.codecs import dataloader  # noqa: E402
from flor_trace.state.rng import rng_roots  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    dataloader.watch(loader_module)
    yield
    torch.set_num_threads(threads)


class Meter:
    def __init__(self):
        self.values, self.best = [], float("inf")

    def add(self, value):
        self.values.append(value)
        self.best = min(self.best, value)


class Averaged:
    def __init__(self, model):
        self.shadow = {k: v.detach().clone() for k, v in model.named_parameters()}

    def update(self, model):
        for name, value in model.named_parameters():
            self.shadow[name].mul_(0.9).add_(value.detach(), alpha=0.1)


class Trainer:
    def __init__(self, optimizer, scheduler):
        self.model = nn.Sequential(
            nn.Linear(10, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.ReLU(), nn.Linear(16, 3)
        )
        self.model.register_buffer("steps", torch.zeros(()), persistent=False)
        self.optimizer = optimizer(self.model.parameters())
        self.scheduler = scheduler(self.optimizer)
        self.average = Averaged(self.model)
        self.meter = Meter()
        self.history = collections.defaultdict(list)
        self.noise = np.random.default_rng()
        self.recent = collections.deque(maxlen=20)
        inputs = torch.randn(96, 10)
        self.data = TensorDataset(inputs, (inputs.sum(1) > 0).long())
        self.loader = DataLoader(self.data, batch_size=16, shuffle=True)
        self.callbacks = [lambda epoch: self.history["seen"].append(epoch)]

    def step(self, inputs, targets):
        inputs = inputs + 0.01 * torch.from_numpy(
            self.noise.standard_normal(inputs.shape).astype("f")
        )
        if random.random() < 0.3:
            inputs = inputs * (1 + 0.1 * np.random.rand())
        loss = nn.functional.cross_entropy(self.model(inputs), targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.average.update(self.model)
        self.meter.add(loss.item())
        self.recent.append(loss.item())
        self.model.steps += 1

    def epoch(self, number):
        self.model.train()
        for inputs, targets in self.loader:
            self.step(inputs, targets)
        self.scheduler.step()
        self.history["lr"].append(self.scheduler.get_last_lr()[0])
        for callback in self.callbacks:
            callback(number)


def seed(number):
    torch.manual_seed(number)
    random.seed(number)
    np.random.seed(number)


OPTIMIZERS = {
    "adamw": lambda params: torch.optim.AdamW(params, lr=1e-2),
    "momentum": lambda params: torch.optim.SGD(params, lr=1e-1, momentum=0.9, nesterov=True),
    "fused": lambda params: torch.optim.Adam(params, lr=1e-2, fused=True, amsgrad=True),
    "lbfgs-like": lambda params: torch.optim.RMSprop(params, lr=1e-2, centered=True),
}
SCHEDULERS = {
    "cosine": lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5),
    "lambda": lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 0.9**n),
    "cyclic": lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.1, total_steps=10, cycle_momentum=False
    ),
}


@pytest.mark.parametrize(
    ("optimizer", "scheduler"),
    [
        ("adamw", "cosine"),
        ("momentum", "lambda"),
        ("fused", "cosine"),
        ("lbfgs-like", "lambda"),
        ("adamw", "cyclic"),
    ],
)
def test_a_trainer_continues_bit_for_bit_at_an_epoch(save, digest_of, optimizer, scheduler):
    def make(number):
        seed(number)
        return {"trainer": Trainer(OPTIMIZERS[optimizer], SCHEDULERS[scheduler]), **rng_roots()}

    recorded = make(1)
    saved = []
    for epoch in range(4):
        saved.append(save(recorded))
        recorded["trainer"].epoch(epoch)
    final = digest_of(recorded)
    for start in (0, 1, 3):
        live = make(99)
        trainer, model, parameters = live["trainer"], live["trainer"].model, parts(live)
        made = saved[start].restore(live)
        assert digest_of(made) == saved[start].digests
        assert (made["trainer"], live["trainer"].model, parts(live)) == (trainer, model, parameters)
        for epoch in range(start, 4):
            trainer.epoch(epoch)
        assert digest_of(made) == final


def parts(live):
    return [id(parameter) for parameter in live["trainer"].model.parameters()]


@pytest.mark.parametrize("own_generator", [False, True])
@pytest.mark.parametrize("start", [0, 1, 5, 6, 8])
def test_a_loader_iterator_in_a_local_continues_in_the_middle(
    save, digest_of, start, own_generator
):
    def make(number):
        seed(number)
        trainer = Trainer(OPTIMIZERS["adamw"], SCHEDULERS["cosine"])
        generator = torch.Generator().manual_seed(number) if own_generator else None
        loader = DataLoader(trainer.data, batch_size=16, shuffle=True, generator=generator)
        batches = iter(loader)
        torch.randn(3)  # drawn between the making of the iterator and its first batch
        return {"trainer": trainer, "loader": loader, "batches": batches, **rng_roots()}

    def go(state, count):
        for _ in range(count):
            try:
                batch = next(state["batches"])
            except StopIteration:
                state["batches"] = iter(state["loader"])
                batch = next(state["batches"])
            state["trainer"].step(*batch)

    recorded = make(1)
    go(recorded, start)
    saved = save(recorded)
    assert saved.captured.opaque == []
    go(recorded, 10)
    live = saved.restore(make(7))
    assert digest_of(live) == saved.digests
    go(live, 10)
    final = {name: value for name, value in digest_of(recorded).items() if name != "batches"}
    assert {name: value for name, value in digest_of(live).items() if name != "batches"} == final


def test_tensors_that_stand_for_others_are_opaque(save):
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = torch.ones(3)
    graph = save({"fake": fake, "real": torch.ones(2)})
    assert len(graph.graph.opaque) == 1


@pytest.mark.parametrize(
    "dtype",
    ["float32", "float64", "float16", "bfloat16", "int8", "uint8", "int64", "bool", "complex64"],
)
def test_a_tensor_comes_back_bit_for_bit(round_trip, dtype):
    tensor = torch.randn(3, 4).mul(3).to(getattr(torch, dtype))
    for live in (None, torch.zeros(3, 4, dtype=tensor.dtype), torch.zeros(2)):
        made = round_trip(tensor, live)
        assert made.dtype == tensor.dtype
        assert torch.equal(made, tensor)


LAYOUTS = [
    lambda: torch.arange(6.0).reshape(2, 3).T,
    lambda: torch.arange(10.0)[2:8:2],
    lambda: torch.tensor(3.0),
    lambda: torch.zeros(0, 3),
    lambda: torch.arange(3.0).expand(2, 3),
    lambda: torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    lambda: torch.eye(3).to_sparse(),
    lambda: torch.quantize_per_tensor(torch.randn(4), 0.1, 0, torch.qint8),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", LAYOUTS)
def test_a_tensor_comes_back_with_its_layout(round_trip, make):
    tensor = make()
    made = round_trip(tensor)
    assert made.shape == tensor.shape
    assert made.layout == tensor.layout
    if tensor.layout == torch.strided:
        assert made.stride() == tensor.stride()
    assert torch.equal(
        made.dequantize() if made.is_quantized else made.to_dense(),
        tensor.dequantize() if tensor.is_quantized else tensor.to_dense(),
    )


def test_tied_weights_stay_tied(save, digest_of):
    def make():
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        model[1].weight = model[0].weight
        return model

    saved, live = save({"m": make()}), make()
    saved.restore({"m": live})
    assert live[0].weight is live[1].weight
    assert digest_of({"m": live}) == saved.digests


def test_views_share_storage_with_their_base_and_with_numpy(save, digest_of):
    base = torch.zeros(6)
    saved = save({"x": [base, base[2:4], base.numpy(), base.view(2, 3)]})
    assert len(saved.captured.leaves) == 1
    made = saved.restore({})
    whole, view, array, table = made["x"]
    whole[2] = 7
    assert (float(view[0]), float(array[2]), float(table[0, 2])) == (7, 7, 7)
    whole[2] = 0
    assert digest_of(made) == saved.digests


def test_gradients_come_back_or_go_away(save):
    def make(with_gradient):
        layer = nn.Linear(2, 2)
        if with_gradient:
            layer(torch.ones(1, 2)).sum().backward()
        return layer

    with_gradient, without = make(True), make(False)
    expected = with_gradient.weight.grad.clone()
    live = make(False)
    save({"m": with_gradient}).restore({"m": live})
    assert torch.equal(live.weight.grad, expected)
    save({"m": without}).restore({"m": live})
    assert live.weight.grad is None


def test_a_digest_does_not_depend_on_autograd_history(save, digest_of):
    weight = torch.ones(2, requires_grad=True)
    loss = (weight * 2).sum()
    digest = digest_of({"loss": loss})
    assert digest == digest_of({"loss": loss.detach().clone()})
    saved = save({"loss": loss})
    assert saved.graph.detached == ["loss"]
    made = saved.restore({"loss": (weight * 3).sum()})["loss"]
    assert made.grad_fn is None
    assert float(made) == 4.0


def test_frozen_parameters_are_frozen_again(save):
    frozen, live = nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 2)
    save({"m": frozen}).restore({"m": live})
    assert not any(parameter.requires_grad for parameter in live.parameters())


def test_optimizer_state_is_keyed_by_the_live_parameters(save):
    def make():
        layer = nn.Linear(2, 2)
        return {"model": layer, "optimizer": torch.optim.Adam(layer.parameters())}

    recorded, live = make(), make()
    recorded["model"](torch.ones(1, 2)).sum().backward()
    recorded["optimizer"].step()
    save(recorded).restore(live)
    assert set(live["optimizer"].state) == set(live["model"].parameters())


def test_half_precision_moments_keep_their_type(save):
    def make():
        weight = nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))
        return {"w": weight, "state": {weight: {"avg": torch.full((2,), 1 / 3)}}}

    recorded, live = make(), make()
    live["state"].clear()
    made = save(recorded).restore(live)
    assert made["state"][live["w"]]["avg"].dtype == torch.float32


def test_torch_values_come_back(round_trip):
    value = [torch.float32, torch.device("cpu"), torch.Size([2, 3]), torch.strided, torch.relu]
    assert round_trip(value) == value


def test_named_results_of_torch_come_back(round_trip):
    made = round_trip(torch.tensor([[1.0, 3.0]]).max(dim=1))
    assert made.indices.tolist() == [1]


def test_generators_continue(save):
    one, two = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    saved = save({"g": one})
    expected = torch.rand(3, generator=one)
    saved.restore({"g": two})
    assert torch.equal(torch.rand(3, generator=two), expected)


def test_averaged_models_and_scalers_come_back(save, digest_of):
    def make(number):
        torch.manual_seed(number)
        model = nn.Linear(2, 2)
        average = torch.optim.swa_utils.AveragedModel(model)
        average.update_parameters(model)
        return {"model": model, "average": average, "scaler": torch.amp.GradScaler(enabled=False)}

    saved = save(make(1))
    assert digest_of(saved.restore(make(2))) == saved.digests


def test_a_compiled_model_continues_bit_for_bit(save, digest_of):
    def make(number):
        seed(number)
        model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
        compiled = torch.compile(model, backend="eager")
        return {
            "model": model,
            "compiled": compiled,
            "optimizer": torch.optim.SGD(compiled.parameters(), lr=0.1, momentum=0.9),
            **rng_roots(),
        }

    def go(state, steps):
        for _ in range(steps):
            state["optimizer"].zero_grad()
            state["compiled"](torch.ones(2, 4)).square().sum().backward()
            state["optimizer"].step()

    recorded = make(1)
    go(recorded, 2)
    saved = save(recorded)
    assert saved.captured.opaque == []
    go(recorded, 2)
    live = make(5)
    saved.restore(live)
    go(live, 2)
    final = digest_of({"model": recorded["model"]})
    assert digest_of({"model": live["model"]}) == final
