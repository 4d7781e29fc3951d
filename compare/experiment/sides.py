"""The two runners of an Experiment: the hand-written side and its torch twin, on the same weights and batches."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain, islice, pairwise
from math import ceil

import numpy as np
import torch
from torch import Tensor

import handgrad.manual.batches
import handgrad.manual.initializers
import handgrad.manual.training
import handgrad.torchref.batches
import handgrad.torchref.exchange
import handgrad.torchref.network
import handgrad.torchref.optimizers
import handgrad.torchref.training
from handgrad.compare.errors import InputError
from handgrad.compare.experiment.data import Data
from handgrad.compare.experiment.settings import FLOAT32_MAX, Experiment
from handgrad.compare.operations import operation
from handgrad.compare.trace import Phases
from handgrad.manual.network import Activation, Network

__all__ = [
    "by_hand",
    "check_fit",
    "epoch_orders",
    "hand_network",
    "in_torch",
    "initial_parameters",
    "torch_batches",
    "torch_data",
]

Arrays = dict[str, np.ndarray]


def check_fit(experiment: Experiment, data: Data) -> None:
    """Raise InputError unless the layers and the batch size suit the data and the labels suit the loss."""
    (n_x, N), K = data.X.shape, data.Y.shape[0]
    if experiment.layers[0] != n_x:
        raise InputError(
            f"layers starts with {experiment.layers[0]} and the data has {n_x} inputs; start layers with {n_x}"
        )
    if experiment.layers[-1] != K:
        raise InputError(
            f"layers ends with {experiment.layers[-1]} and the data has {K} labels per example; end layers with {K}"
        )
    if experiment.batch_size is not None and experiment.batch_size > N:
        raise InputError(
            f"batch_size is {experiment.batch_size} and the examples number {N}; it must be at most {N}, "
            "so lower it or use the full batch (None, on the command line `full`)"
        )
    for name, array in (("X", data.X), ("y", data.Y)):
        if np.abs(array).max() > FLOAT32_MAX:
            column, row = np.argwhere(np.abs(array) > FLOAT32_MAX)[0]
            raise InputError(
                f"{name} is {array[column, row]:g} at row {row + 1}, column {column + 1}; float32 holds no more than "
                f"{FLOAT32_MAX:.1e}, so rescale it"
            )
    if experiment.loss == "binary-cross-entropy" and (data.Y.min() < 0 or data.Y.max() > 1):
        output, example = np.argwhere((data.Y < 0) | (data.Y > 1))[0]
        raise InputError(
            f"y is {data.Y[output, example]:g} at row {example + 1}, column {output + 1}; binary-cross-entropy "
            "needs labels from 0 to 1, so rescale them or use the loss squared-error"
        )


def initial_parameters(experiment: Experiment) -> Arrays:
    """W1, b1, ..., WL, bL in the experiment's dtype: drawn once, by hand, for both sides."""
    rng = np.random.default_rng([experiment.seed, 0])
    (standard_deviation,) = operation("initializer", experiment.initializer).hands()
    params = {}
    for l, (n_in, n_out) in enumerate(pairwise(experiment.layers), start=1):
        params[f"W{l}"] = handgrad.manual.initializers.draw(
            standard_deviation, (n_out, n_in), rng, experiment.distribution
        )
        params[f"b{l}"] = experiment.bias_scale * rng.standard_normal((n_out, 1))
    return {name: array.astype(experiment.dtype) for name, array in params.items()}


def epoch_orders(experiment: Experiment, N: int) -> Iterator[np.ndarray]:
    """The order of the examples in each epoch of the run: as they stand for the full batch, else reshuffled."""
    per_epoch = ceil(N / (experiment.batch_size or N))
    epochs = experiment.epochs if experiment.steps is None else ceil(experiment.steps / per_epoch)
    if experiment.batch_size is None:
        return iter([np.arange(N)] * epochs)
    return islice(handgrad.manual.batches.orders(N, np.random.default_rng([experiment.seed, 1])), epochs)


def hand_network(experiment: Experiment) -> Network:
    """What the hand-written side is handed to run: its activations, its loss and the weight decay."""
    loss = operation("loss", experiment.loss)
    return Network(
        activations=tuple(Activation(*operation("activation", name).hands()) for name in experiment.activations),
        loss=loss.hands()[0],
        loss_reads=loss.reads,
        l2=experiment.l2,
    )


def by_hand(experiment: Experiment, data: Data, params: Arrays, orders: Iterator[np.ndarray]) -> Phases:
    """The hand-written side: an iterator over (step, phase, {name: array})."""
    network = hand_network(experiment)
    start, optimizer = operation("optimizer", experiment.optimizer).hands()
    rate = partial(optimizer, learning_rate=experiment.learning_rate, beta=experiment.beta)
    X, Y = data.X.astype(experiment.dtype), data.Y.astype(experiment.dtype)
    batches = handgrad.manual.batches.mini_batches(orders, experiment.batch_size or X.shape[1])
    phases: Phases = handgrad.manual.training.train(
        network, params, start(params), rate, X, Y, islice(batches, experiment.steps)
    )
    return phases


def in_torch(experiment: Experiment, data: Data, params: Arrays, orders: Iterator[np.ndarray]) -> Phases:
    """The torch side on its own, in torch.nn: an iterator over (step, phase, {name: tensor})."""
    loss = operation("loss", experiment.loss)
    activations = [operation("activation", name).twin() for name in experiment.activations]
    model = handgrad.torchref.network.build(experiment.layers, activations, getattr(torch, experiment.dtype))
    handgrad.torchref.exchange.load(model, params)
    named = handgrad.torchref.exchange.parameters(model)
    build_optimizer = operation("optimizer", experiment.optimizer).twin()
    optimizer = build_optimizer(named, learning_rate=experiment.learning_rate, beta=experiment.beta)
    X, Y = torch_data(experiment, data)
    layers, weights = (
        handgrad.torchref.network.layers_of(model),
        [w for name, w in named.items() if name.startswith("W")],
    )
    cost = partial(
        handgrad.torchref.network.cost, layers, weights, loss=loss.twin(), loss_reads=loss.reads, l2=experiment.l2
    )
    phases: Phases = handgrad.torchref.training.train(
        model, cost, optimizer, X, Y, torch_batches(experiment, X.shape[1], orders)
    )
    return phases


def torch_data(experiment: Experiment, data: Data) -> tuple[Tensor, Tensor]:
    """X (n_x, N) and Y (K, N) as tensors of the experiment's dtype, in memory of their own."""
    to_tensor = handgrad.torchref.exchange.to_tensor
    return to_tensor(data.X.astype(experiment.dtype)), to_tensor(data.Y.astype(experiment.dtype))


def torch_batches(experiment: Experiment, N: int, orders: Iterator[np.ndarray]) -> Iterator[Tensor]:
    """The indices of each step's batch, cut by torch from the same orders."""
    size = experiment.batch_size or N
    cut = (handgrad.torchref.batches.split(handgrad.torchref.exchange.to_tensor(order), size) for order in orders)
    return islice(chain.from_iterable(cut), experiment.steps)
