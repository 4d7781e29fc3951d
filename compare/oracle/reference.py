"""A user's torch reference: run on its own, and replayed on records."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import FunctionType

import numpy as np
import torch
from torch import Tensor

from handgrad.compare.errors import InputError
from handgrad.compare.names import gradient, of_gradient
from handgrad.compare.oracle.graph import Form, Graph, Recorder
from handgrad.compare.oracle.modules import untouched
from handgrad.compare.oracle.replay import Replay, inspect_reference, replay
from handgrad.compare.sandbox import CAUGHT, defaulting_to, located
from handgrad.compare.thresholds import SAME_ANSWER
from handgrad.compare.trace import Arrays, in_precision, same
from handgrad.torchref.exchange import to_array, to_tensor, view_of_tensor

Reference = Callable[..., Tensor]
Tensors = dict[str, Tensor]


def input_names(reference: Reference, count: int) -> list[str]:
    """The names of the reference's positional parameters after the first, or numbers where it has none."""
    if isinstance(reference, FunctionType) and not vars(reference):  # as a rule: none that wraps another
        code = reference.__code__
        named = code.co_varnames[1 : code.co_argcount]
    else:
        named = _positional(reference)[1:]
    return [named[i] if i < len(named) else f"input{i + 1}" for i in range(count)]


def _positional(function: Reference) -> tuple[str, ...]:
    """The names of the positional parameters of whatever can be called; none where Python cannot tell."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    return tuple(parameter.name for parameter in parameters if parameter.kind in kinds)


def own_run(reference: Reference, params: Arrays, batch: Arrays, returned: Arrays, dtype: str) -> Replay:
    """Run reference(params, *batch) in a dtype on its own tensors, and look at its taps.

    An input has a gradient if a derivation has `returned` one for it. Raises InputError where the reference fails,
    changes what it is handed, misuses taps, or where J depends on no parameter.
    """
    leaves, inputs = _handed(params, batch, dtype)
    tracked = _tracked(inputs, returned)
    with _running(batch, dtype):
        run = inspect_reference(_forward(reference, leaves, inputs), {**leaves, **tracked}, _wanted(returned))
    if not run.gradients.keys() & {*map(gradient, leaves)}:
        raise InputError(
            "J depends on no parameter in the reference; compute it from params without detach, no_grad or numpy()"
        )
    handed = {**leaves, **inputs}
    for name, array in in_precision({**params, **batch}, dtype).items():
        if not same(array, view_of_tensor(handed[name])):
            raise InputError(f"the reference changes {name} in place; let it compute a new tensor instead")
    return _with_zeros(run, {**leaves, **tracked}, returned, dtype)


def run_on_records(
    reference: Reference, params: Arrays, batch: Arrays, records: Arrays, dtype: str = "float64"
) -> Replay:
    """Run reference(params, *batch) in a dtype with records in place of its own tensors; InputError where it fails."""
    leaves, inputs = _handed(params, batch, dtype)
    tracked = _tracked(inputs, records)
    with _running(batch, dtype):
        run = replay(_forward(reference, leaves, inputs), {**leaves, **tracked}, records, _wanted(records))
    return _with_zeros(run, {**leaves, **tracked}, records, dtype)


def recorded_graph(reference: Reference, params: Arrays, batch: Arrays, records: Arrays, form: Form) -> Graph:
    """Every step of `run_on_records` in float64, compound ones in a form; InputError where it fails."""
    leaves, inputs = _handed(params, batch, "float64")
    tracked = _tracked(inputs, records)
    recorder = Recorder(form)
    for name, tensor in {**leaves, **inputs}.items():
        recorder.given(name, tensor)
    forward = _forward(reference, leaves, inputs)
    with _running(batch, "float64"), recorder:
        replay(forward, {**leaves, **tracked}, records, _wanted(records), recorder)
    return recorder.graph


def _handed(params: Arrays, batch: Arrays, dtype: str) -> tuple[Tensors, Tensors]:
    """Copies of what the reference is handed, as tensors: parameters, which have a gradient, and the batch."""
    leaves = {name: to_tensor(array).requires_grad_() for name, array in in_precision(params, dtype).items()}
    return leaves, {name: to_tensor(array) for name, array in in_precision(batch, dtype).items()}


def _tracked(inputs: Tensors, records: Arrays) -> Tensors:
    """The inputs whose gradient is recorded."""
    return {
        name: tensor.requires_grad_()
        for name, tensor in inputs.items()
        if gradient(name) in records and tensor.is_floating_point()
    }


def _wanted(records: Arrays) -> set[str]:
    """What the records hold gradients of, if their names mean that."""
    return {of_gradient(name) for name in records if of_gradient(name)}


def _forward(reference: Reference, leaves: Tensors, inputs: Tensors) -> Callable[[], Tensor]:
    return partial(reference, dict(leaves), *inputs.values())


def _with_zeros(run: Replay, leaves: Tensors, records: Arrays, dtype: str) -> Replay:
    """With a gradient of zero for every recorded one of a leaf that J does not depend on."""
    independent = [n for n in leaves if gradient(n) in records and gradient(n) not in run.gradients]
    if not independent:
        return run
    zeros = {gradient(name): np.zeros(tuple(leaves[name].shape), dtype) for name in independent}
    return replace(run, gradients=run.gradients | zeros)


@contextmanager
def _running(batch: Arrays, dtype: str) -> Iterator[None]:
    """While entered, torch makes tensors of this dtype, and what the reference raises is an InputError.

    Gradients are recorded, also where the derivation has switched them off, and the modules that it calls keep what
    they hold.
    """
    try:
        with defaulting_to(dtype), torch.inference_mode(False), torch.enable_grad(), untouched():
            yield
    except InputError:
        raise
    except CAUGHT as error:
        raise InputError(f"the reference raises {located(error)}; {_remedy(error, batch)}") from None


def _remedy(error: BaseException, batch: Arrays) -> str:
    """What torch's own message suggests to change."""
    if "backward through the graph a second time" in str(error):
        return "it must leave backward() to the check and return J"
    whole = [name for name, array in batch.items() if array.dtype.kind != "f"]
    if whole and any(word in str(error) for word in ("dtype", "Float", "Long", "Int", "Bool")):
        return f"{whole[0]} holds {batch[whole[0]].dtype} and passes unchanged, so perhaps write .astype(float)"
    return "it must run on params and batch"


