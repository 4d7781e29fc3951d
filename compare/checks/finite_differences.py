"""A second opinion, where something was found: is a gradient that of the derivation's own J?

Central differences of J at a few entries of each parameter, extrapolated from two step sizes. Entries at a kink, where
the slopes on both sides differ however small the step, have no derivative and are left out and named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from handgrad.compare.sandbox import Call, call, in_precision

__all__ = ["against_own_loss"]

ENTRIES = 6  # of each parameter, chosen at random, and
ALTOGETHER = 60
STEP = 2.0**-16
FAR = 3.7  # times the step, for another estimate
WIDE = 2.0**-4  # the step at which J has to stay what it is where differences say that it does
SURE = 0.1  # the share of a slope up to which it may be off and still tell anything


def against_own_loss(
    derivation: Callable[..., Any],
    params: Mapping[str, np.ndarray],
    batch: Mapping[str, np.ndarray],
    calls: Mapping[str, Call],
) -> list[str]:
    """Notes on how the returned parameter gradients compare with central differences of the returned J, in float64."""
    records = calls["float64"].records if "float64" in calls else {}
    inputs = in_precision(batch, "float64")
    J = records.get("J")
    if J is None or J.size != 1 or J.dtype != np.float64 or not np.isfinite(J).all():
        return []

    def cost(name: str, index: tuple[int, ...]) -> Callable[[float], float]:
        def moved_to(value: float) -> float:
            w = params[name].copy()
            w[index] = value
            J = call(derivation, {**params, name: w}, inputs).records.get("J")
            return float(J.reshape(())) if J is not None and J.size == 1 and J.dtype.kind == "f" else np.nan

        return moved_to

    rng = np.random.default_rng(0)
    agree, notes, tried = [], [], 0
    entries = max(1, min(ENTRIES, ALTOGETHER // len(params)))
    for name, w in params.items():
        gradient = records.get(f"d{name}")
        if gradient is None or gradient.dtype.kind != "f" or gradient.shape != w.shape:
            continue
        scale = float(np.max(np.abs(gradient), initial=0.0, where=np.isfinite(gradient)))
        kinks, wrong, right = [], [], 0
        for flat in rng.permutation(w.size)[:entries]:
            index = tuple(int(i) for i in np.unravel_index(flat, w.shape))
            slope, error, kink = _slope(cost(name, index), float(w[index]), float(J.reshape(())))
            if not np.isfinite(slope) or not np.isfinite(gradient[index]):
                continue
            if kink:
                kinks.append(index)
            elif not 10 * error <= SURE * max(scale, abs(slope)):
                continue
            elif abs(slope - gradient[index]) <= 10 * error + 1e-7 * scale:
                right += 1
            else:
                wrong.append((index, float(gradient[index]), slope))
        if kinks:
            where = ", ".join(map(str, kinks))
            notes.append(
                f"Own loss: J has a kink in {name} at {where}; no derivative exists there and none is compared."
            )
        if wrong:
            index, returned, slope = max(wrong, key=lambda each: abs(each[1] - each[2]))
            notes.append(
                f"Own loss: d{name} is not the gradient of the derivation's own J: at {index} it is {returned:.7g}, "
                f"central differences of J give {slope:.7g}."
            )
        elif right:
            agree.append(f"d{name}")
            tried += right
    if agree:
        notes.append(
            f"Own loss: {', '.join(agree)} {'is' if len(agree) == 1 else 'are'} the gradient of the derivation's own J "
            f"(central differences, {tried} {'entry' if tried == 1 else 'entries'})."
        )
    return notes


def _slope(cost: Callable[[float], float], w: float, J: float) -> tuple[float, float, bool]:
    """The derivative of a cost at w, how far it may be off, and whether there is none because of a kink."""
    h = STEP * max(abs(w), 1.0)
    wide = [cost(w + h), cost(w - h)]
    if not np.isfinite(wide).all() and w:  # so far from w J may have no value, as log(w) has none below 0
        h = STEP * abs(w)
        wide = [cost(w + h), cost(w - h)]
    narrow = [cost(w + h / 2), cost(w - h / 2)]
    outer, inner = (wide[0] - wide[1]) / (2 * h), (narrow[0] - narrow[1]) / h
    bend_outer, bend_inner = (wide[0] - 2 * J + wide[1]) / h, (narrow[0] - 2 * J + narrow[1]) / (h / 2)
    nearest = [cost(w * (1 + by * 2.0**-51)) - J for by in (-1, 1)]  # what J changes by is rounding
    noise = max(16 * 2.0**-53 * max(map(abs, [*wide, *narrow, J])), 4 * max(map(abs, nearest))) / h
    kink = _is_bend(bend_outer, bend_inner, noise) and _is_bend(bend_inner, _bend(cost, w, J, h / 4), noise)
    far = (cost(w + FAR * h) - cost(w - FAR * h)) / (2 * FAR * h)  # unlike the others where J has lost its digits
    apart = max(abs(inner - outer), abs(far - outer)) if np.isfinite(far) else np.inf
    if outer == inner == far == 0 and cost(w + WIDE * max(abs(w), 1.0)) != J:  # it goes in steps, wider than these
        apart = np.inf
    return (4 * inner - outer) / 3, apart + noise, bool(kink)


def _bend(cost: Callable[[float], float], w: float, J: float, h: float) -> float:
    """How much the slope changes at w, over a distance h: it shrinks with h unless there is a kink."""
    return (cost(w + h) - 2 * J + cost(w - h)) / h


def _is_bend(outer: float, inner: float, noise: float) -> bool:
    """Whether the slope changes as much over half the distance, by more than the rounding of J."""
    return abs(inner) > 64 * noise and 0.75 < inner / outer < 1.33 if outer else False
