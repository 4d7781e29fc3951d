"""Both sides on their own: rounding drifts as far as it explains, mistakes further."""

from dataclasses import replace

import numpy as np
import pytest

from handgrad import Experiment
from handgrad.compare.experiment.data import load
from handgrad.compare.experiment.drift import drift_plots, free_running, only_drift
from handgrad.compare.experiment.run import run
from handgrad.compare.facts.failures import NoBatch, NotComputed, Overflow, Raised, RoundingGrows, WrongShape
from handgrad.compare.faults.planting import planted
from handgrad.compare.pipeline.judged import collected
from tests.compare.experiment.networks import BATCHES, DATA, LOSSES, NETWORK, TRAINING, experiment, run_with
from tests.support import small_data

LOADED = load(DATA)
FREE = experiment(free_running=True)


def test_rounding_drifts_less_than_it_explains():
    steps = [*free_running(FREE, LOADED)]
    rows = [judgement.row for step in steps for judgement in step.judgements]
    assert [step.number for step in steps] == [1, 2, 3, 4, 5, 6]
    assert {(row.verdict, row.rho_basis) for row in rows} == {("OK", "twins")}
    assert 0 < max(row.rho for row in rows) < 1


def test_a_factor_of_a_million_millionth_drifts_further_than_rounding_does():
    report = run_with(NETWORK, ("dW = dZ @ A_prev.T", "dW = (1 + 1e-12) * dZ @ A_prev.T"), free_running=True, l2=0.0)
    assert not report.ok, str(report)
    assert report.first.where.name == "dW2"
    assert any(row.rho > 1 for row in report.rows)


def test_rounding_that_grows_on_both_sides_own_ways_is_weak():
    """Sums over 200 inputs whose roundings all go one way: each step is right by itself, and they add up."""
    one_way = "return (1 + 0.7 * W.shape[1] * np.finfo(W.dtype).eps / 2) * (W @ A_prev + b)"
    hand = planted(NETWORK, [("return W @ A_prev + b", one_way)])
    settings = Experiment(layers=(200, 7, 2), dtype="float32", batch_size=None, steps=3, free_running=True)
    data = small_data(200, 2, 11, seed=7)
    report = run(settings, data, hand=hand)
    (finding,) = report.findings
    assert report.ok
    assert (finding.where.name, finding.verdict, finding.cause) == ("Z1", "WEAK", RoundingGrows())
    assert finding.worst.inputs == (), "not from the same inputs"
    assert {row.verdict for row in report.rows} == {"OK", "WEAK"}
    assert run(replace(settings, free_running=False), data, hand=hand).findings == ()


def test_what_drifts_and_is_right_step_by_step_is_one_finding_at_its_first_step():
    hand = planted(NETWORK, [("dW = dZ @ A_prev.T", "dW = 1.01 * dZ @ A_prev.T")])
    judged = collected(free_running(FREE, LOADED, hand))
    found = [judgement.finding for judgement in judged.judgements if judgement.finding]
    assert len(found) > 1
    shown = [judgement.finding for judgement in only_drift(judged).judgements if judgement.finding]
    assert shown == [replace(found[0], verdict="WEAK", cause=RoundingGrows())]
    rows = [judgement.row.verdict for judgement in only_drift(judged).judgements]
    assert {*rows} == {"OK", "WEAK"}


def test_what_overflows_on_both_sides_stays_what_it_is():
    settings = Experiment(
        layers=(3, 2, 1),
        activations=("relu", "identity"),
        loss="squared-error",
        batch_size=1,
        learning_rate=1e30,
        free_running=True,
    )
    judged = collected(free_running(settings, load(small_data(3, 1, 11, seed=7))))
    shown = [judgement.finding for judgement in only_drift(judged).judgements if judgement.finding]
    assert [(finding.verdict, type(finding.cause)) for finding in shown] == [("NONFINITE", Overflow)]


def test_what_is_missing_is_a_finding_here_too():
    less = "{name: g for name, g in gradients.items() if name != 'dW1'}"
    report = run_with(TRAINING, ('"backward", {**gradients}', f'"backward", {less}'), free_running=True)
    assert [(f.where.name, type(f.cause)) for f in report.findings] == [("dW1", NotComputed)]


def test_nothing_is_judged_after_a_parameter_of_another_shape():
    report = run_with(NETWORK, ("dZ.sum(axis=1, keepdims=True)", "dZ @ dZ.T"), free_running=True)
    assert (report.first.where.name, type(report.first.cause)) == ("db2", WrongShape)
    assert {row.step for row in report.rows} == {1}


ENDINGS = {
    "raises": (NETWORK, "db = dZ.sum(axis=1", "db = dZ.sum(axis=7", (1, "db[l]", "B3", Raised)),
    "goes on": (
        *(BATCHES, "for order in epoch_orders:", "for order in [*epoch_orders] * 2:"),
        (7, "X", "O2", NoBatch),
    ),
}


@pytest.mark.parametrize(("module", "right", "wrong", "ending"), ENDINGS.values(), ids=ENDINGS)
def test_what_ends_a_run_is_its_last_step(module, right, wrong, ending):
    *_, last = free_running(FREE, LOADED, planted(module, [(right, wrong)]))
    (finding,) = last.ended
    assert (finding.where.step, finding.where.name, finding.equation, type(finding.cause)) == ending


# --- curves


def test_two_sides_left_to_themselves_drift_as_far_as_rounding_explains_and_no_further():
    long = replace(FREE, epochs=10)
    loss, drift, norms = drift_plots(long, LOADED)
    assert [line.name for line in loss.lines] == ["by hand", "torch"]
    assert loss.lines[0].y == pytest.approx(loss.lines[1].y, rel=1e-9)
    apart, allowed = (np.array(line.y) for line in drift.lines)
    assert apart.max() > 0, "another order of summation shows"
    assert (apart <= allowed).all()
    assert [line.name for line in norms.lines] == ["dW1", "dW2"]
    assert len(apart) == len(norms.lines[0].y) == 30
    wrong = planted(NETWORK, [("dW = dZ @ A_prev.T", "dW = 1.001 * dZ @ A_prev.T")])
    apart, allowed = (np.array(line.y) for line in drift_plots(long, LOADED, wrong)[1].lines)
    assert apart[-1] > 1e6 * allowed[-1]


def test_curves_end_where_J_is_no_number():
    words = planted(LOSSES, [("return losses.sum() / n + penalty", "return 'J'")])
    assert drift_plots(FREE, LOADED, words) == ()


def test_curves_are_drawn_only_when_asked_for():
    assert FREE.run(DATA).details.plots == ()
    assert len(run(FREE, DATA, plots=True).details.plots) == 3
