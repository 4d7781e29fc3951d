"""In which reading fewer equations are wrong: factors along a chain of gradients, forms, and what is no multiple."""

import numpy as np
import pytest

from handgrad.compare.facts.causes import Unknown
from handgrad.compare.names import Key
from handgrad.compare.oracle.replay import Replay
from handgrad.compare.results import Finding, Row
from handgrad.compare.verdict.conventions import AS_RECORDED, As, Reading
from handgrad.compare.verdict.judgement import Judgement
from handgrad.compare.verdict.readings import (
    Equations,
    Step,
    is_convention,
    is_fewer,
    not_ok,
    ratio,
    ratios,
    simple,
    sizes,
)

RNG = np.random.default_rng(3)
SHARE = 1e-6

# --- factors

PLAIN = {
    "half": (0.5, 0.5),
    "a seventh": (1 / 7 * (1 + 1e-12), 1 / 7),
    "a size": (1234567.0, 1234567.0),
    "1/(1 - 0.9)": (1 / (1 - 0.9), 10.0),
    "minus": (-1.0, -1.0),
    "none": (np.pi, np.pi),
    "zero": (0.0, 0.0),
}


@pytest.mark.parametrize(("factor", "plain"), PLAIN.values(), ids=PLAIN)
def test_a_simple_factor_is_taken_for_what_it_is_near(factor, plain):
    assert simple(factor) == plain


def test_a_factor_next_to_one_is_chosen_by_nobody():
    assert [is_convention(factor) for factor in (0.5, -1.0, 1.02, 1.005, 1.0, 0.0, np.inf)] == [True] * 3 + [False] * 4


def test_a_record_is_a_multiple_where_every_entry_is():
    reference = RNG.standard_normal((3, 4))
    assert ratio(-3 * reference, reference, SHARE) == -3.0
    assert ratio(np.pi * reference, reference, SHARE) == pytest.approx(np.pi)
    one_off = 3 * reference
    one_off[1, 2] *= 1.001
    assert ratio(one_off, reference, SHARE) is None
    assert ratio(reference.T, reference, SHARE) is None
    assert ratio(np.full((3, 4), np.nan), reference, SHARE) is None
    assert ratio(np.array("text"), reference, SHARE) is None
    assert ratio(np.ones(3), np.zeros(3), SHARE) is None


@pytest.mark.parametrize("size", [1e-300, 1.0, 1e300])
def test_a_factor_does_not_depend_on_the_size(size):
    reference = size * RNG.uniform(0.5, 1, 6)
    assert ratio(0.25 * reference, reference, SHARE) == 0.25


def test_of_few_entries_a_factor_must_be_simple():
    assert ratio(np.array([2.0]), np.array([4.0]), SHARE) == 0.5
    assert ratio(np.array([2.01234567]), np.array([4.0]), SHARE) is None


# --- equations

CHAIN = {"dZ2": {"J"}, "dA1": {"dZ2"}, "dZ1": {"dA1"}, "dW2": {"dZ2"}, "db2": {"dZ2"}, "dW1": {"dZ1"}, "db1": {"dZ1"}}
TAPS = ("dZ2", "dA1", "dZ1")


def chain(**of_local):
    """Two layers; what each gradient is of the reference on the records, and with that of torch's own."""
    local, torch = dict.fromkeys(CHAIN, 1.0) | of_local, {"J": 1.0}
    for name, (source,) in CHAIN.items():
        torch[name] = torch[source] * local[name] if None not in (torch[source], local[name]) else None
    sources = {name: frozenset(read) for name, read in CHAIN.items()}
    return Equations(sources, local, torch, TAPS, frozenset(CHAIN) - {*TAPS})


def best(equations):
    factors = min(equations.candidates(), key=equations.cost)
    return factors if equations.cost(factors) < equations.cost({}) else {}


SEVENTH = {"dW2": 1 / 7, "db2": 1 / 7, "dW1": 1 / 7, "db1": 1 / 7}
ALL = dict.fromkeys(TAPS, 7.0)
BEST = {
    "right": ({}, {}, 0),
    "half of one, undone": ({"dA1": 0.5, "dZ1": 2.0}, {"dA1": 0.5}, 0),
    "half of one, not undone": ({"dA1": 0.5}, {}, 1),
    "the mean left out": ({"dZ2": 7.0, **SEVENTH}, ALL, 0),
    "and the first is doubled": ({"dZ2": 14.0, **SEVENTH}, ALL, 1),
    "and a bias forgotten": ({"dZ2": 7.0, **SEVENTH, "db2": 1.0}, ALL, 1),
    "and one is no multiple": ({"dZ2": 7.0, **SEVENTH, "dA1": None}, ALL, 1),
    "and one has it twice": ({"dZ2": 7.0, **SEVENTH, "dZ1": 1 / 7}, ALL, 1),
    "the mean twice in parameters alone": (SEVENTH, {}, 4),
    "a sign, undone by both": ({"dZ1": -1.0, "dW1": -1.0, "db1": -1.0}, {"dZ1": -1.0}, 0),
    "a sign, undone by one of two": ({"dZ1": -1.0, "dW1": -1.0}, {"dZ1": -1.0}, 1),
    "a sign, undone by none": ({"dZ1": -1.0}, {}, 1),
    "two factors that have nothing to do with each other": ({"dZ2": 3.0, "dW1": 5.0}, {}, 2),
}


