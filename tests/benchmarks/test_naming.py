"""A small part of the benchmark of names, and its judge: it calls a wrong name wrong, and a right one right."""

import ast
from dataclasses import replace

import numpy as np
import pytest

from handgrad import tap
from handgrad.compare.facts.causes import Scaled, Unknown, WrongSign
from handgrad.compare.facts.compounds import Repeated
from handgrad.compare.facts.edits import MissingTerm, OtherOperand
from handgrad.compare.facts.updates import AtKink, Isolated, SlicesDiffer, SlicesZero
from tests.benchmarks.naming import counted, targets
from tests.benchmarks.naming_corpora import (
    RIGHT,
    SECOND,
    UNKNOWN,
    UNSEEN,
    WRONG,
    Outcome,
    of_answer,
    of_edit,
    of_pair,
    of_rule,
    of_written,
    operations,
)
from tests.benchmarks.naming_judge import Draw, alike, checked, has_formula
from tests.benchmarks.naming_plants import ANSWERS, answered, edited, pairs
from tests.corpus.planted import Mistake, Operation, made


def reference(params, X, Y):
    Z = tap("Z", X @ params["W"])
    A = tap("A", Z * Z * Y + Z)
    return (A * A).sum() / 2


def draw(rng):
    return {"W": rng.standard_normal((4, 3))}, (rng.standard_normal((6, 4)), np.eye(3)[rng.permutation(6) % 3])


SOURCE = """def derivation(params, X, Y):
    Z = X @ params["W"]
    A = Z * Z * Y + Z
    J = (A * A).sum() / 2
    dA = A
    dZ = dA * (2 * Z * Y + 1)
    dW = X.T @ dZ
    return {"Z": Z, "A": A, "J": J, "dA": dA, "dZ": dZ, "dW": dW}
"""
SLIPS = (
    Mistake("The exponent does not come down.", "(2 * Z * Y + 1)", "(Z * Y + 1)"),
    Mistake("A term is left out.", "(2 * Z * Y + 1)", "2 * Z * Y"),
    Mistake("The mask is left out.", "(2 * Z * Y + 1)", "(2 * Z + 1)"),
    Mistake("A sum is a difference.", "Z * Z * Y + Z\n", "Z * Z * Y - Z\n"),
    Mistake("All of it is three times too large.", "dW = X.T @ dZ", "dW = 3 * X.T @ dZ"),
    Mistake("The sign is wrong.", "dW = X.T @ dZ", "dW = -X.T @ dZ"),
    Mistake("Another tensor is read.", "dW = X.T @ dZ", "dW = X.T @ dA"),
)
SQUARES = Operation("squares", reference, SOURCE, draw, SLIPS)


def planted(mistake, operation=SQUARES):
    return checked(operation, made(mistake.planted(operation.derivation)), [5])


# --- the judge


@pytest.mark.parametrize("slip", SLIPS, ids=lambda slip: slip.what)
def test_a_right_name_is_right(slip):
    code = planted(slip)
    first = code.report().first
    assert has_formula(first.cause)
    assert code.is_right(first.cause, first.where.name)


@pytest.mark.parametrize(("slip", "other"), [(0, 1), (4, 5), (6, 4)])
def test_the_name_of_another_mistake_in_the_same_tensor_is_wrong(slip, other):
    code, cause = planted(SLIPS[slip]), planted(SLIPS[other]).report().first.cause
    assert not code.is_right(cause, code.report().first.where.name)


OF_THE_NUMBERS = {  # what is a mistake where the first number of X is positive, and another or none elsewhere
    "a factor": ("dW = X.T @ dZ", "dW = (2 + (X[0, 0] > 0)) * X.T @ dZ"),
    "a sign": ("dW = X.T @ dZ", "dW = (1 - 2 * (X[0, 0] > 0)) * X.T @ dZ"),
    "a term": ("(2 * Z * Y + 1)", "(2 * Z * Y + (X[0, 0] <= 0))"),
    "an exponent": ("(2 * Z * Y + 1)", "((2 - (X[0, 0] > 0)) * Z * Y + 1)"),
}


@pytest.mark.parametrize("what", OF_THE_NUMBERS)
def test_a_name_that_holds_on_these_numbers_alone_is_wrong(what):
    """The engine's own second run moves every number by a third, which changes no sign."""
    code = planted(Mistake(what, *OF_THE_NUMBERS[what]))
    drawn = [Draw(*draw(np.random.default_rng(seed))) for seed in range(20)]
    above, below = ([each for each in drawn if bool(each.batch[0][0, 0] > 0) is is_above] for is_above in (True, False))
    first = replace(code, here=above[0]).report().first
    assert has_formula(first.cause)
    for fresh, expected in ((above[1:3], True), ([above[1], below[0]], False)):
        assert replace(code, here=above[0], fresh=fresh).is_right(first.cause, first.where.name) is expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Scaled(2.0), Scaled(2.0 + 1e-12), True),
        (Scaled(2.0), Scaled(2.1), False),
        (Scaled(-1.0), WrongSign(), False),
        (AtKink("Z", 3), AtKink("Z", 5), True),
        (AtKink("Z", 3), AtKink("A", 3), False),
        (Repeated(MissingTerm(("+ Z",)), 3), Repeated(MissingTerm(("+ Z",)), 3), True),
        (Repeated(MissingTerm(("+ Z",)), 3), Repeated(MissingTerm(("+ A",)), 3), False),
        (OtherOperand("X", "Y"), OtherOperand("X", "Y"), True),
    ],
)
def test_two_causes_are_alike_by_their_facts(one, other, expected):
    assert alike(one, other) is expected


