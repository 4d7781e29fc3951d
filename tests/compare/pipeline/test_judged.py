"""Judged steps become culprits, causes and a report, whichever check they come from."""

import numpy as np
import pytest

from handgrad.compare.diagnosis.scene import Scene
from handgrad.compare.facts.causes import PartialBatch, Scaled, Unknown, WrongSign, Zero
from handgrad.compare.facts.failures import LosesDigits, Raised
from handgrad.compare.facts.operands import SharesMemory
from handgrad.compare.facts.remarks import BlindSpot, Float32Only, FromZero, OutOfRange, ThenRaised
from handgrad.compare.facts.updates import Ascends, LeftOut, Reversed, Transposed
from handgrad.compare.names import Key
from handgrad.compare.pipeline.judged import (
    JudgedStep,
    as_one,
    collected,
    explained_update,
    findings_of,
    reported,
    with_ended,
)
from handgrad.compare.results import Code, Excerpt, Finding, Row, SourceLine
from handgrad.compare.verdict.closeness import Local
from handgrad.compare.verdict.judgement import Judgement

DUE = np.random.default_rng(0).standard_normal((3, 4))
SQUARE = np.random.default_rng(1).standard_normal((3, 3))


def judged(name, verdict="OK", *, step=1, phase="backward", sides=None, **more):
    """A judgement; with a finding unless the verdict is OK, both sides of a FAULT being twice what is due, and it."""
    row = Row(step, phase, name, more.pop("equation", ""), (3, 4), 1.0, verdict=verdict)
    if verdict == "OK":
        return Judgement(row, **more)
    cause = LosesDigits() if verdict == "WEAK" else Unknown()
    finding = Finding(Key(step, phase, name), verdict, cause, equation=row.equation)
    return Judgement(row, finding, differs=True, local=Local(*(sides or (2 * DUE, DUE))), **more)


def scene_of(judgements):
    """The material on each wrong tensor: the two sides alone."""
    sides = {j.row.name: j.local for j in judgements if j.local is not None}
    return lambda name: Scene(name, *sides[name]) if name in sides else None


def step(*judgements, number=1, **more):
    return JudgedStep(number, judgements, scene=more.pop("scene", scene_of(judgements)), **more)


def names(judged):
    return [judgement.row.name for judgement in judged.judgements]


# --- the loop over steps


def test_steps_are_collected_in_their_order():
    reads = {"Z": frozenset({"W"})}
    run = collected(
        [
            step(judged("dW"), judged("db"), notes=(Float32Only(),)),
            step(judged("dW", step=2, note=OutOfRange()), number=2, notes=(Float32Only(),), reads=reads),
        ]
    )
    assert (names(run), run.steps, run.reads) == (["dW", "db", "dW"], 2, reads)
    assert [*run.notes] == [Float32Only(), OutOfRange()], "each once"
    assert not run.has_finding


def test_nothing_is_judged_after_a_step_that_stops():
    ended = (Finding(Key(1, "backward", "db"), "FAULT", Raised("ValueError", "no")),)
    unasked = (pytest.fail("nobody asks for it") for _ in range(1))

    def steps():
        yield step(judged("dW"), ended=ended, stop=True)
        yield from unasked

    run = collected(steps())
    assert (names(run), run.ended, run.has_finding) == (["dW"], ended, True)


def test_a_wrong_tensor_is_looked_at_where_it_is_so_first():
    steps = [step(judged("dW", "FAULT", step=number), number=number) for number in range(1, 9)]
    assert collected(steps).suspects == {"dW": steps[0]}


def test_where_a_tensor_was_weak_before_tells_nothing_of_why_it_is_wrong():
    steps = [step(judged("dW", verdict, step=n), number=n) for n, verdict in enumerate(("WEAK", "FAULT"), start=1)]
    assert collected(steps).suspects == {"dW": steps[1]}
    assert collected(steps[::-1]).suspects == {"dW": steps[1]}, "nor does it outrank what it was before"


# --- causes


def test_a_finding_has_the_cause_of_its_scene():
    (finding,) = findings_of(collected([step(judged("dW", "FAULT"))]))
    assert (finding.where, finding.cause, finding.others) == (Key(1, "backward", "dW"), Scaled(2.0), ())


def test_without_a_scene_nothing_is_known():
    (finding,) = findings_of(collected([step(judged("dW", "FAULT"), scene=lambda _: None)]))
    assert finding.cause == Unknown()


