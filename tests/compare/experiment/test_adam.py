"""Adam in the notes' network: its mistakes are found at their tensors and named, other arithmetic is left alone."""

import numpy as np
import pytest

from handgrad import Experiment, InputError
from handgrad.compare.facts.updates import (
    Counted,
    MomentumFormula,
    StartsFrom,
    UpdateFormula,
    VelocityForm,
    VelocityReset,
)
from handgrad.compare.names import is_updated
from handgrad.compare.notes.statements import STATEMENTS
from tests.compare.experiment.networks import DATA, OPTIMIZERS, TRAINING, experiment, run_with

ADAM = {"optimizer": "adam", "beta": 0.8, "beta2": 0.95, "epsilon": 1e-3}
MEAN = 'M = beta * moments[f"m{name}"] + (1 - beta) * dw'
SQUARE = 'S = beta2 * moments[f"s{name}"] + (1 - beta2) * dw * dw'
BIAS = "M_corrected, S_corrected = M / (1 - beta**t), S / (1 - beta2**t)"
DIVISOR = "(np.sqrt(S_corrected) + epsilon)"
COUNT = 't = int(moments["t"]) + 1'
STEP = "learning_rate * M_corrected"

MISTAKES = {
    "no bias correction": ((BIAS, "M_corrected, S_corrected = M, S"), "W1_next", Counted),
    "m alone is corrected": ((BIAS, "M_corrected, S_corrected = M / (1 - beta**t), S"), "W1_next", MomentumFormula),
    "s alone is corrected": ((BIAS, "M_corrected, S_corrected = M, S / (1 - beta2**t)"), "W1_next", MomentumFormula),
    "t is one ahead": ((BIAS, BIAS.replace("**t", "**(t + 1)")), "W1_next", Counted),
    "t is always 1": ((BIAS, BIAS.replace("**t", "**1")), "W1_next", Counted),
    "t does not advance": ((COUNT, "t = 1"), "t", None),
    "t starts at 0": ((COUNT, 't = int(moments["t"]) or 1'), "t", None),
    "epsilon inside the root": ((DIVISOR, "np.sqrt(S_corrected + epsilon)"), "W1_next", UpdateFormula),
    "no epsilon": ((DIVISOR, "np.sqrt(S_corrected)"), "W1_next", UpdateFormula),
    "no root": ((DIVISOR, "(S_corrected + epsilon)"), "W1_next", UpdateFormula),
    "not divided": ((f"M_corrected / {DIVISOR}", "M_corrected"), "W1_next", UpdateFormula),
    "the gradient instead of m": ((STEP, "learning_rate * dw"), "W1_next", MomentumFormula),
    "ascent": (("w - learning_rate * M_corrected", "w + learning_rate * M_corrected"), "W1_next", UpdateFormula),
    "dw is not squared": ((SQUARE, SQUARE.replace("dw * dw", "dw")), "sW1", VelocityForm),
    "dw^2 without its 1 - beta2": ((SQUARE, SQUARE.replace("(1 - beta2) * ", "")), "sW1", VelocityForm),
    "beta where beta2 belongs": ((SQUARE, SQUARE.replace("beta2", "beta")), "sW1", VelocityForm),
    "beta2 where beta belongs": ((MEAN, MEAN.replace("beta", "beta2")), "mW1", VelocityForm),
    "dw without its 1 - beta": ((MEAN, MEAN.replace("(1 - beta) * ", "")), "mW1", VelocityForm),
    "m starts from 1": (('f"m{name}": np.zeros_like(w)', 'f"m{name}": np.ones_like(w)'), "mW1", StartsFrom),
    "s starts from 1": (('f"s{name}": np.zeros_like(w)', 'f"s{name}": np.ones_like(w)'), "sW1", StartsFrom),
}  # fmt: skip


@pytest.mark.parametrize(("edit", "first", "cause"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_adam_is_found_at_its_tensor_and_named(edit, first, cause):
    report = run_with(OPTIMIZERS, edit, **ADAM)
    assert (report.first.verdict, report.first.where.name) == ("FAULT", first), str(report)
    assert cause is None or isinstance(report.first.cause, cause), str(report.first.cause)
    faults = [finding.where.name for finding in report.findings if finding.verdict == "FAULT"]
    assert {*map(kind, faults)} == {kind(first)}, "what follows from it is no finding"


def kind(name):
    return "updated" if is_updated(name) else name[0]


def test_moments_that_are_lost_between_steps_are_a_reset():
    edit = ("optimizer(params, gradients, state)", "optimizer(params, gradients, {n: 0 * v for n, v in state.items()})")
    report = run_with(TRAINING, edit, **ADAM)
    assert {finding.where.name for finding in report.findings} >= {"t"}
    found = {finding.where.name: finding.cause for finding in report.findings}
    assert isinstance(found["mW1"], VelocityReset)
    assert isinstance(found["sW1"], VelocityReset)


OTHERWISE = {
    "the mean by a difference": (MEAN, 'M = moments[f"m{name}"] - (1 - beta) * (moments[f"m{name}"] - dw)'),
    "the square of a scaled gradient": (SQUARE, 'S = beta2 * moments[f"s{name}"] + (np.sqrt(1 - beta2) * dw) ** 2'),
    "powers as products": (BIAS, "M_corrected, S_corrected = (a / (1 - np.prod([b] * t)).astype(w.dtype)"
        " for a, b in ((M, beta), (S, beta2)))"),
    "one number for both corrections": (f"{STEP} / {DIVISOR}",
        "learning_rate * float(np.sqrt(1 - beta2**t) / (1 - beta**t)) * M"
        " / (np.sqrt(S) + epsilon * float(np.sqrt(1 - beta2**t)))"),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("edit", OTHERWISE.values(), ids=OTHERWISE)
def test_other_arithmetic_is_left_in_peace(edit, dtype):
    report = run_with(OPTIMIZERS, edit, dtype=dtype, **ADAM)
    assert report.ok, str(report)
    assert all(row.verdict == "OK" for row in report.rows)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("options", [{}, {"beta": 0.0}, {"beta2": 0.5}, {"epsilon": 1.0}], ids=str)
def test_adam_is_right_whatever_its_settings_and_the_scale_of_its_gradients(options, scale):
    X, y = DATA
    for dtype in ("float64", "float32"):
        report = experiment(**{"optimizer": "adam", "dtype": dtype, **options}).run((scale * X, y))
        assert report.ok, str(report)
        assert all(row.verdict == "OK" and row.rho < 1 for row in report.rows)


def test_each_side_on_its_own_stays_close():
    report = experiment(optimizer="adam", free_running=True).run(DATA)
    assert report.ok, str(report)
    assert {"mW1", "sW1", "t"} <= {row.name for row in report.rows}


def test_the_statements_of_adam_are_supplied_and_proved():
    of_adam = [statement for statement in STATEMENTS if statement.id in ("O5", "O6", "O7")]
    assert [statement.verdict for statement in of_adam] == ["supplied"] * 3
    assert all("agree" in statement.prove().text for statement in of_adam)


@pytest.mark.parametrize("options", [{"beta2": 0.0}, {"beta2": 1.0}, {"epsilon": 0.0}, {"beta2": np.nan}], ids=str)
def test_settings_of_adam_that_cannot_be_used_are_one_sentence(options):
    (name,) = options
    with pytest.raises(InputError, match=f"{name} is .* so write for example"):
        Experiment(optimizer="adam", **options)
