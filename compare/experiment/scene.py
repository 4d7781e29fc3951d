"""The material in which the cause of a wrong tensor of the notes' network is sought."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from handgrad.compare.diagnosis.scene import Scene
from handgrad.compare.experiment.data import Data
from handgrad.compare.experiment.recording import NetworkStep
from handgrad.compare.experiment.settings import Settings
from handgrad.compare.names import is_updated, of_velocity, updated
from handgrad.compare.oracle.reference import Reference, run_on_records
from handgrad.compare.pipeline.scene import LN2
from handgrad.compare.sandbox import quietly
from handgrad.compare.trace import Arrays, is_float32, real
from handgrad.compare.verdict.judgement import StepRun


def scene_of_network(
    name: str,
    settings: Settings,
    data: Data,
    step: NetworkStep,
    dtype: str,
    run: StepRun,
    velocities: Arrays,
    previous: Arrays,
    reference: Reference,
    reads: Mapping[str, frozenset[str]],
) -> Scene | None:
    """The scene of a tensor at a step, from the side in a precision: `run` has its records beside torch.

    `velocities` are what it started from, `previous` what the step before recorded, with its parameters.
    """
    records = real(run.records)
    if name not in records or not {"X", "Y"} <= records.keys():
        return None
    if name not in run.local or run.local[name].shape != records[name].shape:
        return None
    params = real(step.sides[dtype].before)

    def replayed(replacements: Arrays) -> dict[str, np.ndarray]:
        p, r = ({n: replacements.get(n, a) for n, a in of.items()} for of in (params, records))
        with quietly():
            again = run_on_records(reference, p, {"X": r["X"], "Y": r["Y"]}, r)
        return {**again.values, **again.gradients}

    is_update = is_updated(name) or of_velocity(name) in params
    numbers, rates = _numbers(settings, data, records["X"].shape[1])
    return Scene(
        name=name,
        recorded=records[name],
        reference=np.asarray(run.local[name], dtype=np.float64),
        dtype="float32" if all(map(is_float32, records.values())) else dtype,
        tensors={
            **params,
            **{f"{v} before": array for v, array in real(velocities).items()},
            **records,
            "all of X": data.X,
            "all of Y": data.Y,
        },
        parameters=frozenset(params),
        inputs=frozenset(("X", "Y")),
        reads=reads,
        replay=None if is_update or name in ("X", "Y") else replayed,
        previous=real(previous),
        updated={p: records[updated(p)] for p in params if updated(p) in records},
        numbers=numbers,
        settings={**rates, "step": step.number},
    )


def _numbers(settings: Settings, data: Data, n: int) -> tuple[dict[str, float], dict[str, float]]:
    """The numbers that a factor may be, by name, and the rates of the update."""
    (n_x, N), K = data.X.shape, data.Y.shape[0]
    nominal = N if settings.batch_size is None else settings.batch_size
    sizes = {"n": n, "N": N, "K": K, "n_x": n_x, "ln 2": LN2, **({"batch size": nominal} if nominal != n else {})}
    rates = {"learning rate": settings.learning_rate, "beta": settings.beta, "1 - beta": 1 - settings.beta}
    return {**sizes, **rates, "l2": settings.l2}, {**rates, "l2": settings.l2}
