"""The scene of a wrong tensor, for diagnosis: what the derivation had at hand, and the reference to replay on it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from handgrad.compare.diagnosis import Scene
from handgrad.compare.errors import InputError
from handgrad.compare.experiment.data import Data
from handgrad.compare.experiment.exceptions import quietly
from handgrad.compare.experiment.recording import SideStep, Step
from handgrad.compare.experiment.settings import Experiment
from handgrad.compare.experiment.twin import LocalTwin
from handgrad.compare.oracle.reference import Evidence, run_reference
from handgrad.compare.trace import is_real
from handgrad.compare.verdict.conventions import Convention
from handgrad.compare.verdict.rule import is_float32

__all__ = ["of_network", "of_records"]

Arrays = dict[str, np.ndarray]
LN2 = float(np.log(2.0))


def of_records(
    name: str,
    evidence: Mapping[str, Evidence],
    reads: Mapping[str, frozenset[str]],
    previous: Mapping[str, np.ndarray],
    usual: Mapping[str, tuple[int, ...]],
) -> Scene | None:
    """A tensor of a user's derivation, from its records in the finest precision; None where there is nothing to replay.

    Intermediates that were not returned are those of the reference on what was. `previous` are the records and
    parameters of the step before, `usual` the shapes that a batch has where it is not a short one.
    """
    dtype = "float64" if "float64" in evidence else "float32"
    here = evidence[dtype]
    real = _real(here.records)
    if name not in real or name not in here.local or real[name].shape != here.local[name].shape:
        return None
    params, batch = _real(here.params), dict(here.batch)
    records = {n: a for n, a in here.local.items() if n != "J"} | real

    def replayed(replacements: Mapping[str, np.ndarray]) -> Arrays:
        p, b, r = ({n: replacements.get(n, a) for n, a in of.items()} for of in (params, batch, records))
        try:
            with quietly():
                found = run_reference(here.reference, p, b, r, "float64")
        except InputError:  # an operand out of the range that the reference takes
            return {}
        return _real({**found.values, **found.gradients})

    by_size: dict[int, list[str]] = {}
    for of, array in batch.items():
        for axis, n in enumerate(array.shape):
            by_size.setdefault(n, []).append(f"axis {axis} of {of}")
    sizes = {f"the size of {' and '.join(places[:3])}": n for n, places in by_size.items()}
    for of, shape in usual.items():
        axes = [axis for axis, (n, m) in enumerate(zip(batch[of].shape, shape, strict=False)) if n != m]
        for axis in axes[:1]:
            sizes |= {"n": batch[of].shape[axis], "batch size": shape[axis]}
    fields = {n: a for n, a in real.items() if a.ndim}
    cast = bool(fields) and all(map(is_float32, fields.values()))
    return Scene(
        name=name,
        recorded=real[name],
        reference=here.local[name],
        dtype="float32" if cast else dtype,
        tensors={**params, **_real(batch), **records},
        parameters=frozenset(params),
        inputs=frozenset(batch),
        reads=reads,
        replay=replayed,
        previous=_real(previous),
        numbers={**sizes, "ln 2": LN2},
    )


def of_network(
    name: str,
    experiment: Experiment,
    data: Data,
    twin: LocalTwin,
    convention: Convention,
    step: Step,
    before: Step | None,
) -> Scene | None:
    """A tensor of the notes' network at a step, from the side that ran in the finest precision."""
    dtype = "float64" if "float64" in step.sides else "float32"
    side = step.sides[dtype]
    records = _real(convention.normalised(side.recorded))
    if name not in records or any(n not in records for n in ("X", "Y")):
        return None
    with quietly():
        replayed = twin.replay(side.params, records, inspect=True)
        local = {**side.batch, **replayed.values, **replayed.gradients}
        due = {f"{kind}{p}": a.shape for p, a in side.params.items() for kind in "dv"}
        usable = {n: a for n, a in records.items() if a.shape == due.get(n, a.shape)}
        if all(f"d{p}" in usable for p in side.params):
            local |= twin.update(side.params, side.velocities, usable)
    if name not in local or local[name].shape != records[name].shape:
        return None

    params = _real(side.params)

    def evaluated(replacements: Mapping[str, np.ndarray]) -> Arrays:
        p, r = ({n: replacements.get(n, a) for n, a in of.items()} for of in (params, records))
        with quietly():
            again = twin.replay(p, r)
        return {**again.values, **again.gradients}

    in_forward = not name.startswith("v") and not name.endswith("_next") and name not in ("X", "Y")
    n, n_x, K = records["X"].shape[1], data.X.shape[0], data.Y.shape[0]
    nominal = data.X.shape[1] if experiment.batch_size is None else experiment.batch_size
    numbers = {"n": n, "N": data.X.shape[1], "K": K, "n_x": n_x, "ln 2": LN2}
    numbers |= {"batch size": nominal} if nominal != n else {}
    rates = {"learning rate": experiment.learning_rate, "beta": experiment.beta, "1 - beta": 1 - experiment.beta}
    return Scene(
        name=name,
        recorded=records[name],
        reference=np.asarray(local[name], dtype=np.float64),
        dtype="float32" if all(map(is_float32, records.values())) else dtype,
        tensors={
            **params,
            **{f"{v} before": a for v, a in _real(side.velocities).items()},
            **records,
            "all of X": data.X,
            "all of Y": data.Y,
        },
        parameters=frozenset(side.params),
        inputs=frozenset(("X", "Y")),
        reads=replayed.reads,
        replay=evaluated if in_forward else None,
        previous={} if before is None else _before(before.sides.get(dtype), convention),
        updated={p: records[f"{p}_next"] for p in side.params if f"{p}_next" in records},
        numbers={**numbers, **rates, "l2": experiment.l2},
        settings={**rates, "l2": experiment.l2, "step": step.number},
    )


def _before(side: SideStep | None, convention: Convention) -> Arrays:
    """What the step before recorded, and the parameters that it started from."""
    return {} if side is None else {**_real(side.params), **_real(convention.normalised(side.recorded))}


def _real(arrays: Mapping[str, np.ndarray]) -> Arrays:
    """The arrays of real numbers, in float64."""
    return {name: np.asarray(array, dtype=np.float64) for name, array in arrays.items() if is_real(array)}
