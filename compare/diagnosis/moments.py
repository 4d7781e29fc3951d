"""Adam's moments, and updates by them: which other formula one follows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from handgrad.compare.diagnosis.scene import Array, Scene
from handgrad.compare.facts import updates as mistakes
from handgrad.compare.facts.causes import Cause
from handgrad.compare.names import before, gradient, is_updated, of_remembered, of_updated, remembered


def moments(scene: Scene) -> Iterator[Cause]:
    """m = beta m + (1 - beta) dw or s = beta2 s + (1 - beta2) dw^2 by another formula, from another start, or anew."""
    letter, name = of_remembered(scene.name)
    share, other, term = {"m": ("beta", "beta2", "dw"), "s": ("beta2", "beta", "dw^2")}.get(letter, ("", "", ""))
    w, dw = scene.tensors.get(name), scene.tensors.get(gradient(name))
    if not share or not {share, other} <= scene.settings.keys() or w is None or dw is None:
        return
    b, o = scene.settings[share], scene.settings[other]
    new, kept = (dw if letter == "m" else dw * dw), scene.tensors.get(before(scene.name), np.zeros_like(dw))
    if b and scene.settings.get("step") == 1 and scene.wrong.any():
        start = float(np.median(scene.recorded - scene.reference)) / b
        starts = {mistakes.StartsFrom(name, state=letter): w}
        starts[mistakes.StartsFrom(fitted=start, state=letter)] = np.asarray(start)
        yield from scene.explaining((cause, scene.reference + b * of) for cause, of in starts.items())
    if scene.explained_by((1 - b) * new):
        yield mistakes.VelocityReset(letter, share, term)
    forms = {
        (f"{share} x + {term}", f"{term} without its 1 - {share}"): b * kept + new,
        (f"(1 - {share}) x + {share} {term}", f"{share} and 1 - {share} are swapped"): (1 - b) * kept + b * new,
        (f"{share} x + {share} {term}", f"{term} has {share} where 1 - {share} belongs"): b * kept + b * new,
        (f"x + (1 - {share}) {term}", f"x is not multiplied by {share}"): kept + (1 - b) * new,
        (f"{share} x - (1 - {share}) {term}", f"{term} has the wrong sign"): b * kept - (1 - b) * new,
        (f"{term}", "there is no memory"): new,
        (f"{other} x + (1 - {other}) {term}", f"{other} stands where {share} belongs"): o * kept + (1 - o) * new,
        (f"{share} x + (1 - {share}) dw", "dw is not squared"): b * kept + (1 - b) * dw,
    }
    for (formula, meaning), made in forms.items():
        rule, wrong = (text.replace("x ", f"{letter} ") for text in (f"x = {formula}", meaning))
        yield from scene.explaining([(mistakes.VelocityForm(rule, wrong, "", not kept.any(), letter), made)])


def adam_updates(scene: Scene) -> Iterator[Cause]:
    """The weights updated by Adam's moments in another way."""
    name, settings = of_updated(scene.name), scene.settings
    known = [scene.tensors.get(of) for of in (name, *remembered("ms", [name]), gradient(name))]
    w, m, s, dw = known
    needed = {"learning rate", "beta", "beta2", "epsilon", "step"}
    if not is_updated(scene.name) or w is None or m is None or s is None or dw is None or not needed <= settings.keys():
        return
    rate, beta, beta2, eps, t = (settings[of] for of in ("learning rate", "beta", "beta2", "epsilon", "step"))

    def corrected(t: float) -> tuple[Array, Array]:
        return m / (1 - beta**t), s / (1 - beta2**t)

    def moved(mean: Array, divisor: Array | float) -> Array:
        return np.asarray(w - rate * mean / divisor)

    (M, S), memory, form = corrected(t), mistakes.MomentumFormula, mistakes.UpdateFormula
    root = np.sqrt(S) + eps
    forms: list[tuple[Cause, Array]] = [
        (form(f"{name} + rate m'/(sqrt(s') + eps)", "it goes up the gradient"), moved(-M, root)),
        (mistakes.Counted("left-out"), moved(m, np.sqrt(s) + eps)),
        (memory(f"{name} - rate m/(sqrt(s') + eps)", "m is not divided by 1 - beta^t"), moved(m, root)),
        (memory(f"{name} - rate m'/(sqrt(s) + eps)", "s is not divided by 1 - beta2^t"), moved(M, np.sqrt(s) + eps)),
        (memory(f"{name} - rate {gradient(name)}/(sqrt(s') + eps)", "m is not used"), moved(dw, root)),
        (form(f"{name} - rate m'/(s' + eps)", "the root of s is left out"), moved(M, S + eps)),
        (form(f"{name} - rate m'/sqrt(s' + eps)", "epsilon stands inside the root"), moved(M, np.sqrt(S + eps))),
        (form(f"{name} - rate m'/sqrt(s')", "epsilon is left out"), moved(M, np.sqrt(S))),
        (form(f"{name} - rate m'", "it is not divided by the root of s"), moved(M, 1.0)),
    ]
    for how, other in {"ahead": t + 1, "stuck": 1.0}.items():
        if other != t:
            mean, square = corrected(other)
            forms.append((mistakes.Counted(how), moved(mean, np.sqrt(square) + eps)))
    yield from scene.explaining(forms)