def test_a_place_is_no_formula():
    assert not any(map(has_formula, [Unknown(), Isolated(((0, 1),)), SlicesDiffer(0, (1,))]))
    assert all(map(has_formula, [Scaled(2.0), SlicesZero(0, (1,))]))


# --- what is planted


def test_a_random_edit_changes_one_place():
    texts = set()
    for seed in range(40):
        text, what = edited(SOURCE, np.random.default_rng(seed))
        before, after = (ast.unparse(ast.parse(each)).splitlines() for each in (SOURCE, text))
        assert sum(one != other for one, other in zip(before, after, strict=True)) == 1, what
        texts.add(text)
    assert len(texts) > 20
    assert edited(SOURCE, np.random.default_rng(3)) == edited(SOURCE, np.random.default_rng(3))


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_random_answer_takes_the_place_of_a_variable_from_where_it_is_ready(kind):
    params, batch = draw(np.random.default_rng(0))
    right = made(SOURCE)(params, *batch)
    change = ANSWERS[kind][1](np.random.default_rng(1), right["dZ"])
    wrong = made(answered(SOURCE, "dZ"), wrong=change)(params, *batch)
    assert not np.allclose(wrong["dZ"], right["dZ"], rtol=1e-9)
    assert np.array_equal(wrong["dZ"], change(right["dZ"]))
    assert np.array_equal(wrong["dW"], batch[0].T @ wrong["dZ"])
    assert np.array_equal(wrong["dA"], right["dA"])


def test_what_a_loop_computes_is_replaced_behind_it():
    source = "def derivation(n):\n    a = 0\n    for i in range(n):\n        a = a + i\n    return a\n"
    assert made(answered(source, "a"), wrong=lambda a: a + 100)(4) == 106
    source = "def derivation(n):\n    a = np.zeros(2)\n    np.add.at(a, [0, 0], 1)\n    b = a + 1\n    return a, b\n"
    a, b = made(answered(source, "a"), wrong=lambda a: a + 100)(4)
    assert (a.tolist(), b.tolist()) == ([102, 100], [103, 101])


def test_pairs_are_slips_that_can_be_made_together():
    assert (SLIPS[0], SLIPS[3]) in pairs(SQUARES)
    assert (SLIPS[0], SLIPS[1]) not in pairs(SQUARES)


# --- what is counted


def test_a_name_is_counted_once():
    outcomes = [
        Outcome("edits of slips", "an operation", "", how) for how in (RIGHT, RIGHT, SECOND, WRONG, UNKNOWN, UNSEEN)
    ]
    assert counted(outcomes) == [6, 4, 2, 3, 1, 1, 1]


def test_targets_are_met_or_not():
    right, wrong, unknown = (
        Outcome(title, "", "", how)
        for title, how in (("edits of slips", RIGHT), ("answers", WRONG), ("answers", UNKNOWN))
    )
    assert [met for *_, met in targets([right, unknown], [(0.4, "")])] == [True, True, True]
    assert [met for *_, met in targets([replace(right, how=UNKNOWN), wrong], [(1.6, "")])] == [False, False, False]


# --- a few of each corpus


def place(title, what):
    """Where a slip stands among the operations."""
    of = operations("slips")
    i = next(i for i, operation in enumerate(of) if operation.name == title)
    return i, next(j for j, mistake in enumerate(of[i].mistakes) if what in mistake.new or what in mistake.what)


@pytest.mark.parametrize(
    ("title", "what"), [("embedding", "summed"), ("divergence", "added"), ("RMS norm", "wrong sign")]
)
def test_written_slips_are_named(title, what):
    (outcome,) = of_written("slips", 3, place(title, what))
    assert outcome.how == RIGHT, outcome


def test_a_slip_of_a_rule_is_named():
    (outcome,) = of_rule(3, (2, 0))
    assert outcome.how == RIGHT, outcome


def test_random_edits_are_mistakes_that_are_found():
    (outcome,) = of_edit("slips", 3, 1)
    assert outcome.how != UNSEEN, outcome


@pytest.mark.parametrize("index", range(len(ANSWERS)))
def test_random_answers_have_no_name(index):
    (outcome,) = of_answer(3, index)
    assert outcome.how == UNKNOWN, outcome


def test_of_two_mistakes_every_finding_is_judged():
    outcomes = of_pair(3, 0)
    assert outcomes
    assert {outcome.how for outcome in outcomes} <= {RIGHT, SECOND, UNKNOWN}
