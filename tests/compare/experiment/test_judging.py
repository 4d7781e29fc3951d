"""The steps of the notes' network: judged at once as one by one, in the convention and precision they are in."""

from dataclasses import replace
from itertools import islice, pairwise

import numpy as np
import pytest

import handgrad.manual.network
import handgrad.manual.optimizers
import handgrad.manual.training
from handgrad.compare.experiment.data import load
from handgrad.compare.experiment.judging import NetworkJudge, judged_steps
from handgrad.compare.experiment.recording import recorded
from handgrad.compare.experiment.run import run
from handgrad.compare.facts.remarks import Float32Only, Float64Inside, Float64Only, MeanLeftOut
from handgrad.compare.faults.planting import planted
from handgrad.compare.names import Key
from handgrad.compare.sandbox import quietly
from handgrad.compare.verdict.conventions import OfTheNotes
from tests.compare.experiment.networks import DATA, NETWORK, TRAINING, experiment, run_with
from tests.support import edited, small_data

LOADED = load(DATA)
AS_IN_THE_NOTES = OfTheNotes()


def steps_of(settings, count=6, hand=None):
    return [*islice(recorded(settings, LOADED, hand), count)]


def with_records(step, change):
    """The same step with other records on every side."""
    sides = {dtype: replace(side, records=side.records | change(side.records)) for dtype, side in step.sides.items()}
    return replace(step, sides=sides)


