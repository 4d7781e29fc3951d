"""Velocities and updates: which momentum it is, and what an update forgot, reversed or added."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from handgrad.compare.diagnosis.scene import INFORMATIVE, Array, Cause, Scene

__all__ = ["orders", "updates", "velocities"]

TOLERANCE = 1e-9


def orders(scene: Scene) -> Iterator[Cause]:
    """A batch that holds the right examples in another order, or other examples of the same data."""
    if scene.name not in scene.inputs or scene.recorded.ndim != 2:
        return
    ours, theirs = ([tuple(column) for column in side.T.tolist()] for side in (scene.recorded, scene.reference))
    if sorted(ours) == sorted(theirs):
        yield Cause("order", f"the examples of {scene.name} stand in another order than they should")
    elif "all of " + scene.name in scene.tensors:
        data = {tuple(column) for column in scene.tensors["all of " + scene.name].T.tolist()}
        if set(ours) <= data:
            yield Cause("order", f"{scene.name} holds other examples of the data than this step should see")


def velocities(scene: Scene) -> Iterator[Cause]:
    """v = p v_before + q dw: another momentum, told by p and q."""
    name = scene.name.removeprefix("v")
    if scene.name == name or name not in scene.parameters:
        return
    beta = scene.settings.get("beta")
    gradient = scene.tensors.get(f"d{name}")
    if beta and gradient is not None and scene.settings.get("step") == 1:
        yield from _started_elsewhere(scene, name, (1 - beta) * gradient, beta)
    terms = _present(scene, before=f"{scene.name} before", gradient=f"d{name}", weights=name)
    fitted = _fitted(scene.recorded, terms)
    if beta is None or fitted is None or not scene.explained_by(_combined(terms, fitted)):
        return
    p, q, r = (fitted.get(key, 0.0) for key in ("before", "gradient", "weights"))
    started = "before" in terms
    forms = [
        (beta, 1.0, f"v = beta v + dw: dw without its 1 - beta. {_sgd('heavy-ball')}"),
        (1 - beta, beta, "v = (1 - beta) v + beta dw: beta and 1 - beta are swapped"),
        (beta, beta, "v = beta v + beta dw: dw has beta where 1 - beta belongs"),
        (1 - beta, 1 - beta, "v = (1 - beta) v + (1 - beta) dw: v has 1 - beta where beta belongs"),
        (1.0, 1 - beta, "v = v + (1 - beta) dw: v is not multiplied by beta"),
        (beta, -(1 - beta), "v = beta v - (1 - beta) dw: dw has the wrong sign"),
        (-beta, 1 - beta, "v = -beta v + (1 - beta) dw: v has the wrong sign"),
        (beta, 0.0, "v = beta v: dw does not enter"),
        (0.0, 1.0, "v = dw: there is no memory"),
    ]
    if started and _near(p, 0.0) and _near(q, 1 - beta):
        yield Cause("reset", "v = (1 - beta) dw: what the steps before left in v is lost, it starts anew")
    for due_p, due_q, told in forms:
        if not started and _near(due_q, 1 - beta):  # that is right, and of v nothing is known yet
            continue
        if _near(q, due_q) and (_near(p, due_p) or not started) and not r:
            yield Cause(
                "momentum-form", told if started else f"{told} (v is 0 before this step, so as far as this step shows)"
            )
            if started:
                return
    if _near(p, beta if started else 0.0) and _near(q, 1 - beta) and r:
        yield Cause("regularisation", f"{r:.6g} times {name} is added to it")


def _started_elsewhere(scene: Scene, name: str, due: Array, beta: float) -> Iterator[Cause]:
    """v before the first step is something else than 0."""
    if due.shape != scene.recorded.shape or not scene.wrong.any():
        return
    start = float(np.median(scene.recorded - due)) / beta
    weights = scene.tensors.get(name)
    if weights is not None and scene.explained_by(due + beta * weights):
        yield Cause("momentum-form", f"v starts from {name} where it must start from 0")
    elif scene.explained_by(due + beta * start):
        yield Cause("momentum-form", f"v starts from {start:.6g} where it must start from 0", fitted=start)


def updates(scene: Scene) -> Iterator[Cause]:
    """w_next = w + p v + q dw + r w: ascent, the rate twice, decay, a bias left out, another momentum."""
    name = scene.name.removesuffix("_next")
    rate = scene.settings.get("learning rate")
    if scene.name == name or name not in scene.tensors or rate is None:
        return
    w = scene.tensors[name]
    change = scene.recorded - w
    if not change.any():
        yield Cause("update-form", f"{name} stays as it was: the update leaves it out")
        return
    v = f"v{name}"
    moved_by = v if v in scene.tensors else f"d{name}"
    step = scene.tensors.get(moved_by)
    if step is None or step.shape != w.shape:
        return
    beta, t = scene.settings.get("beta", 0.0), int(scene.settings.get("step", 1))
    forms = {
        f"{name} + rate {moved_by}: it goes up the gradient": ("update-form", w + rate * step),
        f"{name} - rate^2 {moved_by}: the rate is applied twice": ("update-form", w - rate**2 * step),
        f"{name} - {moved_by}: the rate is not applied": ("update-form", w - step),
        f"-rate {moved_by}: the weights are replaced, not changed": ("update-form", -rate * step),
    }
    if moved_by == v:
        g = scene.tensors[f"d{name}"]
        forms |= {
            f"{name} - rate d{name}: the velocity is not used": ("momentum-form", w - rate * g),
            f"{name} - rate {v}/(1 - beta^t): a bias correction that the notes do not have": (
                "momentum-form",
                w - rate * step / (1 - beta**t),
            ),
            f"{name} - rate (beta {v} + (1 - beta) d{name}): Nesterov's step. {_sgd('nesterov')}": (
                "momentum-form",
                w - rate * (beta * step + (1 - beta) * g),
            ),
            f"{name} - rate (beta {v} + d{name})": ("momentum-form", w - rate * (beta * step + g)),
            f"{name} - rate {v} of the step before: it is updated before the velocity": (
                "momentum-form",
                w - rate * scene.tensors.get(f"{v} before", np.zeros_like(w)),
            ),
        }
    for told, (code, predicted) in forms.items():
        if scene.explained_by(predicted):
            yield Cause(code, f"it is {told}")
    c = _fitted(scene.recorded - scene.reference, {"weights": w})
    if c is not None and scene.explained_by(scene.reference + c["weights"] * w):
        yield Cause("update-form", f"{c['weights']:.6g} times {name} is added to the update: a weight decay of its own")


def _sgd(form: str) -> str:
    settings = {
        "heavy-ball": "torch.optim.SGD(lr, momentum=beta) is that rule",
        "nesterov": "torch.optim.SGD(lr (1 - beta), momentum=beta, nesterov=True) is that rule",
    }
    return settings[form]


def _present(scene: Scene, **names: str) -> dict[str, Array]:
    """The terms that are there and not zero."""
    found = {key: scene.tensors.get(name) for key, name in names.items()}
    return {key: a for key, a in found.items() if a is not None and a.shape == scene.recorded.shape and a.any()}


def _fitted(target: Array, terms: dict[str, Array]) -> dict[str, float] | None:
    """The coefficients with which terms add up to a target best; None where there are too few entries to tell."""
    if not terms or target.size < max(INFORMATIVE, len(terms) + 1):
        return None
    scales = {key: float(np.max(np.abs(term))) for key, term in terms.items()}
    if not all(scales.values()) or not all(np.isfinite(array).all() for array in (target, *terms.values())):
        return None  # LAPACK would say on the standard output that it cannot
    columns = np.stack([term.ravel() / scales[key] for key, term in terms.items()], axis=1)
    solution, _, rank, _ = np.linalg.lstsq(columns, target.ravel(), rcond=None)
    if rank < len(terms):
        return None
    found = {key: float(c) / scales[key] for (key, _), c in zip(terms.items(), solution, strict=True)}
    return {key: c if abs(c) * scales[key] > 1e-10 * np.max(np.abs(target)) else 0.0 for key, c in found.items()}


def _combined(terms: dict[str, Array], coefficients: dict[str, float]) -> Array:
    return np.asarray(sum(coefficients[key] * term for key, term in terms.items()))


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= TOLERANCE * max(abs(b), 1.0)
