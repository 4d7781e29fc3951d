"""Two conventions are notes and no faults; derivations that work in one precision are recognised."""

from contextlib import ExitStack
from itertools import product

import pytest

import handgrad.manual.losses
import handgrad.manual.network
import handgrad.manual.optimizers
import handgrad.manual.training
from tests.compare.test_parity import N, experiment
from tests.support import edited, small_data

MEAN_LATE = (
    (handgrad.manual.losses, ("return (A - Y) / n", "return A - Y")),
    (
        handgrad.manual.network,
        ("dW = dZ @ A_prev.T", "dW = dZ @ A_prev.T / dZ.shape[1]"),
        ("db = dZ.sum(axis=1, keepdims=True)", "db = dZ.sum(axis=1, keepdims=True) / dZ.shape[1]"),
    ),
)
HEAVY_BALL = (
    handgrad.manual.optimizers,
    ("(1 - beta) * gradients", "gradients"),
    ("w - learning_rate * V", "w - learning_rate * (1 - beta) * V"),
)


def run(*edits, **fields):
    with ExitStack() as stack:
        for module, *pairs in edits:
            stack.enter_context(edited(module, *pairs))
        return experiment(depth=4, **fields).run(small_data(5, 2, N, seed=7))


@pytest.mark.parametrize("optimizer", ["momentum", "gradient-descent"])
def test_dz_without_the_mean_is_a_note(optimizer):
    report = run(*MEAN_LATE, optimizer=optimizer)
    assert report.ok, str(report)
    assert report.findings == ()
    assert [note[:10] for note in report.notes] == ["Convention"]
    assert "1/(n)" in report.notes[0]
    assert "short" not in report.notes[0]


def test_a_velocity_times_one_over_one_minus_beta_is_a_note():
    report = run(HEAVY_BALL)
    assert report.ok, str(report)
    assert "1/(1 - beta)" in report.notes[0]


def test_both_conventions_at_once_are_two_notes():
    report = run(*MEAN_LATE, HEAVY_BALL)
    assert report.ok, str(report)
    assert len(report.notes) == 2


WRONG = {
    "1/n extra in hidden dZ": ((handgrad.manual.network, ("dA * derivative", "dA * derivative / X.shape[1]")), "dZ3"),
    "dZ lacks the 1/n and dW too": (MEAN_LATE[0], "dZ4"),
    "velocity too large and used as it is": (
        (handgrad.manual.optimizers, ("(1 - beta) * gradients", "gradients")),
        "vW1",
    ),
    "only the update scaled": (
        (handgrad.manual.optimizers, ("w - learning_rate * V", "w - learning_rate * (1 - beta) * V")),
        "W1_next",
    ),
}


@pytest.mark.parametrize(("edit", "name"), WRONG.values(), ids=WRONG)
def test_half_a_convention_is_a_fault(edit, name):
    report = run(edit)
    assert not report.ok
    assert report.notes == ()
    assert report.first.name == name


CAST = "(W.astype({0}) @ A_prev.astype({0}) + b.astype({0})){1}"


def test_a_cast_to_float32_is_weak_and_fails_only_when_strict():
    report = run((handgrad.manual.network, ("W @ A_prev + b", CAST.format("np.float32", ".astype(W.dtype)"))))
    assert report.ok
    assert {finding.verdict for finding in report.findings} == {"WEAK"}
    assert report.first.name == "Z1"
    assert "OK, but WEAK" in str(report)
    with pytest.raises(AssertionError):
        report.raise_if_failed(strict=True)


def test_an_activation_cast_to_float32_is_weak_and_its_gradient_inherits_that():
    report = run((handgrad.manual.network, ("A = g.value(Z)", "A = g.value(Z).astype(np.float32).astype(Z.dtype)")))
    assert {finding.verdict for finding in report.findings} == {"WEAK"}, str(report)
    assert {finding.name for finding in report.findings} <= {"A1", "A2", "A3", "A4"}
    cast = ("A = g.value(Z)", "A = g.value(Z).astype(np.float32).astype(Z.dtype)")
    report = run((handgrad.manual.network, cast, ("dA * derivative", "dA * derivative * 1.001")))
    assert {f.name for f in report.findings if f.verdict == "FAULT"} == {"dZ1", "dZ2", "dZ3"}, str(report)


