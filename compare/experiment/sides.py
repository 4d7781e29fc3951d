"""Both sides of the notes' network, made from its settings: the hand-written trainer, and its twin in torch.nn."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from itertools import chain, count, islice, pairwise
from math import ceil
from typing import Any

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
from handgrad.compare.equations import EQUATIONS
from handgrad.compare.errors import InputError
from handgrad.compare.experiment.data import Data
from handgrad.compare.experiment.exceptions import located_by_hand, recorded_before
from handgrad.compare.experiment.settings import Settings
from handgrad.compare.names import PHASES, Key
from handgrad.compare.operations import Modules, Operation, operation
from handgrad.compare.pipeline.recording import Ended
from handgrad.compare.sandbox import CAUGHT
from handgrad.compare.thresholds import FEW_ROUNDINGS, FLOAT32_MAX, UNIT_ROUNDOFF
from handgrad.compare.trace import frozen
from handgrad.manual.network import Activation, Loss, Network

Arrays = dict[str, np.ndarray]
Phases = Iterator[tuple[int, str, Mapping[str, Any]]]
Steps = Iterator[dict[str, np.ndarray]]
BATCH = ("X", "Y")


def check_fit(settings: Settings, data: Data) -> None:
    """Raise InputError unless the layers and the batch size suit the data and the labels suit the loss."""
    (n_x, N), K = data.X.shape, data.Y.shape[0]
    if settings.layers[0] != n_x:
        raise InputError(
            f"layers starts with {settings.layers[0]} and the data has {n_x} inputs; start layers with {n_x}"
        )
    if settings.layers[-1] != K:
        raise InputError(
            f"layers ends with {settings.layers[-1]} and the data has {K} labels per example; end layers with {K}"
        )
    if settings.batch_size is not None and settings.batch_size > N:
        raise InputError(
            f"batch_size is {settings.batch_size} and the examples number {N}; it must be at most {N}, "
            "so lower it or use the full batch (None, on the command line `full`)"
        )
    for name, array in (("X", data.X), ("y", data.Y)):
        if np.abs(array).max() > FLOAT32_MAX:
            column, row = np.argwhere(np.abs(array) > FLOAT32_MAX)[0]
            raise InputError(
                f"{name} is {array[column, row]:g} at row {row + 1}, column {column + 1}; float32 holds no more than "
                f"{FLOAT32_MAX:.1e}, so rescale it"
            )
    _check_labels(operation("loss", settings.loss), data.Y)


def _check_labels(loss: Operation, Y: np.ndarray) -> None:
    """Raise InputError unless the labels suit the loss."""
    least, most = loss.labels
    outside = np.argwhere((Y < least) | (Y > most))
    if len(outside):
        output, example = outside[0]
        raise InputError(
            f"y is {Y[output, example]:g} at row {example + 1}, column {output + 1}; {loss.name} "
            f"needs labels from {least:g} to {most:g}, so rescale them or use the loss squared-error"
        )
    if loss.label_sum is None:
        return
    sums = Y.sum(axis=0)
    apart = np.flatnonzero(np.abs(sums - loss.label_sum) > FEW_ROUNDINGS * UNIT_ROUNDOFF["float64"])
    if len(apart):
        raise InputError(
            f"y adds up to {sums[apart[0]]:g} at row {apart[0] + 1}; {loss.name} needs {loss.label_sum:g}, "
            "so give each example one label of 1 or use the loss squared-error"
        )


def initial_parameters(settings: Settings, hand: Modules | None = None) -> Arrays:
    """W1, b1, ..., WL, bL in the settings' dtype: drawn once, by hand, for both sides."""
    rng = np.random.default_rng([settings.seed, 0])
    initializers = handgrad.manual.initializers if hand is None else hand["initializers"]
    (standard_deviation,) = operation("initializer", settings.initializer).hands(hand)
    params = {}
    for l, (n_in, n_out) in enumerate(pairwise(settings.layers), start=1):
        params[f"W{l}"] = initializers.draw(standard_deviation, (n_out, n_in), rng, settings.distribution)
        params[f"b{l}"] = settings.bias_scale * rng.standard_normal((n_out, 1))
    return {name: array.astype(settings.dtype) for name, array in params.items()}


def epoch_orders(settings: Settings, N: int) -> Iterator[np.ndarray]:
    """The order of the examples in each epoch of the run: as they stand for the full batch, else reshuffled."""
    per_epoch = ceil(N / (settings.batch_size or N))
    epochs = settings.epochs if settings.steps is None else ceil(settings.steps / per_epoch)
    if settings.batch_size is None:
        return iter([np.arange(N)] * epochs)
    return islice(handgrad.manual.batches.orders(N, np.random.default_rng([settings.seed, 1])), epochs)


