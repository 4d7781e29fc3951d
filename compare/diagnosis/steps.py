"""Velocities and updates: which momentum it is, and what an update forgot, reversed or added."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from handgrad.compare.diagnosis.scene import Array, Scene
from handgrad.compare.facts import updates as mistakes
from handgrad.compare.facts.causes import Cause
from handgrad.compare.names import before, gradient, is_updated, of_updated, of_velocity, velocity
from handgrad.compare.thresholds import CANCELLED, EQUAL, INFORMATIVE

# the settings of torch.optim.SGD that make it these rules
HEAVY_BALL = "lr, momentum=beta"
NESTEROV = "lr (1 - beta), momentum=beta, nesterov=True"


def orders(scene: Scene) -> Iterator[Cause]:
    """A batch that holds the right examples in another order, or other examples of the same data."""
    if scene.name not in scene.inputs or scene.recorded.ndim != 2:
        return
    data = scene.tensors.get(f"all of {scene.name}")
    ours, theirs = _examples(scene.recorded), _examples(scene.reference)
    if sorted(ours) == sorted(theirs):
        yield mistakes.OtherOrder(scene.name)
    elif data is not None and {*ours} <= {*_examples(data)}:
        yield mistakes.OtherExamples(scene.name)


def _examples(batch: Array) -> list[tuple[float, ...]]:
    return [tuple(column) for column in batch.T.tolist()]


def velocities(scene: Scene) -> Iterator[Cause]:
    """v = p v_before + q dw + r w: another momentum, told by p, q and r."""
    name, beta = of_velocity(scene.name), scene.settings.get("beta")
    if name not in scene.parameters or beta is None:
        return
    dw = scene.tensors.get(gradient(name))
    if beta and dw is not None and scene.settings.get("step") == 1:
        yield from _started_elsewhere(scene, name, (1 - beta) * dw, beta)
    names = {"before": before(scene.name), "gradient": gradient(name), "weights": name}
    arrays = {term: scene.tensors.get(tensor) for term, tensor in names.items()}
    terms = {term: a for term, a in arrays.items() if a is not None and a.shape == scene.recorded.shape and a.any()}
    fitted = _fitted(scene.recorded, terms)
    if fitted is None or not scene.explained_by(np.asarray(sum(fitted[key] * term for key, term in terms.items()))):
        return
    p, q, r = fitted.get("before"), fitted.get("gradient", 0.0), fitted.get("weights", 0.0)
    if p is not None and _near(p, 0.0) and _near(q, 1 - beta):
        yield mistakes.VelocityReset()
    if not r:
        yield from _velocity_forms(p, q, beta)
    elif (p is None or _near(p, beta)) and _near(q, 1 - beta):
        yield mistakes.DecayInVelocity(r, name)


def _velocity_forms(p: float | None, q: float, beta: float) -> Iterator[Cause]:
    """The rule v = p v + q dw; all rules with this q where v is 0 before the step, so that p is None."""
    forms = (
        (beta, 1.0, "v = beta v + dw", "dw without its 1 - beta", HEAVY_BALL),
        (1 - beta, beta, "v = (1 - beta) v + beta dw", "beta and 1 - beta are swapped", ""),
        (beta, beta, "v = beta v + beta dw", "dw has beta where 1 - beta belongs", ""),
        (1 - beta, 1 - beta, "v = (1 - beta) v + (1 - beta) dw", "v has 1 - beta where beta belongs", ""),
        (1.0, 1 - beta, "v = v + (1 - beta) dw", "v is not multiplied by beta", ""),
        (beta, -(1 - beta), "v = beta v - (1 - beta) dw", "dw has the wrong sign", ""),
        (-beta, 1 - beta, "v = -beta v + (1 - beta) dw", "v has the wrong sign", ""),
        (beta, 0.0, "v = beta v", "dw does not enter", ""),
        (0.0, 1.0, "v = dw", "there is no memory", ""),
    )
    for due_p, due_q, formula, meaning, twin in forms:
        if p is None and _near(q, due_q) and not _near(due_q, 1 - beta):  # 1 - beta is right
            yield mistakes.VelocityForm(formula, meaning, twin, from_zero=True)
        elif p is not None and _near(q, due_q) and _near(p, due_p):
            yield mistakes.VelocityForm(formula, meaning, twin)
            return


def _started_elsewhere(scene: Scene, name: str, due: Array, beta: float) -> Iterator[Cause]:
    """v before the first step is something else than 0."""
    if due.shape != scene.recorded.shape or not scene.wrong.any():
        return
    start = float(np.median(scene.recorded - due)) / beta
    starts = {mistakes.StartsFrom(name): scene.tensors.get(name), mistakes.StartsFrom(fitted=start): start}
    yield from scene.explaining((cause, due + beta * v) for cause, v in starts.items() if v is not None)


def updates(scene: Scene) -> Iterator[Cause]:
    """w_next = w + p v + q dw + r w: ascent, the rate twice, decay, a bias left out, another momentum."""
    name, rate = of_updated(scene.name), scene.settings.get("learning rate")
    if not is_updated(scene.name) or name not in scene.tensors or rate is None:
        return
    w = scene.tensors[name]
    if not (scene.recorded - w).any():
        yield mistakes.LeftOut()
        return
    by = velocity(name) if velocity(name) in scene.tensors else gradient(name)
    step = scene.tensors.get(by)
    if step is None or step.shape != w.shape:
        return
    forms = [
        (mistakes.UpdateFormula(f"{name} + rate {by}", "it goes up the gradient"), w + rate * step),
        (mistakes.UpdateFormula(f"{name} - rate^2 {by}", "the rate is applied twice"), w - rate**2 * step),
        (mistakes.UpdateFormula(f"{name} - {by}", "the rate is not applied"), w - step),
        (mistakes.UpdateFormula(f"-rate {by}", "the weights are replaced, not changed"), -rate * step),
        *(_momentum_forms(scene, name, rate) if by == velocity(name) else ()),
    ]
    yield from scene.explaining(forms)
    c = _fitted(scene.recorded - scene.reference, {"weights": w})
    if c is not None and scene.explained_by(scene.reference + c["weights"] * w, fitted=1):
        yield mistakes.DecayInUpdate(c["weights"], name)


def _momentum_forms(scene: Scene, name: str, rate: float) -> Iterator[tuple[mistakes.UpdateFormula, Array]]:
    """Other formulas of the weights updated by a velocity, with what they predict."""
    v, dw = velocity(name), gradient(name)
    w, step, g = (scene.tensors[of] for of in (name, v, dw))
    earlier = scene.tensors.get(before(v), np.zeros_like(w))
    beta, t = scene.settings.get("beta", 0.0), int(scene.settings.get("step", 1))
    formula = mistakes.MomentumFormula
    yield formula(f"{name} - rate {dw}", "the velocity is not used"), w - rate * g
    corrected = formula(f"{name} - rate {v}/(1 - beta^t)", "a bias correction that the notes do not have")
    yield corrected, w - rate * step / (1 - beta**t)
    nesterov = formula(f"{name} - rate (beta {v} + (1 - beta) {dw})", "Nesterov's step", NESTEROV)
    yield nesterov, w - rate * (beta * step + (1 - beta) * g)
    yield formula(f"{name} - rate (beta {v} + {dw})"), w - rate * (beta * step + g)
    late = formula(f"{name} - rate {v} of the step before", "it is updated before the velocity")
    yield late, w - rate * earlier


def _fitted(target: Array, terms: dict[str, Array]) -> dict[str, float] | None:
    """The coefficients with which terms add up to a target best; None where there are too few entries to tell."""
    if not terms or target.size < max(INFORMATIVE, len(terms) + 1):
        return None
    columns = np.stack([term.ravel() for term in terms.values()], axis=1)
    scales, largest = np.max(np.abs(columns), axis=0), np.max(np.abs(target))
    if not scales.all() or not np.isfinite((largest, *scales)).all():
        return None  # LAPACK would say on the standard output that it cannot
    solution, _, rank, _ = np.linalg.lstsq(columns / scales, target.ravel(), rcond=None)
    if rank < len(terms):
        return None
    coefficients = np.where(np.abs(solution) > CANCELLED * largest, solution / scales, 0.0)
    return dict(zip(terms, coefficients.tolist(), strict=True))


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= EQUAL * max(abs(b), 1.0)
