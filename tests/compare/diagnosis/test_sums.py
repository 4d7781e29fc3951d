"""Sums over examples that leave examples out."""

import numpy as np
import pytest

from handgrad.compare.diagnosis.ranking import diagnose
from handgrad.compare.diagnosis.scene import Scene
from handgrad.compare.facts.causes import Examples

RNG = np.random.default_rng(11)
dZ = RNG.standard_normal((4, 6))


def product(counts, dZ, X, inputs=()):
    """dW = dZ X^T, recorded as if examples counted so often."""
    return Scene(
        "dW",
        (dZ * counts) @ X.T,
        dZ @ X.T,
        tensors={"dZ": dZ, "X": X, "W": np.ones((len(dZ), len(X)))},
        parameters=frozenset("W"),
        inputs=frozenset(inputs),
        reads={"Z": frozenset("WX")},
        replay=lambda replaced: {"dW": replaced.get("dZ", dZ) @ X.T},
    )


COUNTS = {
    "left out": ((1, 1, 0, 1, 0, 1), Examples((2, 4), ())),
    "twice": ((1, 1, 1, 1, 1, 2), Examples((), ((5, 2),))),
    "both": ((0, 1, 1, 3, 1, 2), Examples((0,), ((3, 3), (5, 2)))),
}


@pytest.mark.parametrize(("counts", "cause"), COUNTS.values(), ids=COUNTS)
def test_examples_left_out_or_counted_twice_are_numbered(counts, cause):
    assert diagnose(product(np.array(counts), dZ[:3], RNG.standard_normal((4, 6))))[0] == cause


def test_half_an_example_is_none():
    counts = np.array((1, 1, 0.5, 1, 1, 1))
    assert diagnose(product(counts, dZ[:3], RNG.standard_normal((4, 6))))[0].code == "unknown"


def test_positions_are_not_examples_where_the_batch_has_another_size():
    counts, columns = np.array((1, 1, 0, 1, 1, 1)), RNG.standard_normal((4, 6))
    for inputs, is_position in (("X", False), ("B", True)):
        scene = product(counts, dZ[:3], columns, inputs)
        scene = Scene(**{**vars(scene), "tensors": {**scene.tensors, "B": np.ones((4, 2))}})
        assert diagnose(scene)[0] == Examples((2,), (), positions=is_position)


@pytest.mark.parametrize("times", [0, 2])
def test_one_example_of_more_than_there_are_entries_is_told(times):
    """Where there are more examples than entries, each is tried alone: left out, or counted twice."""
    counts = np.where(np.arange(9) == 4, times, 1)
    scene = product(counts, RNG.standard_normal((2, 9)), RNG.standard_normal((2, 9)))
    assert diagnose(scene)[0] == (Examples((4,), ()) if times == 0 else Examples((), ((4, 2),)))
