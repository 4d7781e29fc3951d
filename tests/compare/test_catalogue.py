"""The catalogue of known mistakes: each is found at its tensor and called by its cause; the audit of fixtures."""

import inspect
import re
import secrets
from collections import Counter

import numpy as np
import pytest

from handgrad import Experiment, InputError
from handgrad.compare.cli.commands import main
from handgrad.compare.faults import catalogue
from handgrad.compare.faults.audit import audit, render
from handgrad.compare.faults.network import NETWORK
from handgrad.compare.faults.planting import edited, planted
from handgrad.compare.faults.trial import check, expected_first, fixture, is_of_network
from handgrad.compare.operations import EQUATIONS
from tests.benchmarks import diagnosis

CODES = {
    "sign",
    "scale",
    "transpose",
    "permuted",
    "shape",
    "bias-sum",
    "activation-derivative",
    "kink",
    "mask",
    "wrong-operand",
    "updated-weights",
    "loss-formula",
    "dropped-example",
    "partial-batch",
    "stale",
    "accumulated",
    "reset",
    "momentum-form",
    "update-form",
    "regularisation",
    "initializer-scale",
    "initializer-family",
    "order",
    "isolated-elements",
    "precision-loss",
    "not-finite",
    "zero",
    "mutated-input",
    "not-repeatable",
    "aliased",
    "missing",
    "unknown-name",
    "exception",
    "unknown",
}
ENTRIES = catalogue()
FRESH = secrets.randbelow(10**8)


def test_there_are_at_least_sixty_entries_and_each_says_everything():
    assert len(ENTRIES) >= 60
    for name, fault in ENTRIES.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
        assert fault.cause in CODES, name
        for text in (fault.equation, fault.formula, fault.first, fault.why, fault.lesson):
            assert text, name
        if is_of_network(fault):
            assert fault.equation in EQUATIONS, name


@pytest.mark.parametrize("name", ENTRIES)
def test_every_mistake_is_found_first_and_called_by_its_cause(name):
    """With a fixed seed; the benchmark draws fresh ones and counts."""
    fault = ENTRIES[name]
    report, made = check(fault, np.random.default_rng([0, len(name)]))
    first = report.first
    assert first is not None
    assert first.name == expected_first(fault, made[0] if made else None), str(report)
    if first.cause != "unknown" or diagnosis.informative(report):
        assert first.cause == fault.cause, str(report)


PROBLEMS = {fault.module: name for name, fault in ENTRIES.items() if not is_of_network(fault)}


@pytest.mark.parametrize("name", PROBLEMS.values(), ids=PROBLEMS)
def test_the_right_code_of_each_problem_is_left_in_peace(name):
    report, _ = check(ENTRIES[name], np.random.default_rng([FRESH, len(name)]), right=True)
    assert report.findings == (), f"seed {FRESH}\n{report}"


@pytest.mark.parametrize(
    ("measure", "part", "whole", "most"),
    [
        (diagnosis.edit_counts, "edits: culprit", "edits", 0),
        (diagnosis.wrong_counts, "wrong answers: named", "wrong answers", 1),
        (diagnosis.right_counts, "equivalent: flagged", "equivalent", 0),
    ],
    ids=["random edits", "random wrong answers", "equivalent forms"],
)
def test_a_part_of_the_benchmark(measure, part, whole, most):
    counts = sum((measure(7, index) for index in range(24)), start=Counter())
    assert counts[whole] >= 10
    assert (counts[whole] - counts[part] if part.endswith("culprit") else counts[part]) <= most


def test_a_planted_mistake_is_gone_afterwards_whatever_happens():
    import handgrad.manual.network

    before = handgrad.manual.network.linear_backward.__code__

    def interrupted():
        with planted("handgrad.manual.network", (("W.T @ dZ", "W @ dZ"),)):
            assert handgrad.manual.network.linear_backward.__code__ is not before
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert handgrad.manual.network.linear_backward.__code__ is before
    with pytest.raises(ValueError, match=r"stands 0 times in manual/network\.py.*put back what was edited"):
        edited(handgrad.manual.network, (("nothing of this kind", ""),))