@pytest.mark.parametrize(("of_local", "factors", "wrong"), BEST.values(), ids=BEST)
def test_the_factors_with_the_fewest_wrong_equations_are_found(of_local, factors, wrong):
    equations = chain(**of_local)
    assert {n: f for n, f in best(equations).items() if f != 1.0} == pytest.approx(factors)
    assert equations.cost(factors)[0] == wrong


def test_a_gradient_that_is_right_is_read_only_with_what_it_is_computed_from():
    """dZ2 is torch's own, and dW2 and db2 are both wrong by the same: these are wrong, not dZ2."""
    assert best(chain(dW2=1 / 7, db2=1 / 7)) == {}


# --- steps

VALUES = {"Z": RNG.standard_normal((3, 4)), "J": np.array(1.5)}
GRADIENTS = {"dZ": RNG.standard_normal((3, 4)), "dW": RNG.standard_normal((3, 2))}
OWN = Replay(VALUES, GRADIENTS, {"Z": frozenset({"W"}), "J": frozenset({"Z"})}, frozenset())
RECORDS = {**VALUES, **GRADIENTS}


def step(*wrong, **changed):
    return Step({**RECORDS, **changed}, RECORDS, OWN, frozenset(wrong), frozenset({"W"}))


FORMS = {
    "a value of the other sign": ("Z", -VALUES["Z"], As(-1.0)),
    "a value transposed": ("Z", VALUES["Z"].T, As(axes=(1, 0))),
    "a value doubled and packed": ("Z", 2 * VALUES["Z"].ravel(), As(2.0, shape=(3, 4))),
    "a gradient transposed, by any factor": ("dZ", 3 * GRADIENTS["dZ"].T, As(axes=(1, 0))),
}


@pytest.mark.parametrize(("name", "record", "form"), FORMS.values(), ids=FORMS)
def test_the_form_of_a_wrong_record_is_found(name, record, form):
    assert step(name, **{name: record}).forms() == Reading({name: form})
    assert step(**{name: record}).forms() is AS_RECORDED, "it is not wrong"


def test_what_is_no_form_of_torchs_is_read_as_it_is():
    assert step("Z", Z=VALUES["Z"] + 1).forms() is AS_RECORDED
    assert step("Z", Z=1.001 * VALUES["Z"]).forms() is AS_RECORDED
    assert step("dW", dW=GRADIENTS["dW"].T).forms() is AS_RECORDED, "what was asked for is no intermediate"
    assert step("J", J=np.array(3.0)).forms() is AS_RECORDED


def test_what_a_record_may_be_undone_by():
    assert step().undoing("dZ") == {"dW"}
    assert step().undoing("Z") == {"J", "dZ"}


def test_the_factors_of_a_step():
    doubled = Step(
        {**RECORDS, "dZ": 2 * RECORDS["dZ"]},
        {**RECORDS, "dW": 2 * RECORDS["dW"]},
        OWN,
        frozenset(("dZ", "dW")),
        frozenset("W"),
    )
    assert doubled.factors() == Reading({"dZ": As(2.0)})
    assert step().factors() == AS_RECORDED


CARRIED = {  # what dZ was of torch's, what it is now, and how it is read: 8 examples before, 3 now
    "n of each": (8.0, 3.0, 3.0, True),
    "half of n": (4.0, 1.5, 1.5, True),
    "one over n": (1 / 8, 1 / 3, 1 / 3, True),
    "constant": (0.5, 0.5, 0.5, True),
    "constant, and a size": (8.0, 8.0, 8.0, False),
    "constant, and no longer": (0.5, 3 / 16, 3 / 16, False),
    "of neither kind": (8.0, 5.0, 3.0, True),
}


@pytest.mark.parametrize(("before", "now", "read", "is_plainest"), CARRIED.values(), ids=CARRIED)
def test_a_factor_of_another_step_is_constant_or_follows_a_size(before, now, read, is_plainest):
    sizes_of = ratios({"X": np.ones((2, 8))}, {"X": np.ones((2, 3))})
    known, here = Reading({"dZ": As(before)}), step("dZ", dZ=now * GRADIENTS["dZ"])
    reading, plainest = here.carried(known, sizes_of)
    assert (reading.of["dZ"].factor, plainest) == (pytest.approx(read), is_plainest)


def test_a_mean_divides_by_what_the_batch_or_the_loss_has():
    assert sizes(OWN, {"X": np.ones((2, 4)), "Y": np.ones((5, 4))}) == {2, 4, 5, 20, 12}


def judged(**verdicts):
    rows = [Row(1, "backward", name, "", (), 0.0, verdict=verdict) for name, verdict in verdicts.items()]
    findings = [
        Finding(Key(1, "backward", row.name), "FAULT", Unknown()) if row.verdict != "OK" else None for row in rows
    ]
    return [Judgement(row, finding, differs=finding is not None) for row, finding in zip(rows, findings, strict=True)]


def test_fewer_tensors_are_wrong_and_where_none_is_parameters_agree():
    before, after = judged(dZ="FAULT", dW="FAULT"), judged(dZ="OK", dW="OK")
    assert not_ok(before) == {"dZ", "dW"}
    assert is_fewer(after, before, frozenset({"dW"}))
    assert is_fewer(judged(dZ="OK", dW="FAULT"), before, frozenset({"dW"}))
    assert not is_fewer(before, before, frozenset({"dW"}))
    apart = [after[0], after[1]._replace(differs=True)]
    assert not is_fewer(apart, before, frozenset({"dW"}))
