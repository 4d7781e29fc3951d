"""The material in which the cause of a user's wrong tensor is sought: its records, and the reference to replay on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count

import numpy as np

from handgrad.compare.diagnosis.factors import LN2
from handgrad.compare.diagnosis.scene import Scene
from handgrad.compare.diagnosis.search import Elsewhere
from handgrad.compare.errors import InputError
from handgrad.compare.names import before
from handgrad.compare.oracle.reference import run_on_records
from handgrad.compare.pipeline.evidence import Evidence, situations
from handgrad.compare.sandbox import quietly
from handgrad.compare.thresholds import LARGE, MOVE_FOR_NAMES, OF_FORMAT, ROUNDINGS, UNEXPLAINED, UNIT_ROUNDOFF
from handgrad.compare.trace import Arrays, digits_of, in_precision, is_float32, real
from handgrad.compare.verdict.judgement import ReadBy
from handgrad.compare.verdict.rounding import deviation, largest, size
from handgrad.torchref.exchange import to_tensor

Shape = tuple[int, ...]
LONG, SHORT = 32, 5  # entries of an axis: beyond the one it is cut where names are sought, to the other or a few more


def scene_of_records(
    name: str,
    *,
    evidence: Mapping[str, Evidence],
    reads: ReadBy,
    previous: Arrays,
    usual: Mapping[str, tuple[int, ...]],
) -> Scene | None:
    """The scene of a user's tensor in the finest precision in which it is wrong; None where nothing can be replayed.

    Intermediates that were not returned are those of the reference on what was. `previous` are the records and
    parameters of the step before, `usual` the shapes that a batch has where it is not a short one.
    """
    if not evidence:  # all that was returned agrees: what is wrong is an update
        return None
    dtype = _shows_it(name, evidence)
    here = evidence[dtype]
    numbers = {**_sizes(here.batch, usual), "ln 2": LN2}
    records = {n: a for n, a in here.local.items() if n != "J"} | real(here.records)
    scene = scene_of(name, here, here.local, records, reads, dtype)
    if scene is None:
        return None
    with quietly():
        spread = here.spread(name)
    scene = replace(scene, previous=real(previous), numbers=numbers)
    if spread is None:
        return scene
    own = ROUNDINGS * largest(deviation(here.local[name], spread, here.unit, here.dtype))
    shorter = partial(_on_shorter_data, name, here, reads) if scene.is_large else None
    return replace(scene, rounding=own, coarse=_of_its_digits(scene, spread), smaller=shorter)


def _on_shorter_data(name: str, here: Evidence, reads: ReadBy) -> Scene | None:
    """The scene where every long axis is cut to a few entries, or the first of what has several alone.

    None where either side does not run there, or both agree.
    """
    sizes = {n for array in (*here.params.values(), *here.batch.values()) for n in array.shape}
    free = (n for n in count(SHORT) if n not in sizes)
    lengths = {n: next(free) if n > LONG else n for n in sorted(sizes)}

    def everywhere(array: np.ndarray) -> np.ndarray:
        return array[tuple(slice(lengths[n]) for n in array.shape)]

    def of_first_axis(array: np.ndarray) -> np.ndarray:
        return array[: lengths[len(array)]] if array.ndim > 1 else array

    scenes = (_cut(name, here, reads, cut) for cut in (everywhere, of_first_axis))
    return next(filter(None, scenes), None)


def _cut(name: str, here: Evidence, reads: ReadBy, cut: Callable[[np.ndarray], np.ndarray]) -> Scene | None:
    if here.derive is None:
        return None
    params, batch = ({n: cut(array) for n, array in of.items()} for of in (here.params, here.batch))
    elsewhere = partial(situations, here.derive, params, batch, here.dtype)
    records = here.derive(params, batch)
    small = replace(here, params=params, batch=batch, records=records, situations=elsewhere)
    with suppress(InputError), quietly():
        local = small.beside(name)
        if local is not None and largest(local.recorded - local.reference) > LARGE * largest(local.reference):
            return scene_of_records(name, evidence={here.dtype: small}, reads=reads, previous={}, usual={})
    return None


def _of_its_digits(scene: Scene, spread: np.ndarray) -> np.ndarray | None:
    """How far rounding to as few digits as a record has leaves each entry open; None where it has all of its dtype.

    What has been computed in its place may be larger than the reference, and then its roundings are.
    """
    digits, (one, other) = digits_of(scene.recorded), (scene.recorded, scene.reference)
    if digits <= UNIT_ROUNDOFF[scene.dtype]:
        return None
    larger = max(1.0, size(one) / max(size(other), np.finfo(float).tiny))
    return OF_FORMAT * deviation(np.maximum(np.abs(one), np.abs(other)), larger * spread, digits, scene.dtype)


def _shows_it(name: str, evidence: Mapping[str, Evidence]) -> str:
    """The finest precision, unless a tensor is wrong in the other one alone."""
    off = {}
    for dtype, each in evidence.items():
        local = each.beside(name)
        if local is not None:
            off[dtype] = largest(local.recorded - local.reference) > UNEXPLAINED[dtype] * largest(local.reference)
    return "float32" if off == {"float64": False, "float32": True} else max(evidence)


def scene_of(name: str, here: Evidence, local: Arrays, records: Arrays, reads: ReadBy, dtype: str) -> Scene | None:
    """The scene of a tensor from records in a precision, `local` being the reference on them.

    A replay holds `records` fixed and computes the rest anew.
    """
    returned = real(here.records)
    if name not in returned or name not in local or returned[name].shape != local[name].shape:
        return None
    params, batch = real(here.params), dict(here.batch)

    def replayed(replacements: Arrays) -> dict[str, np.ndarray]:
        p, b, r = ({n: replacements.get(n, a) for n, a in of.items()} for of in (params, batch, records))
        try:
            with quietly():
                run = run_on_records(here.reference, p, b, r)
        except InputError:  # an operand out of the range that the reference takes
            return {}
        return real({**run.values, **run.gradients})

    fields = [array for array in returned.values() if array.ndim]
    return Scene(
        name=name,
        recorded=returned[name],
        reference=np.asarray(local[name], dtype=np.float64),
        dtype="float32" if fields and all(map(is_float32, fields)) else dtype,
        tensors={**params, **real(batch), **records},
        parameters=frozenset(params),
        inputs=frozenset(batch),
        reads=reads,
        replay=replayed,
        graph=here.graph,
        elsewhere=partial(_elsewhere, name, here),
    )


def _elsewhere(name: str, here: Evidence) -> Iterator[Elsewhere]:
    """The derivation where everything has moved far, once."""
    for params, batch, records, previous in here.situations(MOVE_FOR_NAMES) if here.situations is not None else ():
        handed = {**params, **batch, **real(records), **{before(n): array for n, array in real(previous).items()}}
        if name in handed and all(np.isfinite(array).all() for array in real(handed).values()):
            tensors = {n: to_tensor(in_precision({n: a}, "float64")[n]) for n, a in handed.items() if n != "J"}
            recorded = to_tensor(np.asarray(records[name], dtype=np.float64).reshape(np.shape(here.records[name])))
            yield Elsewhere(tensors, recorded)
            return


def _sizes(batch: Arrays, usual: Mapping[str, Shape]) -> dict[str, float]:
    """The sizes of a batch by the names that a factor may go by."""
    by_size: dict[int, list[str]] = {}
    for of, array in batch.items():
        for axis, n in enumerate(array.shape):
            by_size.setdefault(n, []).append(f"axis {axis} of {of}")
    sizes: dict[str, float] = {f"the size of {' and '.join(places[:3])}": n for n, places in by_size.items()}
    for of, shape in usual.items():
        axes = [axis for axis, (n, m) in enumerate(zip(batch[of].shape, shape, strict=False)) if n != m]
        for axis in axes[:1]:
            sizes |= {"n": batch[of].shape[axis], "batch size": shape[axis]}
    return sizes