def test_a_cast_of_a_saturated_activation_is_weak_although_its_derivative_cancels():
    """1 - A^2 makes a large share of a small rounding where A is close to 1; the rest of a mistake stays a fault."""
    cast = ("A = g.value(Z)", "A = g.value(Z).astype(np.float32).astype(Z.dtype)")
    X, y = small_data(5, 2, N, seed=7)

    def saturated(*edits):
        with edited(handgrad.manual.network, *edits):
            return experiment(depth=4, steps=1).run((8 * X, y))

    report = saturated(cast)
    assert {finding.verdict for finding in report.findings} == {"WEAK"}, str(report)
    assert {finding.name[0] for finding in report.findings} == {"A"}
    assert not saturated(cast, ("dA * derivative", "dA * derivative * 1.01")).ok


@pytest.mark.parametrize(("optimizer", "step"), [("momentum", "V"), ("gradient-descent", "gradients")])
def test_what_is_computed_from_a_float32_gradient_is_no_fault(optimizer, step):
    cast = ("dW = dZ @ A_prev.T  #", "dW = (dZ @ A_prev.T).astype(np.float32)  #")
    report = run((handgrad.manual.network, cast), optimizer=optimizer, l2=0.0)
    assert {finding.verdict for finding in report.findings} == {"WEAK"}, str(report)
    assert report.first.name == "dW4"
    doubled = (handgrad.manual.optimizers, (f"w - learning_rate * {step}", f"w - 1.0001 * learning_rate * {step}"))
    wrong = run((handgrad.manual.network, cast), doubled, optimizer=optimizer, l2=0.0)
    faults = {finding.name for finding in wrong.findings if finding.verdict == "FAULT"}
    assert faults == {f"{w}{l}_next" for w in "Wb" for l in range(1, 5)}, str(wrong)


@pytest.mark.parametrize(
    ("edit", "names"),
    [
        (("W @ A_prev + b", "(W @ A_prev + b) * (1 + 3e-8)"), {"Z1", "Z2", "Z3", "Z4"}),
        (("db = dZ.sum(", "db = (1 + 3e-8) * dZ.sum("), {"db1", "db2", "db3"}),
    ],
)
def test_a_float32_gradient_makes_no_other_equation_less_exact(edit, names):
    cast = ("dW = dZ @ A_prev.T  #", "dW = (dZ @ A_prev.T).astype(np.float32)  #")
    report = run((handgrad.manual.network, cast, edit), l2=0.0)
    assert names <= {finding.name for finding in report.findings if finding.verdict == "FAULT"}, str(report)


def test_a_gradient_off_by_a_hundred_thousand_millionth_is_a_fault_that_says_by_what():
    for off, l2 in product(("1e-11", "1e-13"), (0.0, 0.1)):
        first = run((handgrad.manual.network, ("dW = dZ @ A_prev.T", f"dW = (1 + {off}) * dZ @ A_prev.T")), l2=l2).first
        assert (first.verdict, first.name) == ("FAULT", "dW4")
        assert (f"scale: every entry is 1 + {off} times torch's" in f"{first.cause}: {first.explanation}") == (l2 == 0)
    decay = (handgrad.manual.network, ("dW = dW + l2 * W", "dW = dW + (1 + 1e-11) * l2 * W"))
    assert run(decay).first.verdict == "FAULT"


def test_float64_inside_is_a_note():
    report = run((handgrad.manual.network, ("W @ A_prev + b", CAST.format("np.float64", ""))))
    assert report.findings == ()
    assert report.notes == ("The derivation computes in float64 also where it is handed float32; that is no fault.",)


def test_float32_only_is_recognised_and_judged_in_float32_alone():
    batch = "X_batch, Y_batch = read_only(X.take(batch, axis=1)), read_only(Y.take(batch, axis=1))"
    cast = (
        "params = {name: np.float32(w) for name, w in params.items()}; "
        "velocities = {name: np.float32(V) for name, V in velocities.items()}; "
        "X_batch, Y_batch = np.float32(X.take(batch, axis=1)), np.float32(Y.take(batch, axis=1))"
    )
    report = run((handgrad.manual.training, (batch, cast)))
    assert report.findings == (), str(report)
    assert any("computes in float32 also where it is handed float64" in note for note in report.notes), report.notes
    assert " of 6 steps, in float32; the largest difference" in str(report)


def test_float64_only_is_recognised_and_judged_in_float64_alone():
    picky = ("return W @ A_prev + b", "assert W.dtype == np.float64, 'double precision'; return W @ A_prev + b")
    report = run((handgrad.manual.network, picky))
    assert report.findings == (), str(report)
    assert any("does not run in float32 (AssertionError in manual/network.py" in note for note in report.notes)
    assert " of 6 steps, in float64; the largest difference" in str(report)
    assert len({row.step for row in report.rows}) == 6
    report = run((handgrad.manual.network, picky, ("dZ @ A_prev.T", "1.0001 * dZ @ A_prev.T")))
    assert report.first.name == "dW4"
    assert report.first.verdict == "FAULT"
