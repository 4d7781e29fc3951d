"""The material in which the cause of a wrong tensor of the notes' network is sought."""

from __future__ import annotations

from dataclasses import replace

from handgrad.compare.diagnosis.factors import LN2
from handgrad.compare.diagnosis.scene import Scene
from handgrad.compare.experiment.data import Data
from handgrad.compare.experiment.recording import NetworkStep
from handgrad.compare.experiment.settings import Settings
from handgrad.compare.names import before, is_updated, updated
from handgrad.compare.operations import operation
from handgrad.compare.pipeline.evidence import Evidence
from handgrad.compare.pipeline.scene import scene_of
from handgrad.compare.trace import Arrays, real


def scene_of_network(
    name: str, settings: Settings, data: Data, step: NetworkStep, here: Evidence, local: Arrays, previous: Arrays
) -> Scene | None:
    """The scene of a tensor at a step, from the records of one side, `local` being torch on them, updates included.

    `previous` is what the step before recorded, with its parameters.
    """
    dtype = "float64" if "float64" in step.sides else "float32"
    scene = scene_of(name, here, local, real(here.records), here.reads, dtype)
    if scene is None or not {"X", "Y"} <= here.batch.keys():
        return None
    numbers, rates = _numbers(settings, data, here.batch["X"].shape[1])
    state = {before(kept): array for kept, array in real(step.state[dtype]).items()}
    is_replayed = name not in here.batch and not is_updated(name) and name not in step.state[dtype]
    return replace(
        scene,
        tensors={**scene.tensors, **state, "all of X": data.X, "all of Y": data.Y},
        replay=scene.replay if is_replayed else None,
        previous=real(previous),
        updated={p: scene.tensors[updated(p)] for p in here.params if updated(p) in scene.tensors},
        numbers=numbers,
        settings={**rates, "step": step.number},
    )


def _numbers(settings: Settings, data: Data, n: int) -> tuple[dict[str, float], dict[str, float]]:
    """The numbers that a factor may be, by name, and the rates of the update."""
    (n_x, N), K = data.X.shape, data.Y.shape[0]
    nominal = N if settings.batch_size is None else settings.batch_size
    sizes = {"n": n, "N": N, "K": K, "n_x": n_x, "ln 2": LN2, **({"batch size": nominal} if nominal != n else {})}
    options = operation("optimizer", settings.optimizer).chosen(settings)
    rates = {name.replace("_", " "): value for name, value in options.items()}
    rates |= {f"1 - {name}": 1 - value for name, value in rates.items() if name.startswith("beta")}
    return {**sizes, **rates, "l2": settings.l2}, {**rates, "l2": settings.l2}
