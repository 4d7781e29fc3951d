"""How records are read; the two conventions of the notes are notes and no faults, half of one is a fault."""

from contextlib import ExitStack

import numpy as np
import pytest

import handgrad.manual.losses
import handgrad.manual.network
import handgrad.manual.optimizers
from handgrad.compare.facts.remarks import MeanLeftOut, VelocityTimes
from handgrad.compare.verdict.conventions import AS_RECORDED, As, OfTheNotes, Reading, conventions_of_the_notes
from tests.compare.experiment.networks import DATA, experiment
from tests.support import edited

# --- read


def test_as_recorded_nothing_is_changed():
    records = {"dZ": np.ones(2), "s": np.array("text")}
    assert AS_RECORDED.read(records) == records
    assert AS_RECORDED.read(records)["dZ"] is records["dZ"]


def test_what_is_a_factor_too_large_is_divided_by_it_in_float64():
    reading = Reading({"dZ": As(4.0), "s": As(4.0)})
    records = {"dZ": np.full(2, 4.0, dtype="f4"), "dW": np.ones(2), "s": np.array("text")}
    read = reading.read(records)
    assert (read["dZ"].tolist(), read["dZ"].dtype) == ([1.0, 1.0], np.float64)
    assert read["dW"] is records["dW"]
    assert read["s"] is records["s"], "what is no number stays what it is"


def test_a_record_is_turned_and_packed_as_torch_has_it():
    A = np.arange(24.0).reshape(2, 3, 4)
    assert np.array_equal(As(axes=(2, 0, 1)).read(A.transpose(1, 2, 0)), A)
    assert np.array_equal(As(-1.0, shape=A.shape).read(-A.ravel()), A)


def test_what_has_another_number_of_axes_or_numbers_elsewhere_stays_what_it_is():
    """A further run may return something else."""
    assert As(axes=(1, 0)).read(np.ones(3)).shape == (3,)
    assert As(shape=(2, 2)).read(np.ones(3)).shape == (3,)


def test_factors_are_found_after_the_form():
    turned = Reading({"dZ": As(axes=(1, 0)), "A": As(2.0)})
    assert turned.then(Reading({"dZ": As(6.0)})).of == {"dZ": As(6.0, (1, 0)), "A": As(2.0)}
    assert AS_RECORDED.then(turned) == turned


RECORDS = {
    "X": np.ones((5, 3)),
    "Y": np.ones((2, 3)),
    "Z1": np.ones(1),
    "dW1": np.ones(1),
    "dZ1": np.ones(1),
    "dA1": np.ones(1),
    "vW1": np.ones(1),
    "W1_next": np.ones(1),
}
READ = {
    "as the notes": (OfTheNotes(), {}),
    "without 1/n": (OfTheNotes("n"), {"dZ1": 1 / 3, "dA1": 1 / 3}),
    "without 1/(n K)": (OfTheNotes("n K"), {"dZ1": 1 / 6, "dA1": 1 / 6}),
    "ten times the velocity": (OfTheNotes(velocity=10.0), {"vW1": 0.1}),
    "both": (OfTheNotes("n", 2.0), {"dZ1": 1 / 3, "dA1": 1 / 3, "vW1": 0.5}),
}


@pytest.mark.parametrize(("convention", "changed"), READ.values(), ids=READ)
def test_the_notes_names_are_read_by_their_stem(convention, changed):
    read = convention.read(RECORDS)
    assert {name: array.flat[0] for name, array in read.items() if name not in "XY"} == pytest.approx(
        {**dict.fromkeys(RECORDS.keys() - {"X", "Y"}, 1.0), **changed}
    )


def test_the_size_is_that_of_each_steps_own_batch():
    short = {"X": np.ones((5, 2)), "Y": np.ones((2, 2)), "dZ1": np.ones(1)}
    assert OfTheNotes("n").read(short)["dZ1"] == 0.5
    without = {"dZ1": np.ones(1)}
    assert OfTheNotes("n").read(without)["dZ1"] == 1.0


