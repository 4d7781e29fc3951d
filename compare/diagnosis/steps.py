"""Velocities, updates and batches: which other formula one follows, and which examples it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np

from handgrad.compare.diagnosis.scene import Array, Scene
from handgrad.compare.facts import updates as mistakes
from handgrad.compare.facts.causes import Cause
from handgrad.compare.names import before, gradient, is_updated, of_updated, of_velocity, velocity

# the settings of torch.optim.SGD that make it these rules
HEAVY_BALL = "lr, momentum=beta"
NESTEROV = "lr (1 - beta), momentum=beta, nesterov=True"

# other formulas, what is wrong with them, and torch's settings that are one: of a velocity v and a gradient g;
Formula = tuple[str, str, str, Callable[[SimpleNamespace], Array]]
OF_VELOCITY: tuple[Formula, ...] = (
    ("v = beta v + dw", "dw without its 1 - beta", HEAVY_BALL, lambda s: s.beta * s.v + s.g),
    ("v = (1 - beta) v + beta dw", "beta and 1 - beta are swapped", "", lambda s: s.rest * s.v + s.beta * s.g),
    ("v = beta v + beta dw", "dw has beta where 1 - beta belongs", "", lambda s: s.beta * (s.v + s.g)),
    ("v = (1 - beta) v + (1 - beta) dw", "v has 1 - beta where beta belongs", "", lambda s: s.rest * (s.v + s.g)),
    ("v = v + (1 - beta) dw", "v is not multiplied by beta", "", lambda s: s.v + s.rest * s.g),
    ("v = beta v - (1 - beta) dw", "dw has the wrong sign", "", lambda s: s.beta * s.v - s.rest * s.g),
    ("v = -beta v + (1 - beta) dw", "v has the wrong sign", "", lambda s: s.rest * s.g - s.beta * s.v),
    ("v = beta v", "dw does not enter", "", lambda s: s.beta * s.v),
    ("v = dw", "there is no memory", "", lambda s: s.g),
)
# of weights w that are updated by a velocity, or a gradient where there is none;
OF_UPDATE: tuple[Formula, ...] = (
    ("{w} + rate {v}", "it goes up the gradient", "", lambda s: s.w + s.rate * s.v),
    ("{w} - rate^2 {v}", "the rate is applied twice", "", lambda s: s.w - s.rate**2 * s.v),
    ("{w} - {v}", "the rate is not applied", "", lambda s: s.w - s.v),
    ("-rate {v}", "the weights are replaced, not changed", "", lambda s: -s.rate * s.v),
)
# and of a velocity's part in that
OF_MOMENTUM: tuple[Formula, ...] = (
    ("{w} - rate {g}", "the velocity is not used", "", lambda s: s.w - s.rate * s.g),
    (
        "{w} - rate {v}/(1 - beta^t)", "a bias correction that the notes do not have", "",
        lambda s: s.w - s.rate * s.v / (1 - s.beta**s.t),
    ),
    (
        "{w} - rate (beta {v} + (1 - beta) {g})", "Nesterov's step", NESTEROV,
        lambda s: s.w - s.rate * (s.beta * s.v + s.rest * s.g),
    ),
    ("{w} - rate (beta {v} + {g})", "", "", lambda s: s.w - s.rate * (s.beta * s.v + s.g)),
    (
        "{w} - rate {v} of the step before", "it is updated before the velocity", "",
        lambda s: s.w - s.rate * s.earlier,
    ),
)  # fmt: skip


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
    """v by another formula, from another start, anew, or with a decay."""
    name, beta = of_velocity(scene.name), scene.settings.get("beta")
    w, g = (scene.tensors.get(of) for of in (name, gradient(name)))
    if name not in scene.parameters or beta is None or w is None or g is None or g.shape != scene.recorded.shape:
        return
    v = scene.tensors.get(before(scene.name), np.zeros_like(g))
    if beta and scene.settings.get("step") == 1 and scene.wrong.any():
        start = float(np.median(scene.recorded - scene.reference)) / beta
        starts = {mistakes.StartsFrom(name): w, mistakes.StartsFrom(fitted=start): np.asarray(start)}
        yield from scene.explaining((cause, scene.reference + beta * of) for cause, of in starts.items())
    here = SimpleNamespace(v=v, g=g, beta=beta, rest=1 - beta)
    if scene.explained_by(here.rest * g):
        yield mistakes.VelocityReset()
    for formula, meaning, twin, made in OF_VELOCITY:
        yield from scene.explaining([(mistakes.VelocityForm(formula, meaning, twin, not v.any()), made(here))])
    decay = scene.multiple_of(w)
    if decay is not None:
        yield mistakes.DecayInVelocity(decay, name)


def updates(scene: Scene) -> Iterator[Cause]:
    """The weights left as they were, updated by another formula, or with a decay."""
    name, rate = of_updated(scene.name), scene.settings.get("learning rate")
    if not is_updated(scene.name) or name not in scene.tensors or rate is None:
        return
    w = scene.tensors[name]
    if not (scene.recorded - w).any():
        yield mistakes.LeftOut()
        return
    has_velocity = velocity(name) in scene.tensors
    names = {"w": name, "v": velocity(name) if has_velocity else gradient(name), "g": gradient(name)}
    here = SimpleNamespace(rate=rate, **{key: scene.tensors.get(of) for key, of in names.items()})
    if here.v is None or here.g is None or here.v.shape != w.shape:
        return
    here.beta, here.t = scene.settings.get("beta", 0.0), int(scene.settings.get("step", 1))
    here.rest, here.earlier = 1 - here.beta, scene.tensors.get(before(names["v"]), np.zeros_like(w))
    kinds = {mistakes.UpdateFormula: OF_UPDATE, mistakes.MomentumFormula: OF_MOMENTUM if has_velocity else ()}
    for kind, forms in kinds.items():
        for formula, meaning, twin, made in forms:
            yield from scene.explaining([(kind(formula.format(**names), meaning, twin), made(here))])
    decay = scene.multiple_of(w)
    if decay is not None:
        yield mistakes.DecayInUpdate(decay, name)
