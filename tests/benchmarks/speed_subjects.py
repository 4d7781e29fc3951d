"""What the speed benchmark measures: steps by hand and in torch, whole checks, and what people would write instead."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise, repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from handgrad import mlp
from handgrad.compare.checks.gradients import check_gradients
from handgrad.compare.experiment.data import Data, load
from handgrad.compare.experiment.run import Experiment, run
from handgrad.compare.experiment.sides import by_hand, epoch_orders, hand_network, initial_parameters
from handgrad.manual.network import backward, cost, forward
from tests.benchmarks.networks import Case

__all__ = [
    "Fixture",
    "assert_close_loop",
    "derivation_of",
    "fixture",
    "generic",
    "gradcheck",
    "parameters",
    "random_experiments",
    "step_by_hand",
    "step_in_torch",
    "whole_run",
]

Fixture = tuple[Experiment, tuple[np.ndarray, np.ndarray]]
Act = Callable[[], object]
MODULES = {"tanh": nn.Tanh, "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "identity": nn.Identity}


def fixture(
    layers: Sequence[int],
    batch_size: int,
    steps: int = 1,
    hidden: str = "tanh",
    batches: int = 1,
    optimizer: str = "momentum",
) -> Fixture:
    """The notes' network of these widths, and random data for so many different batches."""
    rng = np.random.default_rng(0)
    experiment = Experiment(
        layers=tuple(layers),
        activations=(*[hidden] * (len(layers) - 2), "sigmoid"),
        batch_size=batch_size,
        steps=steps,
        optimizer=optimizer,
    )
    X = rng.standard_normal((batch_size * batches, layers[0]))
    return experiment, (X, rng.integers(0, 2, (len(X), layers[-1])).astype(float))


def parameters(experiment: Experiment) -> int:
    """How many numbers are trained."""
    return sum((n_in + 1) * n_out for n_in, n_out in pairwise(experiment.layers))


def step_by_hand(experiment: Experiment, source: tuple[np.ndarray, np.ndarray]) -> Act:
    """One training step of `manual`: select the batch, forward, cost, backward, update, recording everything."""
    orders = repeat(np.arange(len(source[0])))
    phases = by_hand(replace(experiment, steps=None), load(source), initial_parameters(experiment), orders)

    def step() -> None:
        while next(phases)[1] != "update":
            pass

    return step


def step_in_torch(experiment: Experiment, source: tuple[np.ndarray, np.ndarray]) -> Act:
    """One training step as people write it: torch.nn, a mean loss, autograd, SGD, with its momentum if it has one."""
    model = network_in_torch(experiment)
    beta = experiment.beta if experiment.optimizer == "momentum" else 0.0
    optimizer = torch.optim.SGD(model.parameters(), experiment.learning_rate, beta)
    X, y = map(torch.tensor, source)
    order = torch.arange(len(X))
    outputs, loss = model[:-1], nn.BCEWithLogitsLoss()

    def step() -> None:
        batch = order[: experiment.batch_size]
        optimizer.zero_grad()
        loss(outputs(X[batch]), y[batch]).backward()
        optimizer.step()

    return step


def network_in_torch(experiment: Experiment) -> nn.Sequential:
    """The network in torch.nn with the experiment's initial weights."""
    modules: list[nn.Module] = []
    for l, (n_in, n_out) in enumerate(pairwise(experiment.layers)):
        modules += [nn.Linear(n_in, n_out, dtype=torch.float64), MODULES[experiment.activations[l]]()]
    model = nn.Sequential(*modules)
    place(model, initial_parameters(experiment))
    return model


def place(model: nn.Sequential, params: dict[str, np.ndarray]) -> None:
    """Copy W1, b1, ... into the model."""
    with torch.no_grad():
        for l, linear in enumerate(model[::2], start=1):
            linear.weight.copy_(torch.from_numpy(np.array(params[f"W{l}"])))
            linear.bias.copy_(torch.from_numpy(np.array(params[f"b{l}"]).ravel()))


def whole_run(experiment: Experiment, source: tuple[np.ndarray, np.ndarray]) -> Act:
    """A whole run: both sides re-synchronised, both precisions, verdict, report."""
    data = load(source)
    return lambda: expect_ok(run(experiment, data))


def generic(experiment: Experiment, source: tuple[np.ndarray, np.ndarray]) -> Act:
    """check_gradients on the same network as a derivation that returns everything it computes."""
    derivation, params, batch, reference = derivation_of(experiment, source)
    return lambda: expect_ok(check_gradients(derivation, reference, params, batch))


