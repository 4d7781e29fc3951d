"""The slope of the derivation's own J against a difference: every tensor is asked, each right one in two runs."""

import numpy as np
import pytest
import torch

from handgrad.compare.pipeline.evidence import Evidence
from handgrad.compare.pipeline.problem import problem_of

NAMES = "abcdef"
RNG = np.random.default_rng(5)
PARAMS = {name: RNG.standard_normal(7) for name in NAMES}


def smooth(array):
    return np.sin(array).sum()


def chaotic(array):
    return np.sin(1e9 * array).sum()


def asked(of, wrong):
    """Which gradients J contradicts, where each is claimed to be off by half of itself, and how often J is computed."""
    runs = []
    slopes = {name: np.cos(w) if of is smooth else 1e9 * np.cos(1e9 * w) for name, w in PARAMS.items()}
    records = {f"d{name}": slope * (1.5 if name in wrong else 1.0) for name, slope in slopes.items()}
    records["J"] = np.asarray(sum(map(of, PARAMS.values())))

    def derive(params, batch):
        runs.append(1)
        return {**records, "J": np.asarray(sum(map(of, params.values())))}

    problem = problem_of(lambda p: sum(torch.sin(w).sum() for w in p.values()), PARAMS, (), ("float64",))
    evidence = Evidence(problem.reference, problem.params, {}, records, derive=derive)
    found = {name for name in NAMES if evidence.contradicts(f"d{name}", 0.5 * slopes[name])}
    return found, len(runs)


@pytest.mark.parametrize("wrong", ["", "a", "f", "bdf", NAMES], ids=repr)
def test_every_tensor_is_asked_however_many_there_are(wrong):
    found, runs = asked(smooth, wrong)
    assert found == {*wrong}
    assert runs <= 2 * len(NAMES) + 10 * len(wrong)


def test_under_chaos_it_is_given_up_after_a_few():
    found, runs = asked(chaotic, NAMES)
    assert found == set()
    assert runs <= 2 * len(NAMES) + 2 * 10
