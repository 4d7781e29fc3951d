"""Which conditions of the table hold for a check of the user's code, from what was handed over and returned."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np

from handgrad.compare.facts.blind_spots import blind_spot
from handgrad.compare.facts.fact import counted
from handgrad.compare.facts.remarks import BlindSpot, Note, judged_alone
from handgrad.compare.names import gradient
from handgrad.compare.oracle.replay import Replay
from handgrad.compare.thresholds import (
    DECAYED,
    LEFT_OF_SUMS,
    SMALL_PARAMETERS,
    SMALL_STEP,
)
from handgrad.compare.trace import Arrays, is_real
from handgrad.compare.verdict.rounding import largest

NAMED = 3  # sizes that are named
UPSTREAMS = {"loss": "J is the loss itself", "sum": "J is a plain sum"}


def of_gradients(
    records: Arrays, reference: Replay, params: Arrays, batch: Arrays, upstream: str = ""
) -> tuple[BlindSpot, ...]:
    """What a comparison of gradients could not show.

    `records` is what the derivation returned, `reference` the torch side's own run; `upstream` says how it comes that
    the upstream gradient of an autograd.Function in the derivation is 1.
    """
    values, gradients = reference.values, reference.gradients
    of_params = {gradient(name) for name in params}
    returned = {*of_params, *(name for name, array in records.items() if is_real(array))}
    absent = [name for name in (*values, *gradients) if name not in {*returned, "J"}]
    both = {name: (due, records[name]) for name, due in gradients.items() if name in records}
    still = [name for name, sides in both.items() if not any(side.any() for side in sides)]
    moving = {name: sides for name, sides in both.items() if name not in still}
    return (
        *_holding(
            ("loss-not-returned", "J" not in returned),
            ("not-returned", absent),
            ("rounding-alone", _rounding_alone(moving, (*params.values(), *batch.values()))),
            ("exactly-zero", still),
            ("frozen", [name for name in params if gradient(name) not in gradients]),
            ("nothing-between", reference.reads["J"] <= {*params, *batch}),
        ),
        *of_graph(reference.absent_signs, upstream or ("sum" if reference.is_plain_sum else "")),
    )


def of_graph(absent_signs: Collection[tuple[str, str]], upstream: str = "") -> tuple[BlindSpot, ...]:
    """What the graph of the reference could not show.

    `absent_signs` are those that the inputs of ReLUs on the way to a tensor never have, `upstream` says how it comes
    that the upstream gradient is 1.
    """
    one = (blind_spot("unit-upstream", where=UPSTREAMS[upstream]),) if upstream else ()
    missing = {sign: sorted(name for name, of in absent_signs if of == sign) for sign in ("negative", "positive")}
    return (*_holding(*((f"no-{sign}-input", names) for sign, names in missing.items())), *one)


def _holding(*rows: tuple[str, Sequence[str] | bool]) -> tuple[BlindSpot, ...]:
    """The conditions, by code, that hold: those that are true, or true of any tensor, with the names of those."""
    return tuple(blind_spot(code, () if of is True else of) for code, of in rows if of)


def _rounding_alone(both: Mapping[str, tuple[np.ndarray, np.ndarray]], given: Sequence[np.ndarray]) -> list[str]:
    """The gradients that are no larger on either side than the rounding of what was handed over.

    As a rule none is, so their norm is looked at first, which copies nothing.
    """
    norm = max(float(np.vdot(a, a)) if a.dtype.kind == "f" else largest(a) ** 2 for a in given)
    small = {name: sides for name, sides in both.items() if np.vdot(sides[0], sides[0]) <= LEFT_OF_SUMS**2 * norm}
    limit = LEFT_OF_SUMS * max(map(largest, given)) if small else 0.0
    return [n for n, (due, own) in small.items() if is_real(own) and max(largest(due), largest(own)) <= limit]


def of_precisions(
    precisions: Sequence[str], notes: Iterable[Note] = (), remedy: str | None = None
) -> tuple[BlindSpot, ...]:
    """What a single precision could not show, asked for or all that the derivation has, as notes say."""
    others = {
        "float64": "arithmetic that loses digits, told from mistakes",
        "float32": "mistakes below a relative size of 1e-5",
    }
    alone, known = [*precisions] if len(precisions) == 1 else [], judged_alone(tuple(notes))
    if known:
        alone, remedy = [known], "let it compute in the precision that it is handed"
    return tuple(blind_spot("one-precision", what=others[dtype], dtype=dtype, remedy=remedy) for dtype in alone)


def of_updates(
    steps: int, params: int, still: Sequence[str], memory: float = 0.0, *, drawn: bool
) -> tuple[BlindSpot, ...]:
    """What an optimiser on so many parameters could not show in so many steps.

    `still` names the parameters that no step changes, `memory` is the share of itself that the slowest moment keeps;
    `drawn` says whether the gradients were drawn, not given.
    """
    few = blind_spot("few-steps", steps=counted(steps, "step"))
    return (
        *((few,) if steps < 5 else ()),
        *_of_memory(steps, memory),
        *_holding(("one-parameter", params == 1), ("given-gradients", not drawn), ("unmoved", still)),
    )


def _of_memory(steps: int, memory: float) -> tuple[BlindSpot, ...]:
    """What steps could not show that are few beside what a moment remembers."""
    enough = math.ceil(round(DECAYED / (1 - memory), 6)) if memory < 1 else steps
    if steps >= enough:
        return ()
    return (blind_spot("long-memory", steps=counted(steps, "step"), keeps=f"{memory:g}", enough=enough),)


def of_training(
    batches: Sequence[Arrays],
    intermediates: Collection[str],
    still: Sequence[str],
    memory: float = 0.0,
    small: Sequence[str] = (),
) -> tuple[BlindSpot, ...]:
    """What a trainer could not show on these batches.

    `intermediates` names what it yields beside the parameters, `still` the parameters that no step changes, `small`
    those that steps hardly change; `memory` is the share of itself that the optimiser's slowest moment keeps.
    """
    shapes = {tuple(array.shape for array in batch.values()) for batch in batches}
    loss = blind_spot("loss-not-returned", remedy="yield J")
    return (
        *((loss,) if intermediates and "J" not in intermediates else ()),
        *_holding(
            ("one-step", len(batches) == 1),
            ("no-short-batch", len(shapes) == 1),
            ("parameters-alone", not intermediates),
        ),
        *_of_memory(len(batches), memory),
        *_holding(("unmoved", still), ("small-steps", [name for name in small if name not in still])),
    )


def hardly_moved(steps: Iterable[tuple[Arrays, Arrays]], dtype: str) -> list[str]:
    """The parameters of which every step changes so little that rounding hides what is wrong with it.

    Each step is given as what there was before and after it.
    """
    steps = [*steps]
    names = steps[0][1] if steps else ()
    return sorted(n for n in names if all(n in b and _is_small_step(a[n], b[n], dtype) for a, b in steps))


def _is_small_step(before: np.ndarray, after: np.ndarray, dtype: str) -> bool:
    change = np.asarray(after, np.float64) - before
    return bool(np.vdot(change, change) <= SMALL_STEP[dtype] ** 2 * np.vdot(after, after))


def of_initializer(shape: tuple[int, ...], *, by_samples: bool) -> tuple[BlindSpot, ...]:
    """What weights of a shape could not show, and what samples cannot where nothing is known exactly."""
    is_square = len(shape) == 2 and shape[0] == shape[1]
    of_samples = ((code, by_samples) for code in ("coarse-samples", "single-places", "dependence"))
    return _holding(("square-shape", is_square), *of_samples)


def of_arrays(params: Arrays, batch: Arrays) -> tuple[BlindSpot, ...]:
    """What the values and sizes of parameters and batch hide, whatever the derivation is."""
    n = _examples([*batch.values()], params.values())
    others = [
        f"{name}'s axis {axis}" for name, a in params.items() for axis, size in enumerate(a.shape) if size == n > 1
    ]
    same_size = (blind_spot("examples-as-size", others[:NAMED], n=n),) if others else ()
    square = [name for name, a in params.items() if _is_square(a)]
    arrays = {**params, **batch}
    equal = {name: a.flat[0] for name, a in arrays.items() if a.size and (a == a.flat[0]).all()}
    zero, unit = ([n for n, value in equal.items() if value == v and n in params] for v in (0, 1))
    entries = [n for n, value in equal.items() if value != 0 and n not in unit and arrays[n].size > 1]
    limit = blind_spot("small-parameters", limit=SMALL_PARAMETERS)
    return (
        *_holding(("one-example", n == 1)),
        *same_size,
        *_holding(
            ("square-batch", [name for name, a in batch.items() if _is_square(a)]),
            ("square-weights", square),
            ("symmetric-weights", [name for name in square if np.array_equal(params[name], params[name].T)]),
            ("equal-entries", entries),
            ("unit-parameters", unit),
            ("zero-parameters", zero),
            ("equal-parameters", _twins(params, equal)),
        ),
        *((limit,) if 0 < max(map(largest, params.values()), default=0.0) < SMALL_PARAMETERS else ()),
    )


def _examples(inputs: Sequence[np.ndarray], params: Iterable[np.ndarray]) -> int:
    """The number of examples: the one size that all inputs share, or that no parameter has; 0 where it is not known."""
    shapes = [array.shape for array in inputs if array.ndim]
    shared: set[int] = {*shapes[0]}.intersection(*shapes[1:]) if shapes else set()
    if len(shapes) == 1 or len(shared) > 1:
        shared = shared.difference(*(array.shape for array in params))
    return shared.pop() if len(shared) == 1 else 0


def _is_square(array: np.ndarray) -> bool:
    return array.ndim == 2 and array.shape[0] == array.shape[1] > 1


def _twins(params: Arrays, equal: Collection[str]) -> list[str]:
    """The parameters that equal another one, entry by entry, and do not have one value everywhere."""
    by_look: dict[tuple[object, ...], list[str]] = {}
    for name, array in params.items():
        if name not in equal:
            by_look.setdefault((array.shape, array.flat[0], array.flat[-1]), []).append(name)
    pairs = (pair for names in by_look.values() for pair in combinations(names, 2))
    return [*dict.fromkeys(name for a, b in pairs if np.array_equal(params[a], params[b]) for name in (a, b))]
