"""A small part of the benchmark in every test run, of one seed: the command draws a fresh one."""

from functools import cache

import pytest

from tests.benchmarks.engines import Counts, Outcome, engines_table
from tests.benchmarks.targets import upper_bound
from tests.benchmarks.verdict import network_counts, operation_counts

pytestmark = pytest.mark.usefixtures("no_causes")
counted = cache(network_counts)


def test_random_networks():
    for index in range(6):
        counts = counted(1, index)
        told = {key: number for key, number in counts.items() if key.startswith("note")}
        assert counts["ours right"] == 0, told
        assert counts["rho above 1"] == 0, told
        assert counts["ours structural"] == counts["structural"] <= 1, told
        assert counts["ours subtle"] == counts["subtle"] <= 1, told


def test_the_rules_of_today_alarm_and_miss():
    """What the table shows of the peers is computed: on these cases they do both."""
    total = sum((counted(1, index) for index in range(6)), start=counted(1, 6))
    assert total["numpy assert_allclose rtol 1e-5, float32 right"] > 0
    assert total["torch.testing.assert_close, float32 subtle"] < total["subtle"]


def test_an_operation_of_the_corpus_can_be_counted():
    counts = operation_counts(2, 0, ["softmax cross-entropy"])
    assert counts["generic false"] == 0
    assert counts["generic structural found"] == counts["generic structural"] > 0


def test_the_bound_is_that_of_so_many_in_so_many():
    """Poisson's: nothing seen is at most 3, and 17 of 57,500 are 0.044 %."""
    assert upper_bound(0, 1000) == pytest.approx(2.9957e-3, rel=1e-4)
    assert upper_bound(3, 1) == pytest.approx(7.7537, rel=1e-4)
    assert upper_bound(17, 57500) == pytest.approx(4.43e-4, rel=1e-2)


def test_the_engines_rows_are_counted():
    right, wrong = Counts(), Counts()
    for verdict in ["OK"] * 18 + ["FAULT", "WEAK"]:
        outcome = Outcome(verdict, None, 2, 2 if verdict == "OK" else 9, (8, 14))
        right.add("ordinary", "right", outcome)
        right.add_runs("right", outcome)
        wrong.add("ordinary, one entry", "1e-12", outcome)
        wrong.add_runs("wrong", outcome)
    rows, notes = engines_table(right, wrong)
    measured = {title.removeprefix("engines: "): shown for title, shown, *_ in rows}
    assert notes == []
    assert measured["FAULT on right code, ordinary"] == "1 of 20 (5.00 %)"
    assert measured["WEAK or UNTOLD on right code, ordinary"] == "1 of 20 (5.00 %)"
    assert measured["1e-12 of one entry, ordinary"] == "1 of 20 (5.00 %)"
    assert measured["right in 2 + 2 runs"] == "18 of 20 (90.00 %)"
    assert measured["wrong, runs before the name, largest"] == "8 + 14"
    assert not any(is_met for title, _, _, is_met in rows if "ordinary" in title)
