"""Entries that stand in the wrong places, and tensors that are wrong in a few places."""

import numpy as np
import pytest

from handgrad.compare.diagnosis.ranking import diagnose
from handgrad.compare.diagnosis.scene import Scene
from handgrad.compare.facts.causes import Unknown
from handgrad.compare.facts.updates import (
    AtKink,
    AxesPermuted,
    FilledByColumns,
    Isolated,
    Masked,
    Reordered,
    Reversed,
    SlicesDiffer,
    SlicesZero,
    Transposed,
)

RNG = np.random.default_rng(11)
R = RNG.standard_normal((4, 4))
CUBE = RNG.standard_normal((3, 3, 3))
WIDE = RNG.standard_normal((3, 5))
ORDER = (2, 0, 3, 1)

MOVED = {
    "transpose": (R.T, R, Transposed()),
    "axes": (CUBE.transpose(1, 0, 2), CUBE, AxesPermuted((1, 0, 2))),
    "backwards": (R[::-1], R, Reversed(0)),
    "reordered": (R[:, ORDER], R, Reordered(1, ORDER)),
    "columns for rows": (WIDE.T.reshape(3, 5), WIDE, FilledByColumns()),
}


@pytest.mark.parametrize(("recorded", "reference", "cause"), MOVED.values(), ids=MOVED)
def test_where_the_entries_are_is_named(recorded, reference, cause):
    assert diagnose(Scene("T", recorded, reference)) == (cause,)


def test_a_transpose_is_seen_beside_the_weight_decay():
    W = RNG.standard_normal((4, 4))
    scene = Scene("dW", R.T + 0.5 * W, R + 0.5 * W, tensors={"W": W}, parameters=frozenset("W"), settings={"l2": 0.5})
    assert diagnose(scene) == (Transposed(decay=True),)


def test_one_entry():
    wrong = R.copy()
    wrong[1, 2] += 1.0
    assert diagnose(Scene("T", wrong, R)) == (Isolated(((1, 2),)),)


def test_one_entry_of_three():
    assert diagnose(Scene("T", np.array([3.0, 1.0, 2.0]), np.array([3.0, 1.7, 2.0]))) == (Isolated(((1,),)),)


def test_of_two_entries_neither_is_isolated():
    assert diagnose(Scene("T", np.array([3.0, 1.0]), np.array([3.0, 1.7]))) == (Unknown(),)


SLICES = {
    "rows that differ": (0, [0, 3], lambda a: a**2 + 3, SlicesDiffer(0, (0, 3))),
    "a row of zeros": (0, [2], lambda a: 0 * a, SlicesDiffer(0, (2,), zero=True)),
    "an example of zeros": (1, [1], lambda a: 0 * a, SlicesZero(1, (1,))),
}


@pytest.mark.parametrize(("axis", "at", "wrong", "cause"), SLICES.values(), ids=SLICES)
def test_slices(axis, at, wrong, cause):
    reference = RNG.standard_normal((6, 5))
    recorded = reference.copy()
    index = (at, slice(None)) if axis == 0 else (slice(None), at)
    recorded[index] = wrong(recorded[index])
    assert diagnose(Scene("T", recorded, reference)) == (cause,)


def test_entries_that_are_zero_on_both_sides_do_not_make_the_others_isolated():
    reference = np.zeros((4, 6))
    reference[:, :3] = RNG.standard_normal((4, 3))
    wrong = np.where(reference == 0, 0.0, RNG.standard_normal((4, 6)))
    assert diagnose(Scene("T", wrong, reference)) == (Unknown(),)


def test_a_kink_is_told_from_a_mask():
    Z, dA = RNG.standard_normal((3, 5)), RNG.standard_normal((3, 5))
    Z[0, :3] = 0.0
    right, around = dA * (Z > 0), {"tensors": {"Z": Z, "dA": dA}, "reads": {"Z": frozenset(), "A": frozenset("Z")}}
    assert diagnose(Scene("dZ", dA * (Z >= 0), right, **around)) == (AtKink("Z", 3),)
    leaky = np.where(Z > 0, right, 3 * dA + 0.1)
    assert diagnose(Scene("dZ", leaky, right, **around)) == (Masked("Z", int(np.sum(Z <= 0))),)