def test_the_cause_of_an_update_without_a_scene_is_what_its_two_sides_show():
    update = judged("W_next", "FAULT", phase="update")
    (finding,) = findings_of(collected([step(update, scene=lambda _: None)]))
    assert finding.cause == Scaled(2.0, of_update=True)


def test_a_tensor_that_is_weak_keeps_its_cause():
    (finding,) = findings_of(collected([step(judged("dW", "WEAK"))]))
    assert (finding.verdict, finding.cause) == ("WEAK", LosesDigits())


def test_the_first_finding_has_all_causes_and_the_others_one():
    """The other sign of what is minus its own transpose is that transpose too."""
    judgements = [judged("dZ", "FAULT"), judged("dW", "FAULT")]
    antisymmetric = SQUARE - SQUARE.T
    sides = {"dZ": (-antisymmetric, antisymmetric), "dW": (antisymmetric, -antisymmetric)}
    first, second = findings_of(collected([step(*judgements, scene=lambda name: Scene(name, *sides[name]))]))
    assert (first.cause, first.others) == (WrongSign(), (Transposed(),))
    assert (second.cause, second.others) == (WrongSign(), ())


def test_a_check_may_know_more_of_a_cause():
    def aliased(name, causes):
        return (SharesMemory(f"{name} and {causes[0].code}"),)

    (finding,) = findings_of(collected([step(judged("dW", "FAULT"), adapt=aliased)]))
    assert finding.cause == SharesMemory("dW and scale")


SMALL = np.array([1.5, 0.0])


@pytest.mark.parametrize(("factor", "cause"), [(2.0, Scaled(2.0)), (1.7, Unknown())])
def test_one_entry_tells_a_number_that_was_not_fitted(factor, cause):
    (finding,) = findings_of(collected([step(judged("db", "FAULT", sides=(factor * SMALL, SMALL)))]))
    assert finding.cause == cause


# --- culprits over all steps


def test_what_follows_is_counted_over_all_steps():
    follows = [judged("dA", step=number)._replace(differs=True) for number in (1, 2)]
    run = collected([step(judged("dZ", "FAULT"), follows[0]), step(follows[1], judged("Z", step=2), number=2)])
    (finding,) = findings_of(run)
    assert (finding.where, finding.affects) == (Key(1, "backward", "dZ"), 2)


def test_a_fault_at_a_later_step_wins_over_weak_before_it():
    (finding,) = findings_of(collected([step(judged("dW", "WEAK")), step(judged("dW", "FAULT", step=2), number=2)]))
    assert (finding.where.step, finding.verdict, finding.cause) == (2, "FAULT", Scaled(2.0))


# --- one mistake, one finding


def in_one(run):
    return as_one(findings_of(run), run.scene)


def of_factors(factors, **more):
    """Gradients off by factors."""
    judgements = [judged(name, "FAULT", sides=(factor * DUE, DUE)) for name, factor in factors.items()]
    run = collected([step(*judgements, **more)])
    return [(f.where.name, f.factor, f.together) for f in in_one(run)]


def test_gradients_of_one_factor_are_one_finding():
    assert of_factors({"dW": 2.0, "db": 2.0, "dX": 2.0}) == [("dW", 2.0, ("db", "dX"))]


@pytest.mark.parametrize("factors", [{"dW": 2.0, "db": 3.0}, {"dW": 2.0, "db": -2.0}], ids=str)
def test_gradients_of_several_factors_are_several(factors):
    assert of_factors(factors) == [(name, factor, ()) for name, factor in factors.items()]


def test_one_of_a_single_entry_may_share_the_factor():
    judgements = [judged("db", "FAULT", sides=(2 * SMALL, SMALL)), judged("dW", "FAULT")]
    (finding,) = in_one(collected([step(*judgements)]))
    assert (finding.where.name, finding.cause, finding.together) == ("db", Scaled(2.0), ("dW",))


def test_a_factor_in_float32_is_one_to_within_its_roundings():
    sides = {name: ((2 * DUE).astype("f4"), DUE + 1e-9) for name in ("dW", "db")}

    def scene(name):
        return Scene(name, sides[name][0].astype(float), sides[name][1], dtype="float32")

    judgements = [judged(name, "FAULT", sides=both) for name, both in sides.items()]
    (finding,) = in_one(collected([step(*judgements, scene=scene)]))
    assert (finding.cause, finding.together) == (Scaled(2.0), ("db",))


