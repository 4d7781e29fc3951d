"""A small part of the benchmark in every test run: a fixed seed, and a fresh one that is printed."""

import secrets

import pytest

from tests.benchmarks.verdict import network_counts, operation_counts

FRESH = secrets.randbelow(2**31)


@pytest.mark.parametrize("seed", [1, FRESH], ids=["fixed", "fresh"])
def test_random_networks(seed):
    print(f"seed {seed}")
    for index in range(6):
        counts = network_counts(seed, index)
        told = {key: number for key, number in counts.items() if key.startswith("note")}
        assert counts["ours right"] == 0, told
        assert counts["rho above 1"] == 0, told
        assert counts["ours structural"] == counts["structural"] <= 1, told
        assert counts["ours subtle"] == counts["subtle"] <= 1, told


def test_the_rules_of_today_alarm_and_miss():
    """What the table shows of the peers is computed: on these cases they do both."""
    total = sum((network_counts(1, index) for index in range(6)), start=network_counts(1, 6))
    assert total["numpy assert_allclose rtol 1e-5, float32 right"] > 0
    assert total["torch.testing.assert_close, float32 subtle"] < total["subtle"]


def test_an_operation_of_the_corpus_can_be_counted():
    counts = operation_counts(2, 0, ["softmax cross-entropy"])
    assert counts["generic false"] == 0
    assert counts["generic structural found"] == counts["generic structural"] > 0
