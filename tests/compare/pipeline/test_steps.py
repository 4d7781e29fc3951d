"""Steps of optimisers and trainers judged one by one, and what is said of a run as a whole."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from handgrad.compare.facts.failures import (
    Mutates,
    NeverMoves,
    Raised,
    RaisesAgain,
    ReturnedInstead,
    TooFewYields,
    TooManyYields,
    TwoAnswers,
)
from handgrad.compare.facts.remarks import Float64Only, NoBuffer, VelocityTimes
from handgrad.compare.facts.updates import OptimizerReset
from handgrad.compare.names import Key
from handgrad.compare.pipeline.judged import collected, findings_of
from handgrad.compare.pipeline.problem import problem_of
from handgrad.compare.pipeline.recording import Ended, Run, Taken, record
from handgrad.compare.pipeline.steps import (
    Training,
    ended,
    in_float32,
    in_one_precision,
    judged_steps,
    judged_training,
    not_repeatable,
)
from handgrad.compare.results import Finding
from handgrad.compare.trace import in_precision
from tests.compare.checks.trainers import BATCHES, PARAMS, VELOCITIES, gradients, momentum, reference, sgd, trainer

FIRST = Key(1, "update", "W1_next")
NAMED = [{"X": X, "Y": Y} for X, Y in BATCHES]


def training_of(train, optimizer=sgd, precisions=("float64", "float32")):
    problem = problem_of(reference, PARAMS, BATCHES[0], precisions)
    runs = {
        dtype: record(train, in_precision(PARAMS, dtype), [in_precision(batch, dtype) for batch in NAMED])
        for dtype in precisions
    }
    return Training(runs, PARAMS, optimizer, NAMED, problem)


def findings_in(training):
    return findings_of(collected(judged_steps(training)))


def descent(tensors):
    return torch.optim.SGD(tensors, lr=0.1)


# --- steps


def test_every_step_is_judged_in_its_order():
    steps = [*judged_steps(training_of(trainer(shows=("dW1", "vW1"))))]
    assert [step.number for step in steps] == [1, 2, 3, 4, 5, 6]
    names = [judgement.row.name for judgement in (*steps[0].agreeing(), *steps[0].judgements)]
    assert names == ["dW1", "vW1", "W1_next", "b1_next", "W2_next", "b2_next"]
    assert not any(judgement.finding for step in steps for judgement in step.judgements)


def test_only_steps_that_every_precision_has_are_judged():
    training = training_of(trainer())
    short = replace(training.runs["float32"], steps=training.runs["float32"].steps[:2])
    cut = replace(training, runs={**training.runs, "float32": short})
    assert [step.number for step in judged_steps(cut)] == [1, 2]


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        (lambda values: {name: w for name, w in values.items() if name != "b1"}, "missing"),
        (lambda values: {**values, "W2": values["W2"].T}, "shape"),
    ],
    ids=["missing", "another shape"],
)
def test_nothing_is_judged_after_a_parameter_that_cannot_be_used(values, cause):
    def train(params, batches):
        for step, made in enumerate(trainer()(params, batches), start=1):
            yield values(made) if step == 2 else made

    *before, last = judged_steps(training_of(train))
    assert [step.stop for step in (*before, last)] == [False, True]
    assert [j.finding.cause.code for j in last.judgements if j.finding] == [cause]


def test_a_velocity_that_is_wrong_takes_its_update_with_it():
    """The row of the update stays what it is; it counts as what differs because of the velocity."""
    training = training_of(momentum(0.9, lambda step: 7.0 if step == 2 else 1.0, 0.1, shown=True))
    judged = [*judged_steps(training)][2].judgements
    assert {j.row.name for j in judged if j.finding} == {*VELOCITIES}
    updates = [j for j in judged if j.row.name == "W1_next"]
    assert [(j.row.verdict, j.differs) for j in updates] == [("FAULT", True)]


def test_a_velocity_that_is_always_the_same_multiple_is_a_convention():
    steps = [*judged_steps(training_of(momentum(0.9, lambda _: 0.1, 1.0, shown=True)))]
    assert all(isinstance(note, VelocityTimes) for step in steps for note in step.notes)
    rows = [j.row for step in steps for j in step.judgements if j.row.name in VELOCITIES]
    assert {(row.verdict, row.rho) for row in rows} == {("OK", None)}


def test_a_velocity_that_is_another_multiple_later_is_no_convention():
    """It is yielded in other units from step 3 on; the updates are right."""

    def train(params, batches):
        for step, values in enumerate(momentum(0.9, lambda _: 1.0, 0.1, shown=True)(params, batches)):
            yield {name: (0.5 if step < 2 else 0.2) * v if name in VELOCITIES else v for name, v in values.items()}

    first = findings_in(training_of(train))[0]
    assert (first.where.step, first.where.name) == (3, "vW1")


def left_out(name):
    """The notes' average, whose update leaves one parameter as it was."""

    def train(params, batches):
        before = params
        for values in momentum(0.9, lambda _: 0.1, 1.0, shown=True)(params, batches):
            yield {**values, name: before[name]}

    return train


