"""The slope of a function of one number, as a derivation's own J, by finite differences, with its error."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isfinite, nan
from typing import NamedTuple

from handgrad.compare.thresholds import (
    KINK,
    OWN_LOSS_ERRORS,
    OWN_LOSS_SURE,
    SAME_BEND,
    SLOPE_FAR,
    SLOPE_NEAR,
    SLOPE_ROUNDINGS,
    SLOPE_STEP,
    SLOPE_WIDE,
    UNIT_ROUNDOFF,
)
from handgrad.compare.trace import Arrays

Cost = Callable[[float], float]


def loss_in(records: Arrays) -> float:
    """J as a derivation returned it; nan where it did not."""
    J = records.get("J")
    return float(J.reshape(())) if J is not None and J.size == 1 and J.dtype.kind == "f" else nan


class Slope(NamedTuple):
    """A derivative, how far it may be off, whether a kink leaves none, and what rounding of a smooth J leaves."""

    value: float
    error: float
    kink: bool
    rounding: float

    def tells(self, beside: float) -> bool:
        """Whether it is known well enough to say something against a number.

        It may be small beside that, or 0, only where its error is rounding: over steps that J is chaotic or coarse in,
        every slope is small and means nothing.
        """
        of_rounding = self.error <= KINK * self.rounding
        return OWN_LOSS_ERRORS * self.error <= OWN_LOSS_SURE * max(abs(self.value), beside if of_rounding else 0.0)


def slope(cost: Cost, w: float) -> Slope:
    """The derivative of a cost J at w, by central differences; nan where J is not finite nearby.

    The evaluations of J, and the error that each one guards against:

    w                     what the others are compared with
    w + h, w - h          outer slope and bend (the change of the slope at w)
    w + h/2, w - h/2      inner slope and bend: curvature, which the inner slope has a quarter of, cancels from both
    w + h/4, w - h/4      a bend that shrinks with h at first only; asked only where a kink is suspected
    w (1 + u), w (1 - u)  the rounding of J: over so short a distance, 2^-51 of w, nothing else changes it
    w + 3.7 h, w - 3.7 h  lost digits: a J that is computed coarsely has another slope over another distance
    w + 2^-4              a J in steps wider than all of these: it looks constant, and is not
    """
    J, h = cost(w), SLOPE_STEP * max(abs(w), 1.0)
    outer = _around(cost, w, h)
    if not all(map(isfinite, outer)) and w:  # so far from w J may have no value, as log(w) has none below 0
        h = SLOPE_STEP * abs(w)
        outer = _around(cost, w, h)
    inner = _around(cost, w, h / 2)
    near = max(abs(cost(w * (1 + sign * SLOPE_NEAR)) - J) for sign in (-1, 1))
    rounding = SLOPE_ROUNDINGS * UNIT_ROUNDOFF["float64"] * max(map(abs, [*outer, *inner, J])) / h
    noise = max(rounding, 4 * near / h)
    wide_slope, narrow_slope = _slope(outer, h), _slope(inner, h / 2)
    far_slope = _slope(_around(cost, w, SLOPE_FAR * h), SLOPE_FAR * h)
    spread = max(abs(narrow_slope - wide_slope), abs(far_slope - wide_slope)) if isfinite(far_slope) else inf
    if wide_slope == narrow_slope == far_slope == 0 and cost(w + SLOPE_WIDE * max(abs(w), 1.0)) != J:
        spread = inf
    bends = _bend(outer, J, h), _bend(inner, J, h / 2)
    kink = _persists(*bends, noise) and _persists(bends[1], _bend(_around(cost, w, h / 4), J, h / 4), noise)
    return Slope((4 * narrow_slope - wide_slope) / 3, spread + noise, kink, rounding)


def quotient(cost: Cost, w: float) -> float:
    """The plain difference quotient of a cost over the usual step, without an error: two evaluations."""
    h = SLOPE_STEP * max(abs(w), 1.0)
    return _slope(_around(cost, w, h), h)


def _around(cost: Cost, w: float, h: float) -> tuple[float, float]:
    return cost(w + h), cost(w - h)


def _slope(costs: tuple[float, float], h: float) -> float:
    return (costs[0] - costs[1]) / (2 * h)


def _bend(costs: tuple[float, float], J: float, h: float) -> float:
    """How much the slope changes at w: in proportion to h where J is smooth, by the same at a kink."""
    return (costs[0] - 2 * J + costs[1]) / h


def _persists(bend: float, half: float, noise: float) -> bool:
    """Whether the slope changes as much over half the distance, by more than the rounding of J."""
    return abs(half) > KINK * noise and bend != 0 and SAME_BEND[0] < half / bend < SAME_BEND[1]