def test_the_command_lists_all_and_shows_one(capsys):
    assert main(["faults"]) == 0
    listed = capsys.readouterr().out
    assert all(re.search(rf"^{name} +{fault.cause} ", listed, flags=re.MULTILINE) for name, fault in ENTRIES.items())
    assert f"{len(ENTRIES)} mistakes" in listed
    assert main(["faults", "tanh-derivative-at-z"]) == 0
    told = capsys.readouterr().out
    for text in (
        "right   (B5) dZ[l] = dA[l] * g'(Z[l])\nwrong   dZ[l] = dA[l] * (1 - Z[l]^2)\n",
        "-    return 1 - A * A  # (A3) (n_l, n)\n+    return 1 - Z * Z  # (A3) (n_l, n)\n",
        "FAULT  activation-derivative: ",
        "Lesson: Near 0 both agree",
    ):
        assert text in told
    assert main(["faults", "tanh-derivative-at-z", "--seed", "3"]) == 0
    assert capsys.readouterr().out != told


def test_an_unknown_entry_gets_a_hint(capsys):
    assert main(["faults", "bias-gradient-meen"]) == 2
    assert "did you mean 'bias-gradient-mean'? handgrad faults lists all" in capsys.readouterr().err


# --- the audit

X = np.random.default_rng(3).standard_normal((11, 4))
Y = (np.random.default_rng(4).random((11, 2)) < 0.5).astype(float)
RECOMMENDED = Experiment(
    layers=(4, 4, 4, 3, 2),
    activations=("tanh", "relu", "relu", "sigmoid"),
    l2=0.5,
    batch_size=4,
    epochs=2,
    bias_scale=0.5,
)


@pytest.fixture(scope="module")
def of_one_example():
    return audit(Experiment(layers=(4, 5, 2), activations=("tanh", "sigmoid"), batch_size=1, steps=1, l2=0.1), (X, Y))


def test_the_audit_of_one_example_and_one_step_lists_what_they_hide(of_one_example):
    remedies = {each.fault.name: each.remedy for each in of_one_example.hidden}
    for name in ("bias-gradient-mean", "bias-gradient-of-one-example", "cost-without-mean", "gradient-without-mean"):
        assert remedies[name].startswith("--batch-size"), name
    for name in ("velocity-reset", "gradients-accumulated", "stale-cache"):
        assert remedies[name] == "--steps 2", name
    assert "relu in a hidden layer" not in remedies.values(), "code that does not run is not counted as hidden"
    text = render(of_one_example)
    assert "With --steps 2 it would reveal:\n" in text
    assert "bias-gradient-mean                         db[l] = row means of dZ[l]" in text


def test_the_audit_of_the_recommended_fixture_is_nearly_empty():
    result = audit(RECOMMENDED, (X, Y))
    assert {each.fault.name for each in result.hidden} <= {"loss-of-log-zero", "relu-derivative-at-zero"}
    assert all(each.remedy for each in result.hidden)
    assert "handgrad.manual.losses.squared_error" in result.idle
    assert len(result.found) + len(result.hidden) + sum(map(len, result.idle.values())) == len(NETWORK)


def test_the_remedy_is_one_that_works(of_one_example):
    each = next(h for h in of_one_example.hidden if h.fault.name == "velocity-reset")
    experiment = Experiment(layers=(4, 5, 2), activations=("tanh", "sigmoid"), batch_size=1, steps=2, l2=0.1)
    with planted(each.fault.module, each.fault.edits):
        assert not experiment.run((X, Y)).ok


def test_every_fixture_of_the_catalogue_suits_its_entry():
    for fault in NETWORK:
        experiment, data = fixture(fault, np.random.default_rng(0))
        assert data[0].shape[1] == experiment.layers[0]
        assert data[1].shape[1] == experiment.layers[-1]


def test_an_edit_of_manual_hides_the_mistakes_planted_there_and_nothing_else(monkeypatch):
    """As if a student had written the layer in another way."""
    source, right = inspect.getsource, "return W @ A_prev + b"
    monkeypatch.setattr(inspect, "getsource", lambda of: source(of).replace(right, "return (W @ A_prev) + b"))
    run = Experiment(layers=(4, 5, 2), activations=("tanh", "sigmoid"), batch_size=4, steps=1)
    result = audit(run, (X, Y), lambda faults: faults[:2])
    assert {fault.module for fault in result.lost} == {"handgrad.manual.network"}
    assert len(result.found) + len(result.hidden) == 2
    assert "Not tried, because manual/ was edited where they are: " in render(result)
    lost = result.lost[0]
    with pytest.raises(InputError, match=r"stands 0 times in manual/network\.py"), planted(lost.module, lost.edits):
        pass