@pytest.mark.parametrize("name", ["W1", "b2"])
def test_in_a_convention_an_update_that_is_wrong_is_a_finding_of_its_own(name):
    """Whether its velocity is looked at before those that tell the convention, or after them."""
    step = next(judged_steps(training_of(left_out(name))))
    assert [j.finding.where.name for j in step.judgements if j.finding] == [f"{name}_next"]
    assert {type(note) for note in step.notes} == {VelocityTimes}


def test_a_convention_that_an_update_ignores_later_is_none_of_the_velocity():
    """v = 0.9 v + 0.1 dw, and w goes along dw itself, which shows from step 2 on."""

    def train(params, batches):
        p, v = dict(params), dict.fromkeys(params, 0.0)
        for X, Y in batches:
            along = gradients(p, X, Y)
            v = {name: 0.9 * v[name] + 0.1 * along[f"d{name}"] for name in p}
            p = {name: p[name] - 0.1 * along[f"d{name}"] for name in p}
            yield {**p, **{f"v{name}": v[name] for name in p}}

    first = findings_in(training_of(train))[0]
    assert (first.where.step, first.where.name) == (2, "W1_next")


def test_velocities_that_torch_does_not_keep_are_one_note():
    steps = [*judged_steps(training_of(momentum(0.0, lambda _: 1.0, 0.1, shown=True), descent))]
    assert {note for step in steps for note in step.notes} == {NoBuffer(VELOCITIES, "SGD")}
    assert not any(j.finding for step in steps for j in step.judgements)


@pytest.mark.parametrize("shown", [False, True])
def test_what_torch_makes_without_a_step_before_is_called_reset(shown):
    """At step 4 what the steps before left in v is lost."""
    findings = findings_in(training_of(trainer("reset", VELOCITIES if shown else ())))
    names = VELOCITIES if shown else tuple(f"{name}_next" for name in PARAMS)
    assert [(*f.where, f.cause) for f in findings] == [(4, "update", name, OptimizerReset()) for name in names]


def test_a_first_step_is_never_called_reset():
    findings = findings_in(training_of(trainer("damped")))
    assert {f.where.step for f in findings} == {1}
    assert OptimizerReset() not in {f.cause for f in findings}


# --- a run as a whole


def run_of(*pairs, failure=None):
    """A run whose steps go from one value of w to another."""
    return Run(
        tuple(Taken({"w": np.array(before)}, {"w_next": np.array(after)}) for before, after in pairs),
        failure,
    )


def test_what_rounds_to_float32_at_every_step_is_recognised():
    fine, coarse = 1.0 + 2.0**-40, float(np.float32(0.1))
    assert in_float32(run_of((fine, coarse), (coarse, 2 * coarse)))
    assert not in_float32(run_of((fine, coarse), (coarse, fine)))
    assert not in_float32(run_of((coarse, coarse))), "what does not move tells nothing"
    assert not in_float32(run_of())


