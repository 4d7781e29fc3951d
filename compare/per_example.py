"""Derivations written for one example, on a whole batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from handgrad.compare.errors import InputError, kind_of
from handgrad.compare.mapping import as_mapping
from handgrad.compare.names import gradient, of_gradient


class OfExamples(dict[str, np.ndarray]):
    """What a batch of examples returned; where a name says gradient, but may say value, the value as well.

    Whether `dist` is the gradient of `ist` or a distance is known where the reference is.
    """

    values_of: dict[str, np.ndarray]


def per_example(
    derivation: Callable[..., Mapping[str, Any]], *, axis: int, reduction: str = "mean"
) -> Callable[..., Any]:
    """Turn a derivation for one example into one for a batch of n examples that lie along an axis.

    Example i is np.take(a, i, axis) of every array of the batch, and entry i of an array with one axis, such as labels.
    J and the gradients of parameters are averaged over the examples, or summed with reduction="sum"; intermediates are
    stacked along the axis, and so are their gradients and those of inputs, divided by n for "mean". The result is a
    derivation for check_gradients. Raises InputError, a ValueError, for an unknown reduction, an axis that an array of
    the batch does not have, or arrays of different n.
    """
    if reduction not in ("mean", "sum"):
        raise InputError(f"reduction is {reduction!r}; it must be 'mean' or 'sum'")
    if not isinstance(axis, int) or isinstance(axis, bool):
        raise InputError(f"axis is {axis!r}; it must be a whole number, like 1 for examples in columns")

    if not callable(derivation):
        raise InputError(f"derivation is {kind_of(derivation)}; it must be a function of params and an example")

    def batched(params: Mapping[str, np.ndarray], *batch: np.ndarray) -> Any:
        n = _examples(batch, axis)
        examples = ((np.take(a, i, axis if a.ndim > 1 else 0) for a in batch) for i in range(n))
        each = [as_mapping(derivation(params, *example)) for example in examples]
        wrong = [one for one in each if not isinstance(one, Mapping)]
        if wrong:
            return wrong[0]  # what is no mapping is reported where every derivation's answer is
        shared = {"J", *map(gradient, params)}
        over = n if reduction == "mean" else 1
        found = OfExamples()
        found.values_of = {}
        for name in each[0]:
            if all(one[name] is None for one in each):
                continue  # as if it were not returned
            values = [np.asarray(one[name]) for one in each]
            if name in shared:
                found[name] = np.sum(values, axis=0) / over
            else:
                stacked = np.stack(values, axis=min(axis, values[0].ndim) if axis >= 0 else axis)
                found[name] = stacked / over if of_gradient(name) else stacked
                found.values_of |= {name: stacked} if of_gradient(name) else {}
        return found

    return batched


def _examples(batch: tuple[np.ndarray, ...], axis: int) -> int:
    """The number of examples of a batch."""
    if not batch:
        raise InputError("the batch is empty; per_example needs at least one array to take examples from")
    for array in batch:
        if array.ndim != 1 and not -array.ndim <= axis < array.ndim:
            raise InputError(
                f"an array of the batch has shape {array.shape} and no axis {axis}; give the axis of examples"
            )
    sizes = {array.shape[axis if array.ndim > 1 else 0] for array in batch}
    if len(sizes) > 1:
        raise InputError(
            f"the arrays of the batch hold {sorted(sizes)} examples along axis {axis}; they must hold equally many"
        )
    return int(sizes.pop())
