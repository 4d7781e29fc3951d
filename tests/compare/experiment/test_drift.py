from dataclasses import replace

import numpy as np
import pytest

import handgrad.manual.network
from handgrad import Experiment
from handgrad.compare.experiment.run import run
from tests.support import edited, small_data

DATA = small_data(5, 2, 13, seed=3)
SMALL = Experiment(layers=(5, 4, 2), batch_size=5, steps=4, seed=3)
RIGHT = "dW = dZ @ A_prev.T"


def test_two_sides_left_to_themselves_drift_as_far_as_rounding_explains_and_no_further():
    long = replace(SMALL, steps=40)
    loss, drift, norms = run(long, DATA, plots=True).details.plots
    assert [line.name for line in loss.lines] == ["by hand", "torch"]
    assert loss.lines[0].y == pytest.approx(loss.lines[1].y, rel=1e-9)
    apart, allowed = (np.array(line.y) for line in drift.lines)
    assert apart.max() > 0, "another order of summation shows"
    assert (apart <= allowed).all()
    assert [line.name for line in norms.lines] == ["dW1", "dW2"]
    assert len(apart) == len(norms.lines[0].y) == 40
    with edited(handgrad.manual.network, (RIGHT, RIGHT.replace("dZ @", "1.001 * dZ @"))):
        wrong_drift = run(long, DATA, plots=True).details.plots[1]
    apart, allowed = (np.array(line.y) for line in wrong_drift.lines)
    assert apart[-1] > 1e6 * allowed[-1]
    assert SMALL.run(DATA).details.plots == ()