def hand_network(settings: Settings, hand: Modules | None = None) -> Network:
    """What the hand-written side is handed to run: its activations, its loss and the weight decay."""
    loss = operation("loss", settings.loss)
    activations = []
    for row in (operation("activation", name) for name in settings.activations):
        halves = row.hands(hand)
        derivative: Any = halves[1] if len(halves) == 2 else None  # which nothing asks for: it stands last
        activations.append(Activation(halves[0], derivative, row.reads))
    value, derivative = loss.hands(hand)
    return Network(tuple(activations), Loss(value, derivative, loss.reads), settings.l2)


def by_hand(
    settings: Settings, data: Data, params: Arrays, orders: Iterator[np.ndarray], hand: Modules | None = None
) -> Phases:
    """The hand-written side: an iterator over (step, phase, {name: array}); `params` are read-only from here on."""
    network = hand_network(settings, hand)
    row = operation("optimizer", settings.optimizer)
    start, optimizer = row.hands(hand)
    update = partial(optimizer, **row.chosen(settings))
    X, Y = data.X.astype(settings.dtype), data.Y.astype(settings.dtype)
    cut, train = handgrad.manual.batches, handgrad.manual.training
    if hand is not None:
        cut, train = hand["batches"], hand["training"]
    batches = cut.mini_batches(orders, settings.batch_size or X.shape[1])
    state = start(params)
    _locked(params | state)
    phases: Phases = train.train(network, params, state, update, X, Y, islice(batches, settings.steps))
    return phases


def _locked(values: Mapping[str, Any]) -> None:
    """Make arrays read-only: nothing that comes later can change what a step has computed from."""
    for value in values.values():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)


def training_by_hand(phases: Phases, due: Collection[str]) -> Steps:
    """The hand-written side as a trainer: one mapping a step, copied phase by phase.

    Ended, with what had been computed by then, where it raises; `due` are the names that a step records.
    """
    for number in count(1):
        records: Arrays = {}
        complete: set[str] = set()
        try:
            for _, phase, values in phases:
                records |= {str(name): frozen(value) for name, value in values.items()}
                _locked(values)
                if not {*values} <= {*BATCH}:  # the batch alone is not yet a forward pass
                    complete.add(phase)
                if phase == PHASES[-1]:
                    break
        except CAUGHT as error:  # whatever the hand-written side raises is a finding, not a crash
            raised, label = located_by_hand(error)
            phase = next((phase for phase in PHASES if phase not in complete), PHASES[-1])
            key = Key(number, phase, EQUATIONS.get(label, f"{phase} = ").partition(" = ")[0])
            records |= recorded_before(error, {*due} - {*records})
            raise Ended(raised, records=records, where=key, equation=label, complete=frozenset(complete)) from None
        if not records:
            return
        yield records


def in_torch(settings: Settings, data: Data, params: Arrays, orders: Iterator[np.ndarray]) -> Phases:
    """The torch side on its own, in torch.nn: an iterator over (step, phase, {name: tensor})."""
    loss = operation("loss", settings.loss)
    activations = [operation("activation", name).twin() for name in settings.activations]
    model = handgrad.torchref.network.build(settings.layers, activations, getattr(torch, settings.dtype))
    handgrad.torchref.exchange.load(model, params)
    named = handgrad.torchref.exchange.parameters(model)
    row = operation("optimizer", settings.optimizer)
    optimizer = row.twin().build(named, **row.chosen(settings))
    X, Y = (handgrad.torchref.exchange.to_tensor(a.astype(settings.dtype)) for a in (data.X, data.Y))
    layers = handgrad.torchref.network.layers_of(model)
    weights = [w for name, w in named.items() if name.startswith("W")]
    cost = partial(
        handgrad.torchref.network.cost, layers, weights, loss=loss.twin(), loss_reads=loss.reads, l2=settings.l2
    )
    batches = torch_batches(settings, X.shape[1], orders)
    phases: Phases = handgrad.torchref.training.train(model, cost, optimizer, X, Y, batches)
    return phases


def training_in_torch(phases: Phases) -> Steps:
    """The torch side as a trainer: one mapping a step, copied phase by phase."""
    records: Arrays = {}
    for _, phase, values in phases:
        records |= {name: handgrad.torchref.exchange.to_array(tensor) for name, tensor in values.items()}
        if phase == PHASES[-1]:
            yield records
            records = {}


def torch_batches(settings: Settings, N: int, orders: Iterator[np.ndarray]) -> Iterator[Tensor]:
    """The indices of each step's batch, cut by torch from the same orders."""
    size = settings.batch_size or N
    to_tensor: Callable[[Any], Tensor] = handgrad.torchref.exchange.to_tensor
    cut = (handgrad.torchref.batches.split(to_tensor(order), size) for order in orders)
    return islice(chain.from_iterable(cut), settings.steps)
