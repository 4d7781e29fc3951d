"""Mistakes on trial: each is found at its tensor and called by its cause, and right code is left in peace."""

from dataclasses import replace

import numpy as np
import pytest

from handgrad.compare.experiment.run import Experiment
from handgrad.compare.faults.catalogue import Needs, catalogue
from handgrad.compare.faults.trial import expected_first, fixture, trial
from tests.benchmarks.diagnosis import informative

ENTRIES = catalogue()
PROBLEMS = {fault.module: name for name, fault in ENTRIES.items() if not fault.is_of_network}


@pytest.mark.parametrize("name", ENTRIES)
def test_every_mistake_is_found_first_and_called_by_its_cause(name):
    """With a fixed seed; the benchmark draws fresh ones and counts."""
    fault = ENTRIES[name]
    report, first = trial(fault, np.random.default_rng([0, len(name)]))
    finding = report.first
    assert finding is not None
    assert finding.where.name == first, str(report)
    if finding.cause.code != "unknown" or informative(report):
        assert finding.cause.code == fault.cause, str(report)


@pytest.mark.parametrize("name", ["ascent", *PROBLEMS.values()], ids=["handgrad.manual", *PROBLEMS])
def test_the_right_code_is_left_in_peace(name):
    report, _ = trial(replace(ENTRIES[name], edits=()), np.random.default_rng([1, len(name)]))
    assert report.findings == (), str(report)


def test_a_run_has_what_a_mistake_needs():
    for fault in (fault for fault in ENTRIES.values() if fault.is_of_network):
        for seed in range(5):
            (experiment, (X, y)), needs = fixture(fault.needs, np.random.default_rng(seed)), fault.needs
            assert (X.shape[1], y.shape[1]) == (experiment.layers[0], experiment.layers[-1])
            assert experiment.loss == needs.loss
            assert set(experiment.activations[:-1]) <= set(needs.activations or needs.hidden)
            assert needs.outputs in (None, experiment.layers[-1])
            assert needs.batch_size in (None, experiment.batch_size)
            assert needs.l2 in (None, experiment.l2 > 0)
            assert len(set(experiment.layers)) == 1 or not needs.square
            assert (len(X) % experiment.batch_size == 0) == needs.even


def test_the_same_seed_draws_the_same_run():
    (experiment, data), (same_experiment, same_data) = (fixture(Needs(), np.random.default_rng(3)) for _ in range(2))
    assert experiment == same_experiment
    assert all(np.array_equal(a, b) for a, b in zip(data, same_data, strict=True))
    other, _ = fixture(Needs(), np.random.default_rng(4))
    assert other != experiment


@pytest.mark.parametrize(
    ("name", "loss", "first"),
    [
        ("gradient-without-mean", "binary-cross-entropy", "dZ3"),
        ("gradient-without-mean", "squared-error", "dA3"),
        ("bias-gradient-mean", "squared-error", "db3"),
        ("derivative-forgotten", "squared-error", "dZ2"),
        ("bias-unused", "squared-error", "Z1"),
    ],
)
def test_the_first_tensor_depends_on_depth_and_loss(name, loss, first):
    experiment = Experiment(layers=(4, 3, 3, 2), activations=("tanh", "tanh", "sigmoid"), loss=loss)
    assert expected_first(ENTRIES[name], experiment) == first
