"""Programs whose objects appear, vanish and change shape go on bit for bit from every state."""

from __future__ import annotations

from typing import ClassVar

import pytest

from flor_trace.errors import RestoreError

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]


def train(model, optimizer, steps=2, width=4):
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        dtype = next(model.parameters()).dtype
        loss = model(torch.randn(6, width, dtype=dtype)).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses


def make_state(number, *layers):
    torch.manual_seed(number)
    model = nn.Sequential(*(layers or (nn.Linear(4, 5), nn.Dropout(0.2), nn.Linear(5, 2))))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=0.01)}


def test_a_lazy_module_is_initialised_in_the_first_step(continues):
    def make(number):
        torch.manual_seed(number)
        model = nn.Sequential(nn.LazyLinear(5), nn.ReLU(), nn.LazyBatchNorm1d(), nn.LazyLinear(1))
        return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1)}

    saved = continues(make, lambda state, _: (train(**state), list(state["model"].parameters())))
    kinds = [{node.kind for node in each.captured.nodes} for each in saved]
    assert ["uninitialized tensor" in each for each in kinds] == [True, False, False]


def test_optimizer_state_before_the_first_step_is_empty_again(continues):
    def advance(state, _):
        seen = len(state["optimizer"].state)
        return seen, train(**state)

    continues(make_state, advance, keeps=lambda state: list(state["model"].parameters()))


def test_a_group_of_parameters_is_added_when_layers_are_unfrozen(continues):
    def make(number):
        torch.manual_seed(number)
        model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
        model[0].requires_grad_(False)
        return {"model": model, "optimizer": torch.optim.AdamW(model[1].parameters(), lr=0.1)}

    def advance(state, number):
        if number == 1:
            state["model"][0].requires_grad_(True)
            state["optimizer"].add_param_group(
                {"params": state["model"][0].parameters(), "lr": 0.5}
            )
        return train(**state), [p.requires_grad for p in state["model"].parameters()]

    continues(make, advance, rounds=4, keeps=lambda state: list(state["model"].parameters()))


def test_a_model_wrapped_by_the_compiler_on_the_way_is_refused_where_there_is_none(save):
    state = make_state(1)
    plain = save(state)
    compiled = {**state, "model": torch.compile(state["model"], backend="eager")}
    saved = save(compiled)
    train(**compiled)
    assert saved.restore(dict(compiled))["model"] is compiled["model"]
    assert plain.restore(dict(state))["model"] is state["model"]
    with pytest.raises(RestoreError, match="closes over were not saved"):
        saved.restore(make_state(9))
    torch._dynamo.reset()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_changes_its_type_on_the_way(continues, dtype):
    def advance(state, number):
        if number == 1:
            state["model"].to(dtype)
        return train(**state), [p.dtype for p in state["model"].parameters()]

    def make(number):
        state = make_state(number)
        return {**state, "optimizer": torch.optim.SGD(state["model"].parameters(), lr=0.1)}

    continues(make, advance)  # a parameter of another type is another object


def test_a_parameter_is_replaced_by_a_new_object(continues):
    def advance(state, number):
        if number == 1:
            state["model"][0].weight = nn.Parameter(torch.randn(5, 4))
            state["optimizer"].param_groups[0]["params"][0] = state["model"][0].weight
        return train(**state), state["model"][0].weight

    continues(make_state, advance)


def test_a_module_grows_and_shrinks(continues):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(4, 4)])
            self.gains = nn.ParameterDict()

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            for gain in self.gains.values():
                x = x * gain
            return x

    def advance(state, number):
        model = state["model"][0]
        if number == 1:
            model.layers.append(nn.Linear(4, 4))
            model.gains["a"] = nn.Parameter(torch.ones(4))
            state["optimizer"].add_param_group({"params": [*model.layers[1].parameters()]})
        if number == 2:
            del model.layers[0]
            model.register_buffer("late", torch.ones(1), persistent=False)
        return train(**state), len(model.layers), len(list(model.buffers()))

    continues(lambda number: make_state(number, Net()), advance, rounds=4)


class Watch:
    """A hook with a memory."""

    def __init__(self):
        self.seen = []

    def __call__(self, module, inputs, output):
        self.seen.append(output.detach().mean())
        return output * 1.5


def test_hooks_and_what_they_remember_come_back_and_go(continues):
    def make(number):
        state = {**make_state(number), "watch": Watch()}
        state["handle"] = state["model"][0].register_forward_hook(state["watch"])
        return state

    def advance(state, number):
        if number == 2:
            state["handle"].remove()
        return train(state["model"], state["optimizer"]), list(state["watch"].seen)

    continues(make, advance, rounds=4)


def test_lists_and_tables_grow_with_what_callbacks_close_over(continues):
    def make(number):
        history, best = [], {"loss": 9.0}

        def remember(loss):
            history.append(loss)
            best["loss"] = min(best["loss"], loss)
            make.calls = getattr(make, "calls", 0)
            return len(history)

        return {"callbacks": [remember], "history": history, "best": best, "extra": None}

    def advance(state, number):
        if number == 1:
            state["callbacks"].append(state["history"].append)
            state["extra"] = {"first": state["history"]}
        results = [callback(1.0 / (number + 1)) for callback in state["callbacks"]]
        return results, list(state["history"]), dict(state["best"])

    continues(make, advance, rounds=4, keeps=lambda state: [state["history"], state["best"]])


def test_counters_in_classes_and_in_closures_are_state(continues):
    def make(number):
        Counting.made, Counting.registry = 0, {}
        return {"make": Counting, "tick": ticker()}

    def advance(state, number):
        state["registry" if number else "first"] = state["make"](f"{number}")
        return Counting.made, list(Counting.registry), state["tick"]()

    continues(make, advance, rounds=4)


class Counting:
    made = 0
    registry: ClassVar[dict] = {}

    def __init__(self, name):
        Counting.made += 1
        Counting.registry[name] = self


def ticker():
    count = 0

    def tick():
        nonlocal count
        count += 1
        return count

    return tick
