"""The table of the speed benchmark: what counts as met, and ratios that are those of the rounds."""

import numpy as np
import pytest

from tests.benchmarks.timing import Target, interleaved, ratio, slope, table


@pytest.mark.parametrize(
    ("measured", "at_least", "verdict"),
    [
        (10.0, True, "met"),
        (9.2, True, "just missed"),
        (9.0, True, "MISSED"),
        (10.0, False, "met"),
        (10.9, False, "just missed"),
        (11.1, False, "MISSED"),
        (float("nan"), True, "MISSED"),
    ],
)
def test_a_target_is_missed_by_more_than_a_tenth(measured, at_least, verdict):
    target = Target("it", 10.0, measured, at_least=at_least)
    assert target.verdict == verdict
    assert verdict in table([target])


def test_a_ratio_is_the_median_of_the_rounds():
    timed = {"slow": np.array([4.0, 100.0, 9.0]), "fast": np.array([2.0, 1.0, 3.0])}
    assert ratio(timed, "slow", "fast") == 3.0


def test_every_act_runs_in_every_round():
    calls = []
    timed = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3, least=0.0)
    assert calls[4:] == ["a", "b"] * 3, "once to warm up and once to be sized, then in turns"
    assert [len(values) for values in timed.values()] == [3, 3]


def test_the_slope_is_the_exponent():
    assert slope([1.0, 10.0, 100.0], [2.0, 20.0, 200.0]) == pytest.approx(1.0)
    assert slope([1.0, 10.0], [1.0, 100.0]) == pytest.approx(2.0)