def test_a_convention_says_in_what_it_differs():
    assert OfTheNotes().notes == ()
    assert OfTheNotes("n K", 10.0).notes == (MeanLeftOut("n K"), VelocityTimes(10.0, "1/(1 - beta)"))


def test_only_conventions_that_can_be_told_apart_are_tried():
    n, nK, ten = OfTheNotes("n"), OfTheNotes("n K"), 1.0 / (1.0 - 0.9)
    assert [*conventions_of_the_notes(1, 1, 0.0)] == []
    assert [*conventions_of_the_notes(4, 1, 0.0)] == [n]
    assert [*conventions_of_the_notes(4, 2, 0.0)] == [n, nK]
    both = [OfTheNotes(velocity=ten), n, OfTheNotes("n", ten)]
    assert [*conventions_of_the_notes(4, 1, 0.9)] == both


# --- in a run

MEAN_LATE = (
    (handgrad.manual.losses, ("return derivatives / n", "return derivatives")),
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
        return experiment(depth=4, **fields).run(DATA)


@pytest.mark.parametrize("optimizer", ["momentum", "gradient-descent"])
def test_dz_without_the_mean_is_a_note(optimizer):
    report = run(*MEAN_LATE, optimizer=optimizer)
    assert (report.findings, report.notes) == ((), (MeanLeftOut("n"),)), str(report)


BESIDE = {  # what else is wrong beside the mean that is left out, at which step, and what is found
    "a bias gradient": ("db = dZ.sum(axis=1, keepdims=True)", " / dZ.shape[1]", "* 2 / dZ.shape[1]", 1, "db"),
    "of a short batch": ("dW = dZ @ A_prev.T", " / dZ.shape[1]", " / 4", 3, "dW"),
    "sums in a short batch": (
        "dW = dZ @ A_prev.T",
        " / dZ.shape[1]",
        " / (dZ.shape[1] if dZ.shape[1] == 4 else 1)",
        3,
        "dW",
    ),
}


@pytest.mark.parametrize(("line", "right", "wrong", "step", "name"), BESIDE.values(), ids=BESIDE)
def test_a_mistake_beside_dz_without_the_mean_is_all_that_is_found(line, right, wrong, step, name):
    losses, (module, *lines) = MEAN_LATE
    changed = [(old, new.replace(right, wrong) if old == line else new) for old, new in lines]
    report = run(losses, (module, *changed), batch_size=4, steps=3)
    (finding,) = report.findings
    found = {finding.where.name, *finding.together}
    assert (finding.where.step, found) == (step, {f"{name}{layer}" for layer in range(1, 5)}), str(report)
    assert report.notes == (MeanLeftOut("n"),)


def test_a_velocity_times_one_over_one_minus_beta_is_a_note():
    report = run(HEAVY_BALL)
    assert report.findings == (), str(report)
    assert report.notes == (VelocityTimes(1 / (1 - 0.9), "1/(1 - beta)"),)


def test_both_conventions_at_once_are_two_notes():
    report = run(*MEAN_LATE, HEAVY_BALL)
    assert report.ok, str(report)
    assert [type(note) for note in report.notes] == [MeanLeftOut, VelocityTimes]


WRONG = {
    "1/n extra in hidden dZ": ((handgrad.manual.network, ("dA * derivative", "dA * derivative / X.shape[1]")), "dZ3"),
    "dZ lacks the 1/n and dW too": (MEAN_LATE[0], "dZ4"),
    "velocity too large and used as it is": (HEAVY_BALL[:2], "vW1"),
    "only the update scaled": ((HEAVY_BALL[0], HEAVY_BALL[2]), "W1_next"),
}


@pytest.mark.parametrize(("edit", "name"), WRONG.values(), ids=WRONG)
def test_half_a_convention_is_a_fault(edit, name):
    report = run(edit)
    assert not report.ok
    assert report.notes == ()
    assert report.first.where.name == name