@pytest.mark.parametrize("optimizer", ["momentum", "gradient-descent"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_at_once_and_singly_give_the_same_rows(optimizer, dtype):
    settings = experiment(depth=4, optimizer=optimizer, dtype=dtype)
    steps, judge = steps_of(settings), NetworkJudge(settings, LOADED)
    assert len({step.printed.records["X"].shape for step in steps}) == 2, "a short last batch is among them"
    for step, judged in zip(steps, judge.judge(steps, AS_IN_THE_NOTES), strict=True):
        alone = judge.singly(step)
        assert [j.row.name for j in judged.judgements] == [j.row.name for j in alone]
        scale = {name: np.abs(array).max() for name, array in step.printed.records.items()}
        for a, b in zip(judged.judgements, alone, strict=True):
            assert (a.row.verdict, a.differs) == (b.row.verdict, b.differs)
            assert (a.row.rho, a.row.rho_basis) == (pytest.approx(b.row.rho, abs=0.1), "bound"), a.row.name
            # torch rounds differently in stacks of other sizes, by a few units
            few = 8 * np.finfo(dtype).eps
            np.testing.assert_allclose(a.row.max_abs_diff, b.row.max_abs_diff, atol=few * scale[a.row.name])


def test_windows_of_every_length_give_the_same_verdicts():
    settings = experiment()
    rows = [
        [
            (j.row.step, j.row.name, j.row.verdict)
            for step in judged_steps(settings, LOADED, window=window)
            for j in step.judgements
        ]
        for window in (1, 2, 64)
    ]
    assert all(one == other for one, other in pairwise(rows))
    assert {verdict for _, _, verdict in rows[0]} == {"OK"}


@pytest.mark.parametrize("window", [1, 64])
def test_a_window_finds_the_one_step_that_is_wrong(window):
    """A fault that acts at step 4 alone is found there, the steps around it staying rows."""
    counting = ("class Activation(NamedTuple):", "CALLS = {}\n\n\nclass Activation(NamedTuple):")
    called = ("    cache = {}\n", "    cache = {}\n    CALLS[X.dtype.name] = CALLS.get(X.dtype.name, 0) + 1\n")
    wrong = ("dW = dZ @ A_prev.T", "dW = dZ @ A_prev.T * (1 + 1e-3 * (CALLS[dZ.dtype.name] == 4))")
    steps = judged_steps(experiment(), LOADED, planted(NETWORK, [counting, called, wrong]), window=window)
    found = [{j.finding.where.name for j in step.judgements if j.finding} for step in steps]
    assert found == [set(), set(), set(), {"dW1", "dW2"}, set(), set()]


def test_a_nan_in_float64_is_not_outvoted_by_a_finite_float32():
    settings = experiment()
    first, second = steps_of(settings, 2)
    records = dict(second.sides["float64"].records)
    records["dZ2"] = np.where(np.arange(records["dZ2"].size).reshape(records["dZ2"].shape) == 1, np.nan, records["dZ2"])
    broken = replace(second, sides={**second.sides, "float64": replace(second.sides["float64"], records=records)})
    judged = NetworkJudge(settings, LOADED).judge([first, broken], AS_IN_THE_NOTES)
    findings = [[(j.finding.where.name, j.finding.verdict) for j in step.judgements if j.finding] for step in judged]
    assert findings[0] == []
    assert findings[1][0] == ("dZ2", "NONFINITE")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_beside_what_is_recorded_torch_goes_its_own_way(dtype):
    """Records that are wrong reach the local references and none of the end-to-end values."""
    settings = experiment(depth=4, dtype=dtype)
    (step,), judge = steps_of(settings, 1), NetworkJudge(settings, LOADED)
    wrong = with_records(step, lambda records: {name: 1.5 * records[name] for name in ("A1", "dZ3", "dW2", "vW2")})
    with quietly():
        local, of_wrong = (judge.evaluated(each, "float64").local for each in (step, wrong))
    for name in ("Z2", "dA2", "vW2", "W2_next"):
        assert not np.allclose(of_wrong[name], local[name], rtol=1e-3), name
    rows = {j.row.name: j.row for j in judge.singly(wrong)}
    for name, record in step.printed.records.items():  # right, and so torch's own to within rounding
        assert rows[name].torch == pytest.approx(record[rows[name].index], rel=1e-3, abs=1e-6), name


def test_what_is_missing_is_due_and_what_is_more_comes_last():
    settings = experiment()
    (step,), judge = steps_of(settings, 1), NetworkJudge(settings, LOADED)
    sides = {
        dtype: replace(side, records={**{n: a for n, a in side.records.items() if n != "A1"}, "foo": np.ones(1)})
        for dtype, side in step.sides.items()
    }
    judged = judge.singly(replace(step, sides=sides))
    assert [(j.row.name, j.row.verdict) for j in judged if j.finding] == [("A1", "MISSING"), ("foo", "FAULT")]
    assert judged[-1].row.name == "foo"


@pytest.mark.parametrize("name", ["X", "Z1", "dZ2", "dW1"])
def test_what_one_precision_alone_recorded_is_missing_in_the_other(name):
    settings = experiment()
    (step,), judge = steps_of(settings, 1), NetworkJudge(settings, LOADED)
    fine, coarse = step.sides["float64"], step.sides["float32"]
    coarse = replace(coarse, records={n: array for n, array in coarse.records.items() if n != name})
    (found,) = (j for j in judge.singly(replace(step, sides={"float64": fine, "float32": coarse})) if j.finding)
    assert (found.row.name, found.row.verdict, found.finding.cause.dtype) == (name, "MISSING", "float32")


def test_a_step_can_be_judged_in_one_precision():
    settings = experiment()
    (step,), judge = steps_of(settings, 1), NetworkJudge(settings, LOADED)
    lossy = with_records(step, lambda records: {"J": records["J"].astype("f4").astype(records["J"].dtype)})
    verdicts = {
        dtypes: {j.row.verdict for j in judge.singly(lossy, [*dtypes])}
        for dtypes in (("float64", "float32"), ("float32",))
    }
    assert verdicts == {("float64", "float32"): {"OK", "WEAK"}, ("float32",): {"OK"}}


# --- conventions


def test_the_convention_of_a_run_is_decided_by_its_first_step():
    settings, judge = experiment(), NetworkJudge(experiment(), LOADED)
    first, *_ = steps_of(settings, 3)
    assert judge.convention(first) == AS_IN_THE_NOTES
    larger = with_records(first, lambda records: {n: 4 * a for n, a in records.items() if n.startswith(("dZ", "dA"))})
    assert judge.convention(larger) == OfTheNotes(per="n")
    assert {j.row.verdict for j in judge.singly(larger.read_in(OfTheNotes(per="n")))} == {"OK"}
    (judged,) = judge.judge([larger], OfTheNotes(per="n"))
    assert judged.notes == [MeanLeftOut("n")]


def test_no_convention_excuses_another_mistake():
    settings, judge = experiment(), NetworkJudge(experiment(), LOADED)
    (first,) = steps_of(settings, 1)
    for wrong in (
        lambda records: {"dZ2": 4 * records["dZ2"]},
        lambda records: {"W1_next": 1.001 * records["W1_next"]},
    ):
        assert judge.convention(with_records(first, wrong)) == AS_IN_THE_NOTES


# --- one precision


LINEAR = "W @ A_prev + b"
CAST = "(W.astype({0}) @ A_prev.astype({0}) + b.astype({0})){1}"
CAST_VALUE = ("A = g.value(Z)", "A = g.value(Z).astype(np.float32).astype(Z.dtype)")
CAST_GRADIENT = ("dW = dZ @ A_prev.T  #", "dW = (dZ @ A_prev.T).astype(np.float32)  #")


def faults_of(report):
    faults = (finding for finding in report.findings if finding.verdict == "FAULT")
    return {name for finding in faults for name in (finding.where.name, *finding.together)}


def test_a_cast_to_float32_is_weak_and_fails_only_when_strict():
    report = run_with(NETWORK, (LINEAR, CAST.format("np.float32", ".astype(W.dtype)")), depth=4)
    assert report.ok
    assert {finding.verdict for finding in report.findings} == {"WEAK"}
    assert report.first.where.name == "Z1"
    with pytest.raises(AssertionError):
        report.raise_if_failed(strict=True)


def test_an_activation_cast_to_float32_is_weak_and_its_gradient_inherits_that():
    report = run_with(NETWORK, CAST_VALUE, depth=4)
    assert {finding.verdict for finding in report.findings} == {"WEAK"}, str(report)
    assert {finding.where.name for finding in report.findings} <= {"A1", "A2", "A3", "A4"}
    report = run_with(NETWORK, CAST_VALUE, ("dA * derivative", "dA * derivative * 1.001"), depth=4)
    assert faults_of(report) == {"dZ1", "dZ2", "dZ3"}, str(report)


def test_a_cast_of_a_saturated_activation_is_weak_although_its_derivative_cancels():
    """1 - A^2 makes a large share of a small rounding where A is close to 1; the rest of a mistake stays a fault."""
    X, y = small_data(5, 2, 11, seed=7)

    def saturated(*edits):
        return run(experiment(depth=4, steps=1), (8 * X, y), hand=planted(NETWORK, edits))

    report = saturated(CAST_VALUE)
    assert {finding.verdict for finding in report.findings} == {"WEAK"}, str(report)
    assert {finding.where.name[0] for finding in report.findings} == {"A"}
    assert not saturated(CAST_VALUE, ("dA * derivative", "dA * derivative * 1.01")).ok


@pytest.mark.parametrize(
    ("edit", "verdicts"),
    [
        (CAST_VALUE, {"WEAK"}),
        ((CAST_VALUE[0], CAST_VALUE[1].replace("g.value(Z)", "(1.000001 * g.value(Z))")), {"FAULT"}),
        ((CAST_VALUE[0], "A = g.value(Z) * (1 + 1e-9)"), {"FAULT"}),
    ],
    ids=["a cast", "a mistake that is cast", "a mistake of a cast's size"],
)
def test_a_cast_of_what_nothing_moves_is_weak_and_a_mistake_there_a_fault(edit, verdicts):
    """Of inputs that are 0 no move leads anywhere: Z4 is b4, which starts from 0 and follows from labels alone."""
    settings = experiment(activation="relu", depth=4, bias_scale=0.0, epochs=2)
    report = run(settings, (0 * DATA[0], DATA[1]), hand=planted(NETWORK, (edit,)))
    assert {finding.verdict for finding in report.findings} == verdicts, str(report)
    assert report.first.where.name == "A4"


def test_a_mistake_in_data_that_cancel_is_a_fault():
    """Inputs come in pairs, x and -x: the sum over them is 0, and no move may make them all 0."""
    X = np.repeat(DATA[0], 2, axis=1) * np.tile([1.0, -1.0], 5)
    settings = replace(experiment(), layers=(10, 7, 2))
    for edit in (("dZ.sum(axis=1, keepdims=True)", "dZ[:, -1:]"), ("g.value(Z)", "1.00001 * g.value(Z)")):
        report = run(settings, (X, DATA[1]), hand=planted(NETWORK, (edit,)))
        assert report.first.verdict == "FAULT", str(report)


@pytest.mark.parametrize("optimizer", ["momentum", "gradient-descent"])
def test_what_is_computed_from_a_float32_gradient_is_no_fault(optimizer):
    report = run_with(NETWORK, CAST_GRADIENT, depth=4, optimizer=optimizer, l2=0.0)
    assert {finding.verdict for finding in report.findings} == {"WEAK"}, str(report)
    assert report.first.where.name == "dW4"


@pytest.mark.parametrize(("optimizer", "step"), [("momentum", "V"), ("gradient-descent", "gradients")])
def test_what_is_wrong_beside_a_float32_gradient_stays_a_fault(optimizer, step):
    doubled = (f"w - learning_rate * {step}", f"w - 1.0001 * learning_rate * {step}")
    with edited(handgrad.manual.network, CAST_GRADIENT), edited(handgrad.manual.optimizers, doubled):
        report = experiment(depth=4, optimizer=optimizer, l2=0.0).run(DATA)
    assert faults_of(report) == {f"{w}{l}_next" for w in "Wb" for l in range(1, 5)}, str(report)


@pytest.mark.parametrize(
    ("edit", "names"),
    [
        ((LINEAR, f"({LINEAR}) * (1 + 3e-8)"), {"Z1", "Z2", "Z3", "Z4"}),
        (("db = dZ.sum(", "db = (1 + 3e-8) * dZ.sum("), {"db1", "db2", "db3"}),
    ],
)
def test_a_float32_gradient_makes_no_other_equation_less_exact(edit, names):
    assert names <= faults_of(run_with(NETWORK, CAST_GRADIENT, edit, depth=4, l2=0.0))


def test_float64_inside_is_a_note():
    report = run_with(NETWORK, (LINEAR, CAST.format("np.float64", "")), depth=4)
    assert report.findings == ()
    assert report.notes == (Float64Inside(),)


def test_float32_only_is_recognised_and_judged_in_float32_alone():
    batch = "X_batch, Y_batch = X.take(batch, axis=1), Y.take(batch, axis=1)"
    to_float32 = (
        "params = {name: np.float32(w) for name, w in params.items()}; "
        "state = {name: np.float32(V) for name, V in state.items()}; "
        "X_batch, Y_batch = np.float32(X.take(batch, axis=1)), np.float32(Y.take(batch, axis=1))"
    )
    report = run_with(TRAINING, (batch, to_float32), depth=4)
    assert report.findings == (), str(report)
    assert Float32Only() in report.notes
    overflowing = experiment("relu", depth=4, learning_rate=1e9)
    right = run_with(TRAINING, (batch, to_float32), settings=overflowing)
    assert {finding.verdict for finding in right.findings} == {"NONFINITE"}, str(right)
    wrong = ("dZ @ A_prev.T", "1.001 * dZ @ A_prev.T")
    with edited(handgrad.manual.training, (batch, to_float32)), edited(handgrad.manual.network, wrong):
        assert "dW4" in faults_of(overflowing.run(DATA))


def test_float64_only_is_recognised_and_judged_in_float64_alone():
    picky = ("return W @ A_prev + b", "assert W.dtype == np.float64, 'double precision'; return W @ A_prev + b")
    report = run_with(NETWORK, picky, depth=4)
    assert report.findings == (), str(report)
    (note,) = report.notes
    assert isinstance(note, Float64Only)
    assert (note.raised.exception, note.raised.file) == ("AssertionError", "manual/network.py")
    assert len({row.step for row in report.rows}) == 6
    first = run_with(NETWORK, picky, ("dZ @ A_prev.T", "1.0001 * dZ @ A_prev.T"), depth=4).first
    assert (first.where.name, first.verdict) == ("dW4", "FAULT")


def test_what_raises_in_float32_at_a_later_step_is_judged_in_float64_alone_from_there():
    later = "assert W.dtype == np.float64 or A_prev.shape[1] == 4, 'full batches'; return W @ A_prev + b"
    picky = ("return W @ A_prev + b", later)
    report = run_with(NETWORK, picky)
    assert report.findings == (), str(report)
    assert [type(note) for note in report.notes] == [Float64Only]
    assert len({row.step for row in report.rows}) == 6
    first = run_with(NETWORK, picky, ("dZ @ A_prev.T", "1.0001 * dZ @ A_prev.T")).first
    assert (first.where, first.verdict) == (Key(1, "backward", "dW2"), "FAULT")
