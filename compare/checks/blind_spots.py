"""What a check of the user's code could not reveal, from what was handed over and returned, with the remedy."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from handgrad.compare.facts.fact import counted
from handgrad.compare.facts.remarks import BlindSpot
from handgrad.compare.names import gradient
from handgrad.compare.thresholds import LEFT_OF_SUMS, SMALL_PARAMETERS
from handgrad.compare.trace import Arrays, is_real


def of_gradients(
    records: Arrays, values: Iterable[str], gradients: Arrays, params: Arrays, batch: Arrays
) -> tuple[BlindSpot, ...]:
    """What a comparison of gradients could not show.

    `records` is what the derivation returned; `values` names what the reference computes, `gradients` holds its own.
    """
    of_params = {gradient(name) for name in params}
    absent = [name for name in (*values, *gradients) if name not in records and name not in of_params]
    square = [name for name, array in params.items() if array.ndim == 2 and len({*array.shape}) == 1 < array.size]
    both = {name: (due, records[name]) for name, due in gradients.items() if name in records}
    still = [name for name, sides in both.items() if not any(side.any() for side in sides)]
    moving = {name: sides for name, sides in both.items() if name not in still}
    small = _rounding_alone(moving, (*params.values(), *batch.values()))
    zero = [name for name, array in params.items() if not array.any()]
    return _of_names(
        ("not-returned", "where a mistake enters between the tensors returned", "not returned: {}", "", absent),
        ("square-weights", "transposes seen by their shape", "{} square", "use sizes that differ", square),
        ("rounding-alone", "{}", "nothing but rounding on both sides", "choose values for which it is more", small),
        ("exactly-zero", "{}", "exactly zero on both sides", "choose values for which it is not", still),
        ("zero-parameters", "how the gradients depend on {}", "all zero", "use random values", zero),
    )


def _of_names(*rows: tuple[str, str, str, str, Sequence[str]]) -> tuple[BlindSpot, ...]:
    """Blind spots that name tensors, of rows that have any: code, what is hidden, why, what to do, and the names."""
    spots = []
    for code, hides, because, remedy, names in rows:
        if names:
            named = ", ".join(names)
            spots.append(BlindSpot(code, hides.format(named), because.format(named), remedy, tuple(names)))
    return tuple(spots)


def _rounding_alone(both: Mapping[str, tuple[np.ndarray, np.ndarray]], given: Sequence[np.ndarray]) -> list[str]:
    """The gradients that are no larger on either side than the rounding of what was handed over.

    As a rule none is, so their norm is looked at first, which copies nothing.
    """
    norm = max(float(np.vdot(a, a)) if a.dtype.kind == "f" else _largest(a) ** 2 for a in given)
    small = {name: sides for name, sides in both.items() if np.vdot(sides[0], sides[0]) <= LEFT_OF_SUMS**2 * norm}
    limit = LEFT_OF_SUMS * max(map(_largest, given)) if small else 0.0
    return [n for n, (due, own) in small.items() if is_real(own) and max(_largest(due), _largest(own)) <= limit]


def _largest(array: np.ndarray) -> float:
    return float(np.abs(array).max(initial=0))


def of_precisions(precisions: Sequence[str]) -> tuple[BlindSpot, ...]:
    """What a single precision could not show."""
    hidden = {
        "float64": "arithmetic that loses digits, told from mistakes",
        "float32": "mistakes below a relative size of 2e-4",
    }
    alone = precisions if len(precisions) == 1 else ()
    return tuple(BlindSpot("one-precision", hidden[dtype], f"{dtype} alone", "use both precisions") for dtype in alone)


def of_updates(steps: int, params: int, still: Sequence[str], *, drawn: bool) -> tuple[BlindSpot, ...]:
    """What an optimiser on so many parameters could not show in so many steps.

    `still` names the parameters that no step changes; `drawn` says whether the gradients were drawn, not given.
    """
    few = BlindSpot("few-steps", "state that builds up", counted(steps, "step"), "use 5 or more")
    counter = "a step counter advanced once per parameter"
    one = BlindSpot("one-parameter", counter, "one parameter", "use two or more")
    given = BlindSpot("given-gradients", "what these gradients do not excite", "they are given", "leave them out")
    return (
        *_applying((steps < 5, few), (params == 1, one), (not drawn, given)),
        *_of_names(("unmoved", "the update of {}", "no step changes it", "give gradients that are not zero", still)),
    )


def _applying(*rows: tuple[bool, BlindSpot]) -> tuple[BlindSpot, ...]:
    return tuple(spot for applies, spot in rows if applies)


def of_training(
    batches: Sequence[Arrays], intermediates: Collection[str], still: Sequence[str]
) -> tuple[BlindSpot, ...]:
    """What a trainer could not show on these batches.

    `intermediates` names what it yields beside the parameters, `still` the parameters that no step changes.
    """
    one = BlindSpot("one-step", "state carried from step to step", "one batch", "use three or more")
    by_others = "a short batch divided by the size of the others"
    short = BlindSpot("no-short-batch", by_others, "all have one shape", "shorten the last")
    entry = "where in a step a mistake enters"
    alone = BlindSpot("parameters-alone", entry, "only parameters are yielded", "yield dW1, J ... as well")
    shapes = {tuple(array.shape for array in batch.values()) for batch in batches}
    return (
        *_applying((len(batches) == 1, one), (len(shapes) == 1, short), (not intermediates, alone)),
        *_of_names(("unmoved", "the update of {}", "no step changes it", "choose values for which one does", still)),
    )


def of_initializer(shape: tuple[int, ...], *, by_samples: bool) -> tuple[BlindSpot, ...]:
    """What weights of a shape could not show, and what samples cannot where nothing is known exactly."""
    is_square = len(shape) == 2 and shape[0] == shape[1]
    square = BlindSpot("square-shape", "fan-in taken for fan-out", "the shape is square", "use sizes that differ")
    share = "a mean or spread less than about 3 % off"
    coarse = BlindSpot("coarse-samples", share, "the weights are not linear in one draw")
    joint = BlindSpot("dependence", "how the weights depend on each other", "their distribution alone is compared")
    return _applying((is_square, square), (by_samples, coarse), (by_samples, joint))


def of_arrays(params: Mapping[str, Any], batch: Iterable[Any]) -> tuple[BlindSpot, ...]:
    """What the values and sizes of a user's parameters and batch hide, whatever the derivation is."""
    values = {name: np.asarray(array) for name, array in params.items()}
    inputs = {f"input {position}": np.asarray(array) for position, array in enumerate(batch, start=1)}
    n = _examples([*inputs.values()])
    sizes = ((f"{name}'s axis {axis}", size) for name, a in values.items() for axis, size in enumerate(a.shape))
    others = [place for place, size in sizes if size == n > 1]
    symmetric = [
        name for name, a in values.items() if a.ndim == 2 and a.shape[0] == a.shape[1] > 1 and (a == a.T).all()
    ]
    arrays = values | inputs
    equal = [name for name, a in arrays.items() if a.size > 1 and a.any() and (a == a.flat[0]).all()]
    floats = [_largest(a) for a in values.values() if a.dtype.kind == "f" and a.any()]
    one = BlindSpot("one-example", "mistakes in sums over examples", "the batch has one example", "use several")
    derivative, below = "the derivative of an activation", f"all parameters are below {SMALL_PARAMETERS}"
    small = BlindSpot("small-parameters", derivative, below, "use larger ones")
    same_size = f"{n} is also {{}}"
    return (
        *_applying((n == 1, one)),
        *_of_names(
            ("examples-as-size", "the number of examples for another size", same_size, "use others", others[:3]),
            ("symmetric-weights", "a weight matrix for its transpose", "{} symmetric", "use random values", symmetric),
            ("equal-entries", "which entry of {} is used where", "all are equal", "use random values", equal),
        ),
        *_applying((bool(floats) and max(floats) < SMALL_PARAMETERS, small)),
    )


def _examples(inputs: Sequence[np.ndarray]) -> int:
    """The number of examples: the one size that all inputs share; 0 where that is not known."""
    shapes = [{*array.shape} for array in inputs if array.ndim]
    shared = set.intersection(*shapes) if len(shapes) > 1 else set[int]()
    return shared.pop() if len(shared) == 1 else 0