def test_a_sign_and_a_short_batch_are_factors_too():
    assert of_factors({"dW": -1.0, "db": -1.0}) == [("dW", -1.0, ("db",))]
    partial = PartialBatch(0.5, "n/(batch size)")
    judgements = [judged(name, "FAULT", sides=(0.5 * DUE, DUE)) for name in ("dW", "db")]
    run = collected([step(*judgements, adapt=lambda *_: (partial,))])
    assert [(f.where.name, f.cause, f.together) for f in in_one(run)] == [("dW", partial, ("db",))]


def test_values_are_no_gradients():
    judgements = [judged("Z", "FAULT", phase="forward"), judged("J", "FAULT", phase="loss")]
    assert len(in_one(collected([step(*judgements)]))) == 2


def test_gradients_that_are_zero_are_one_finding():
    assert of_factors({"dW": 0.0, "db": 0.0}) == [("dW", None, ("db",))]


# --- updates by themselves

UPDATES = {
    "zero": (0 * DUE, "W_next", LeftOut()),
    "sign": (-DUE, "W_next", Ascends()),
    "factor": (2 * DUE, "W_next", Scaled(2.0, of_update=True)),
    "turned round": (DUE[::-1], "W_next", Reversed(0)),
    "a velocity of zero": (0 * DUE, "vW", Zero()),
    "a velocity with a sign": (-DUE, "vW", WrongSign()),
    "a velocity with a factor": (2 * DUE, "vW", Scaled(2.0)),
    "nothing": (DUE**2, "W_next", Unknown()),
}


@pytest.mark.parametrize(("recorded", "name", "cause"), UPDATES.values(), ids=UPDATES)
def test_the_cause_of_an_update_is_sought_in_the_change(recorded, name, cause):
    assert explained_update(judged(name, "FAULT", phase="update", sides=(recorded, DUE))) == cause


def test_an_update_that_cannot_be_compared_has_no_cause():
    assert explained_update(judged("W_next", "FAULT", phase="update")._replace(local=None)) == Unknown()


# --- what ended a run

RAISED = Finding(Key(2, "backward", "db"), "FAULT", Raised("ValueError", "no"))
WRONG = Finding(Key(1, "backward", "dW"), "FAULT", Unknown(), circumstances=(FromZero(),))
ALSO = Finding(Key(1, "backward", "dX"), "FAULT", Unknown())


def test_an_exception_is_a_finding_of_its_own_where_nothing_explains_it():
    assert with_ended((), [RAISED]) == (RAISED,)
    assert with_ended((WRONG, ALSO), []) == (WRONG, ALSO)


def test_after_a_wrong_tensor_an_exception_is_a_circumstance():
    first, also = with_ended((WRONG, ALSO), [RAISED])
    assert (first.where, first.circumstances) == (WRONG.where, (FromZero(), ThenRaised(RAISED.cause)))
    assert also is ALSO


# --- the report


def test_a_report_has_everything_that_was_collected():
    excerpt = Excerpt(1, "dW", (0, 0), ((2.0,),), ((1.0,),))
    follows = judged("dX")._replace(differs=True)
    arrays = {"dW": (2 * DUE, DUE)}
    one = step(judged("dW", "FAULT", excerpt=excerpt), follows, notes=(Float32Only(),))
    run = collected([one._replace(arrays=arrays)])
    spot = BlindSpot("one-step", "state", "one batch")
    code = Code("by hand", "mine.py", 10, "def f():\n    dW = 2 * x\n    return dW", {"dW": (11,)})
    report = reported(
        run,
        findings_of(run),
        {"check": "a test"},
        notes=lambda: [OutOfRange(), Float32Only()],
        blind_spots=lambda: [spot],
        code=lambda: [code],
    )
    assert [row.name for row in report.rows] == ["dW", "dX"]
    assert (report.notes, report.blind_spots) == ((Float32Only(), OutOfRange()), (spot,))
    assert (report.environment, report.ok) == ({"check": "a test"}, False)
    assert report.details.excerpts == (excerpt,)
    assert report.details.downstream == {"dX": (1,)}
    assert report.details.code == (code,)
    assert report.first.line == SourceLine("mine.py", 11, "dW = 2 * x")
    assert report.tensor("dW") is arrays["dW"]
