"""How a difference behaves where everything moves: whether it stays, is drawn anew, or is gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from handgrad.compare.thresholds import (
    AMPLIFIED,
    CONSTANT,
    LARGE,
    MOVE,
    MOVE_FLOAT32,
    MOVE_LESS,
    MOVES,
    PLACES,
    ROUNDINGS,
    SAME,
    SPECIAL_POINT,
    TELLING_ENTRIES,
    TINY,
    UNIT_ROUNDOFF,
)
from handgrad.compare.verdict.closeness import Local
from handgrad.compare.verdict.rounding import Flagged, largest, size

Array = np.ndarray
FINE = UNIT_ROUNDOFF["float64"]


@dataclass(frozen=True)
class Moved:
    """A flagged tensor at another place: where the parameters and the batch have moved by a share."""

    flagged: Flagged
    local: Local

    @property
    def is_usable(self) -> bool:
        """Whether both sides are finite there, in the same shape."""
        same = self.local.recorded.shape == self.flagged.difference.shape
        return same and bool(np.isfinite(self.local.recorded).all() and np.isfinite(self.local.reference).all())

    @property
    def difference(self) -> Array:
        """Signed."""
        return np.asarray(self.local.recorded - self.local.reference)

    @property
    def change(self) -> float:
        """The share of the difference that changes, where it sticks out, each entry in its own deviation.

        Entries where nothing is left of it, as at a kink, are left out if it is not gone everywhere, and entries that
        stay where they are on both sides, which draws no rounding anew, if not all do.
        """
        flagged, here, there = self.flagged, self.flagged.difference, self.difference
        if flagged.largest > ROUNDINGS:
            left = np.abs(there) > SPECIAL_POINT * np.abs(here)
            weight = flagged.weight
            for tells in (left, self.moves):
                weight = weight * tells if (weight * tells).any() else weight
            before, after, apart = (size(each * weight) for each in (here, there, there - here))
        else:  # it sticks out along the reference alone
            unit = flagged.local.reference * flagged.weight
            length = max(size(unit), np.finfo(float).tiny)
            before, after = (float(np.sum(each * flagged.weight * unit)) / length for each in (here, there))
            apart, before, after = abs(after - before), abs(before), abs(after)
        return apart / max(before, after, np.finfo(float).tiny)

    @property
    def swing(self) -> float:
        """The share of the reference that changes, where the difference sticks out."""
        weight, before = self.flagged.weight, self.flagged.local.reference
        return size((self.local.reference - before) * weight) / max(size(before * weight), np.finfo(float).tiny)

    @property
    def is_gone(self) -> bool:
        """Whether nothing is left of the difference, by itself and relative to the reference, which may have been 0."""
        at, flagged = self.flagged.stands_out, self.flagged
        here, left = (_share_of(each.difference, each.local.reference, at) for each in (flagged, self))
        before, after = (largest(each.difference[at]) for each in (flagged, self))
        return left <= SPECIAL_POINT * here and after <= SPECIAL_POINT * before

    @property
    def stands(self) -> tuple[bool, bool]:
        """Whether by hand, and in torch, half of the entries or more are the same number although the other moves."""
        at = self.flagged.stands_out & self.moves
        by_hand, torch = (
            bool(2 * np.count_nonzero((there == here) & at) > np.count_nonzero(at))
            for there, here in zip(self.local, self.flagged.local, strict=True)
        )
        return by_hand, torch

    @property
    def moves(self) -> Array:
        """Where either side moves, by more than its last digit."""
        recorded, reference = map(_moves, self.local, self.flagged.local)
        return np.asarray(recorded | reference)


def _moves(after: Array, before: Array) -> Array:
    return np.asarray(np.abs(after - before) > 2 * FINE * np.abs(before))


def _share_of(difference: Array, reference: Array, at: Array) -> float:
    return largest(difference[at]) / max(largest(reference[at]), np.finfo(float).tiny)


def moved(flagged: Flagged, by: float) -> list[Moved]:
    """The tensor at the places where it can be judged; at the first where so much stands out that this tells enough."""
    places = (Moved(flagged, local) for local in flagged.witness.places(flagged.name, by))
    return [*islice((place for place in places if place.is_usable), 1 if _tells(flagged) else PLACES)]


def _tells(flagged: Flagged) -> bool:
    """Whether one place shows what a difference does: a large one, of many entries that rounding hardly moves.

    Where rounding moves them all follow one direction, and so many entries tell no more than one.
    """
    most = size(flagged.local.reference)
    is_plain = ROUNDINGS * size(flagged.deviation) <= TINY * most and size(flagged.difference) > LARGE * most
    return is_plain and bool(np.count_nonzero(flagged.stands_out) >= TELLING_ENTRIES)


def behaviour(flagged: Flagged, by: float) -> str:
    """What a difference does over moves of the parameters and the batch by a share.

    "gone"         it was at a special point: nothing of it is left where anything moves
    "ratio"        it is one share of the reference, which itself moves
    "stands"       the derivation stands still where the reference moves
    "systematic"   it stays
    "noise"        it is drawn anew
    "unknown"      the derivation, or the reference, cannot be moved
    """
    if by not in flagged.behaviours:
        flagged.behaviours[by] = _behaviour(flagged, by)
    return flagged.behaviours[by]


def _behaviour(flagged: Flagged, by: float) -> str:
    places = moved(flagged, by)
    if not places:
        return "unknown"
    if all(place.is_gone for place in places):
        return "gone"
    swing = float(np.median([place.swing for place in places]))
    if swing > MOVES and _is_one_share(flagged, places):
        return "ratio"
    if 2 * sum(place.stands[0] for place in places) > len(places):
        return "stands"
    if max(place.change for place in places) <= SAME:
        return "systematic"
    amplifies = by == MOVE and swing > AMPLIFIED and not flagged.witness.is_nothing(flagged.name)
    stays = amplifies and behaviour(flagged, MOVE_LESS) in ("systematic", "ratio")
    return "systematic" if stays and _is_smooth(flagged) else "noise"


def _is_smooth(flagged: Flagged) -> bool:
    """Whether the record moves twice as far over moves that are twice as long: what is cast stands still, or jumps."""
    at, before = flagged.stands_out, flagged.local.recorded
    once, twice = ([(p.local.recorded - before)[at] for p in moved(flagged, by)] for by in (MOVE_LESS, 2 * MOVE_LESS))
    pairs = [*zip(once, twice, strict=False)]
    return bool(pairs) and all(2 * size(far - 2 * near) < size(far) for near, far in pairs)


def _is_one_share(flagged: Flagged, places: Sequence[Moved]) -> bool:
    """Whether the difference is the same share of the reference wherever it moves, exactly or to within rounding.

    Where it sticks out, or in the whole tensor: which entries stick out may change from place to place.
    """
    weights = (flagged.weight, np.ones(flagged.difference.shape))
    return any(_has_one_share(flagged, places, weight) for weight in weights)


def _has_one_share(flagged: Flagged, places: Sequence[Moved], weight: Array) -> bool:
    share, _ = _fitted(flagged.difference, flagged.local.reference, weight)
    if not abs(share) > MOVES:
        return False
    fits = [_fitted(place.difference, place.local.reference, weight) for place in places]
    if all(abs(other - share) <= CONSTANT * abs(share) and rest < MOVES for other, rest in fits):
        return True
    at, unit = weight > 0, flagged.deviation
    left = [largest(((place.difference - share * place.local.reference) / unit)[at]) for place in places]
    there = [largest((place.difference / unit)[at]) for place in places]
    return (len(left) > 2 or _tells(flagged)) and max(left) <= ROUNDINGS and min(there) > max(ROUNDINGS, 8 * max(left))


def _fitted(difference: Array, reference: Array, weight: Array) -> tuple[float, float]:
    """The share of the reference that a difference is, by least squares, and the share of it that this leaves."""
    d, g = difference * weight, reference * weight
    square = float(np.sum(g * g))
    share = float(np.sum(d * g)) / square if square > 0 else 0.0
    return share, size(d - share * g) / max(size(d), np.finfo(float).tiny)


def step_of(flagged: Flagged) -> float:
    """The move that draws this precision's roundings anew."""
    return MOVE if flagged.witness.unit == FINE else MOVE_FLOAT32


def behaves(flagged: Flagged) -> str:
    """The behaviour over that move."""
    return behaviour(flagged, step_of(flagged))