def check_repeatable(reference: Reference, params: Arrays, batch: Arrays, dtype: str, first: Replay) -> None:
    """Raise InputError if the reference, called again on what `first` is the run on, gives another answer."""
    second = run_on_records(reference, params, batch, {}, dtype)
    remedy = "it must be repeatable, so put a module in eval() or pass dropout masks in the batch"
    answers = {**first.values, **first.gradients}
    for name, value in {**second.values, **second.gradients}.items():
        if name not in answers or _is_same_answer(answers[name], value):
            continue
        if value.ndim or answers[name].ndim:
            raise InputError(f"the reference, called twice, gives two answers for {name}; {remedy}")
        before = float(answers[name])
        raise InputError(f"the reference gives {name} = {before:.9g} and, called again, {float(value):.9g}; {remedy}")
    with _running(batch, dtype):
        bare = to_array(_forward(reference, *_handed(params, batch, dtype))()).reshape(())
    if not _is_same_answer(first.values["J"], bare):
        raise InputError(
            f"the reference gives J = {float(first.values['J']):.9g} and, where taps do nothing, {float(bare):.9g}; a "
            "tap hands out a tensor of its own, so write into none of which a tap is a view"
        )


def _is_same_answer(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two answers are one but for another order of summation."""
    if first.shape != second.shape:
        return False
    first, second = (array.astype(np.result_type(array, np.float64)) for array in (first, second))
    with np.errstate(all="ignore"):
        difference, scale = np.abs(first - second), np.abs(first)
        is_equal = np.array_equal(first, second, equal_nan=True)
        return bool(is_equal or np.max(difference, initial=0.0) <= SAME_ANSWER * np.max(scale, initial=0.0))