def derivation_of(experiment: Experiment, source: tuple[np.ndarray, np.ndarray]) -> tuple[Any, ...]:
    """A network as a derivation that returns everything it computes, its parameters and batch, and the reference."""
    data, reference = load(source), mlp(experiment.layers, experiment.activations, experiment.loss, l2=experiment.l2)
    return Case(experiment, *source, 1.0).derivation(), initial_parameters(experiment), (data.X, data.Y), reference


def gradcheck(experiment: Experiment, source: tuple[np.ndarray, np.ndarray], *, fast: bool) -> Act:
    """torch.autograd.gradcheck on the hand-written forward and backward of the same network."""
    network, params, data = hand_network(experiment), initial_parameters(experiment), load(source)

    class Hand(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *tensors):
            ctx.params = {name: tensor.detach().numpy() for name, tensor in zip(params, tensors, strict=True)}
            ctx.cache = forward(network, ctx.params, data.X)
            return torch.tensor(cost(network, ctx.params, ctx.cache, data.Y)["J"])

        @staticmethod
        def backward(ctx, cotangent):
            gradients = backward(network, ctx.params, ctx.cache, data.X, data.Y)
            return tuple(cotangent * torch.from_numpy(gradients[f"d{name}"]) for name in params)

    tensors = [torch.tensor(array, requires_grad=True) for array in params.values()]
    return lambda: torch.autograd.gradcheck(Hand.apply, tensors, fast_mode=fast)


def expect_ok(report: object) -> None:
    """A comparison that fails is no measurement."""
    if report.findings:  # type: ignore[attr-defined]
        raise AssertionError(str(report))


def random_experiments(seed: int, number: int) -> list[Fixture]:
    """Small random networks: 1-3 layers, widths and batches up to 16, four steps."""
    rng = np.random.default_rng([seed, 8])
    found = []
    for _ in range(number):
        widths = rng.integers(1, 17, int(rng.integers(2, 5))).tolist()
        hidden = str(rng.choice(["tanh", "relu", "sigmoid"]))
        found.append(fixture(widths, int(rng.integers(1, 17)), 4, hidden, batches=4))
    return found


def assert_close_loop(experiment: Experiment, source: tuple[np.ndarray, np.ndarray]) -> None:
    """The same steps as people would compare them: an nn.Module beside the derivation, assert_close on every tensor.

    float64 only, torch restarted from the derivation's weights at each step, nothing replayed.
    """
    data: Data = load(source)
    params = initial_parameters(experiment)
    model = network_in_torch(experiment)
    optimizer = torch.optim.SGD(model.parameters(), experiment.learning_rate, experiment.beta, experiment.beta)
    for parameter in model.parameters():
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    step: dict[str, np.ndarray] = {}
    for _, phase, records in by_hand(experiment, data, params, epoch_orders(experiment, data.X.shape[1])):
        step |= records
        if phase == "update":
            for name, value in twin_step(model, optimizer, step).items():
                torch.testing.assert_close(torch.tensor(step[name]), value)
            place(model, {name: step[f"{name}_next"] for name in params})
            step = {}


def twin_step(model: nn.Sequential, optimizer: torch.optim.SGD, by_hand: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """One step of the module, and every tensor of it in the derivation's names and orientation."""
    a = torch.tensor(by_hand["X"].T)
    Y = torch.tensor(by_hand["Y"])
    kept: dict[str, Tensor] = {}
    for l, (linear, activation) in enumerate(zip(model[::2], model[1::2], strict=True), start=1):
        kept[f"Z{l}"] = z = linear(a)
        kept[f"A{l}"] = a = activation(z)
        z.retain_grad()
        a.retain_grad()
    losses = nn.functional.binary_cross_entropy_with_logits(z.T, Y, reduction="none")
    J = losses.sum() / Y.shape[1]
    optimizer.zero_grad()
    J.backward()
    optimizer.step()
    found = {"losses": losses, "J": J}
    for name, tensor in kept.items():
        found[name] = tensor.T
        if tensor.grad is not None:
            found[f"d{name}"] = tensor.grad.T
    for l, linear in enumerate(model[::2], start=1):
        for name, parameter in ((f"W{l}", linear.weight), (f"b{l}", linear.bias)):
            as_column = parameter if name[0] == "W" else parameter[:, None]
            found[f"d{name}"] = parameter.grad.reshape(as_column.shape)
            found[f"v{name}"] = optimizer.state[parameter]["momentum_buffer"].reshape(as_column.shape)
            found[f"{name}_next"] = as_column
    return {name: tensor.detach() for name, tensor in found.items()}