def test_the_first_step_that_is_another_when_it_is_run_again_is_a_finding():
    one, other = run_of((1.0, 2.0), (2.0, 3.0)), run_of((1.0, 2.0), (2.0, 4.0))
    training = Training({"float64": one}, {"w": np.array(1.0)}, sgd, [])
    assert not_repeatable(training, one, "update", "") == ()
    two_answers = Finding(Key(2, "update", "w_next"), "FAULT", TwoAnswers("update", ("w_next",), "keep nothing"))
    for again in (other, run_of((1.0, 2.0))):
        assert not_repeatable(training, again, "update", "keep nothing") == (two_answers,)
    raised = Raised("ValueError", "full")
    (finding,) = not_repeatable(training, run_of((1.0, 2.0), failure=Ended(raised)), "update", "")
    assert finding == Finding(Key(2, "update", "w_next"), "FAULT", RaisesAgain(raised, "update"))
    raises = replace(training, runs={"float64": run_of((1.0, 2.0), failure=Ended(raised))})
    assert not_repeatable(raises, one, "update", "") == (), "what ended the first run is said of that"


def test_what_raises_in_float32_alone_is_judged_in_float64_with_a_note():
    whole, raised = run_of((1.0, 2.0)), run_of(failure=Ended(Raised("TypeError", "no")))
    assert in_one_precision({"float64": whole, "float32": raised}) == (
        {"float64": whole},
        [Float64Only(Raised("TypeError", "no"))],
    )
    other = run_of(failure=Ended(TooManyYields(1)))
    for runs in (
        {"float64": whole, "float32": whole},
        {"float64": raised, "float32": raised},
        {"float32": raised, "float64": whole},
        {"float32": raised},
        {"float64": whole, "float32": other},
    ):
        assert in_one_precision(runs) == (runs, [])


def test_weights_that_no_step_changed_are_called_so():
    def still(params, batches):
        for _ in batches:
            yield {name: array for name, array in params.items() if name != "b1"} | {"b1": params["b1"][:, :0]}

    outcome = judged_training(training_of(lambda params, batches: (dict(params) for _ in batches)), "do it")
    assert {type(f.cause) for f in outcome.findings} == {NeverMoves}
    assert {f.cause.remedy for f in outcome.findings} == {"do it"}
    assert outcome.still == []
    misshapen = judged_training(training_of(still), "do it")
    assert "shape" in {f.cause.code for f in misshapen.findings}


def endings(run, batches=2):
    training = Training({"float64": run}, {"w": np.array(1.0)}, sgd, [{}] * batches)
    return [(*f.where, f.verdict, f.cause) for f in ended(training)]


TWO, ONE = [(1.0, 2.0), (2.0, 3.0)], [(1.0, 2.0)]
TEXT = ReturnedInstead("trainer", "yields", "None", "")
ENDED = {
    "whole": (run_of(*TWO), []),
    "too few": (run_of(*ONE), [(2, "update", "w_next", "MISSING", TooFewYields(1, 2))]),
    "too many": (
        run_of(*TWO, failure=Ended(TooManyYields(2))),
        [(3, "update", "w_next", "FAULT", TooManyYields(2))],
    ),
    "something else": (run_of(*ONE, failure=Ended(TEXT)), [(2, "update", "w_next", "MISSING", TEXT)]),
    "of the step before": (
        run_of(*ONE, failure=Ended(Mutates("update", "gradient", "dw"), follows=True)),
        [(1, "update", "w_next", "FAULT", Mutates("update", "gradient", "dw"))],
    ),
    "in a place of its own": (
        run_of(*TWO, failure=Ended(Mutates("trainer", "batch 1's", "X"), where=Key(1, "forward", "X"))),
        [(1, "forward", "X", "FAULT", Mutates("trainer", "batch 1's", "X"))],
    ),
    "a step that is not whole": (Run((Taken({"w": np.array(1.0)}, {}),)), []),
}


@pytest.mark.parametrize(("run", "findings"), ENDED.values(), ids=ENDED)
def test_what_ended_a_run_is_said_where_it_ended(run, findings):
    assert endings(run) == findings


def test_an_optimiser_alone_has_no_batches_to_take_too_few_of():
    assert endings(run_of(*ONE), batches=0) == []
