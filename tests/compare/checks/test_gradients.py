"""check_gradients: right derivations are left in peace, wrong ones found, and a derivation that cannot be trusted told.

A mistake of its own: what it is handed is changed, it answers twice, or its gradients are zero on both sides.
"""

import random

import numpy as np
import pytest
import torch

from handgrad import InputError, check_gradients
from handgrad.compare.facts.causes import Scaled, Unknown, WrongSign, Zero
from handgrad.compare.facts.failures import Mutates, NotComputed, RaisesAgain, TwoAnswers
from handgrad.compare.facts.remarks import Persists
from handgrad.compare.names import Key
from handgrad.compare.ownership import named
from tests.corpus.layers import CLASSIC, LINEAR, SQUARES, TANH
from tests.corpus.operations import BUILDERS

BOTH = (("float64", "float32"), ("float32", "float64"))
PRECISIONS = [*BOTH, ("float64",), ("float32",)]


def names_of(report):
    return [finding.where.name for finding in report.findings]


# --- operations of the corpus


def case_of(name):
    return BUILDERS[name](np.random.default_rng([5, len(name)]))


@pytest.mark.parametrize("name", BUILDERS)
def test_right_derivations_in_two_roundings_are_left_in_peace(name):
    case = case_of(name)
    for variant in (case.variants[0], case.variants[3]):
        report = check_gradients(variant, case.reference, case.params, case.batch)
        assert report.findings == (), str(report)
        assert report.rows


@pytest.mark.parametrize("kind", ["structural", "small"])
@pytest.mark.parametrize("name", BUILDERS)
def test_a_wrong_derivation_is_found_at_its_tensor(name, kind):
    case = case_of(name)
    fault = [fault for fault in case.faults if fault.kind == kind and "rounded" not in fault.name][1]
    report = check_gradients(fault.derivation, case.reference, case.params, case.batch)
    assert not report.ok, f"{fault.name} was missed"
    assert report.first.where.name == fault.tensor, f"{fault.name}\n{report}"


# --- what a report holds


@pytest.mark.parametrize("left_out", [("Z", "dZ", "dX"), ("Z",), ("dZ",)], ids=" ".join)
def test_gradients_alone_are_enough_and_any_subset_of_intermediates(left_out):
    report = check_gradients(*TANH.without(*left_out))
    assert report.findings == (), str(report)
    (spot,) = (spot for spot in report.blind_spots if spot.code == "not-returned")
    assert {*left_out} & {"Z", "dZ"} <= {*spot.of} <= {"Z", "J", "dZ", "dX"}


def test_a_finding_says_where_it_stands_what_it_is_and_how_far_it_is_off():
    report = check_gradients(*TANH.scaled("dW", 2.0))
    (finding,) = report.findings
    assert finding.where == Key(1, "backward", "dW")
    assert (finding.verdict, finding.cause, finding.factor) == ("FAULT", Scaled(2.0), 2.0)
    assert finding.circumstances == (Persists("moves"),)
    assert finding.worst.by_hand == pytest.approx(2 * finding.worst.torch)
    assert {"X", "dZ"} <= {*finding.worst.inputs}
    assert finding.rho > 1
    assert (finding.affects, finding.together) == (0, ())


def test_what_follows_from_a_wrong_tensor_is_counted_and_no_finding():
    report = check_gradients(lambda p, X, C: TANH.without("dX").derivation({**p, "W": 2 * p["W"]}, X, C), *TANH[1:])
    assert (names_of(report), report.first.affects) == (["Z"], 3)
    assert {*report.details.downstream} == {"dZ", "dW", "db"}


@pytest.mark.parametrize(
    ("name", "change", "cause"),
    [("dX", lambda records: 1.001 * records["dX"], Scaled), ("dX", lambda records: -records["dX"], WrongSign)],
    ids=["a thousandth off", "sign"],
)
def test_the_gradient_of_an_input_is_judged(name, change, cause):
    (finding,) = check_gradients(*TANH.returning(**{name: change})).findings
    assert (finding.where.name, type(finding.cause)) == (name, cause)


def test_a_report_hands_out_both_sides_of_every_tensor():
    report = check_gradients(*TANH.scaled("dW", 2.0))
    by_hand, in_torch = report.tensor("dW")
    np.testing.assert_allclose(by_hand, 2 * in_torch)
    for name in ("Z", "dZ", "db", "dX"):
        np.testing.assert_allclose(*report.tensor(name))
    with pytest.raises(InputError, match="dWW"):
        report.tensor("dWW")


def test_one_precision_says_what_it_hides():
    hidden = set()
    for dtype in ("float32", "float64"):
        report = check_gradients(*TANH, precisions=(dtype,))
        assert report.findings == ()
        assert report.environment["precisions"] == [dtype]
        hidden |= {spot.hides for spot in report.blind_spots if spot.code == "one-precision"}
    assert len(hidden) == 2


def test_a_gradient_that_is_zero_in_torch_alone_is_no_blind_spot():
    report = check_gradients(
        lambda p, X: {"J": (p["w"] * X).sum(), "dw": X, "du": p["u"]},
        lambda p, X: (p["w"] * X).sum(),
        {"w": np.ones(3), "u": np.array([1.0, 2.0])},
        (np.array([1.0, -2.0, 3.0]),),
    )
    assert names_of(report) == ["du"]
    assert "exactly-zero" not in {spot.code for spot in report.blind_spots}


def test_inference_mode_around_a_check_does_not_blind_it():
    with torch.inference_mode():
        report = check_gradients(*TANH.scaled("dW", 2.0))
    assert names_of(report) == ["dW"]


# --- one finding for what has one factor where nothing else was returned


@pytest.mark.parametrize("precisions", PRECISIONS, ids=" ".join)
def test_gradients_off_by_one_factor_are_one_finding_that_lists_them(precisions):
    layer = LINEAR.without("Z", "dZ").scaled("dW", 6.0).scaled("db", 6.0).scaled("dX", 6.0)
    report = check_gradients(*layer, precisions=precisions)
    (finding,) = report.findings
    assert (finding.where.name, finding.factor) == ("db", 6.0)
    assert finding.together == ("dX", "dW")
    assert finding.cause.names == ("the size of axis 0 of X and axis 0 of Y",)


def test_where_what_they_read_is_right_no_line_is_the_one_of_all():
    report = check_gradients(*LINEAR.scaled("dW", 6.0).scaled("db", 6.0))
    assert [(f.where.name, f.together) for f in report.findings] == [("db", ("dW",))]


def test_another_factor_is_another_finding():
    layer = LINEAR.without("Z", "dZ").scaled("dW", 6.0).scaled("db", 6.0).scaled("dX", 3.0)
    assert [(f.where.name, f.factor, f.together) for f in check_gradients(*layer).findings] == [
        ("db", 6.0, ("dW",)),
        ("dX", 3.0, ()),
    ]


def test_a_sign_is_a_factor_too():
    (finding,) = check_gradients(*LINEAR.without("dZ").scaled("dW", -1.0).scaled("db", -1.0)).findings
    assert (finding.where.name, finding.cause, finding.together) == ("db", WrongSign(), ("dW",))


# --- self-protection


def states():
    generator = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002  # the user's
    return (*generator, torch.get_default_dtype(), torch.get_num_threads(), np.geterr())


def test_both_sides_get_copies_and_leave_no_trace():
    params, batch = {name: a.copy() for name, a in TANH.params.items()}, tuple(a.copy() for a in TANH.batch)

    def greedy(p, X, C):
        records = TANH.derivation(p, X, C)
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002  # the user's doing
        torch.manual_seed(1)
        torch.set_default_dtype(torch.float64)
        np.seterr(all="raise")
        X[:] = 0
        return records

    before = states()
    report = check_gradients(greedy, TANH.reference, params, batch)
    assert states() == before
    for ours, theirs in zip([*params.values(), *batch], [*TANH.params.values(), *TANH.batch], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert report.first.cause == Mutates("derivation", "input", "X")
    assert report.first.where == Key(1, "forward", "X")


def test_a_changed_parameter_is_named():
    def updating(p, X, C):
        records = TANH.derivation(p, X, C)
        p["W"] -= 0.1 * records["dW"]
        return records

    (finding,) = check_gradients(updating, *TANH[1:]).findings
    assert (finding.where.name, finding.verdict) == ("W", "FAULT")
    assert finding.cause == Mutates("derivation", "parameter", "W")


def test_what_is_changed_in_one_precision_alone_is_named_beside_what_is_wrong():
    def careless(p, X, C):
        records = TANH.derivation(p, X, C)
        if X.dtype == np.float32:
            C *= 2
        return {**records, "db": 2 * records["db"]}

    report = check_gradients(careless, *TANH[1:])
    assert [type(finding.cause) for finding in report.findings] == [Mutates, Scaled]
    assert names_of(report) == ["C", "db"]


def test_an_answer_that_is_not_repeatable_is_the_only_finding():
    calls = []

    def stale(*given):
        calls.append(1)
        return {name: value * len(calls) for name, value in TANH.derivation(*given).items()}

    (finding,) = check_gradients(stale, *TANH[1:]).findings
    assert finding.cause == TwoAnswers("derivation", ("Z", "dZ", "dW", "db", "dX"), finding.cause.remedy)
    assert "dropout" in finding.cause.remedy


def test_a_name_that_is_returned_every_other_time_is_no_answer():
    calls = []

    def forgetful(*given):
        calls.append(1)
        return TANH.without("dZ").derivation(*given) if len(calls) % 2 else TANH.derivation(*given)

    (finding,) = check_gradients(forgetful, *TANH[1:], precisions=("float64",)).findings
    assert isinstance(finding.cause, TwoAnswers)
    assert (finding.where.name, finding.cause.names) == ("dZ", ("dZ",))


def test_a_derivation_that_raises_when_called_again_is_not_repeatable():
    calls = []

    def once(*given):
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("cache is full")
        return TANH.derivation(*given)

    (finding,) = check_gradients(once, *TANH[1:]).findings
    assert isinstance(finding.cause, RaisesAgain)
    raised = finding.cause.raised
    assert (raised.exception, raised.message, raised.file) == ("RuntimeError", "cache is full", named(__file__))


@pytest.mark.parametrize("precisions", PRECISIONS, ids=" ".join)
def test_a_derivation_has_to_give_one_answer_twice(precisions):
    """In the other precision, which counts as asking again, or else in the same."""
    calls, derive = [], TANH.derivation

    def counted(*given):
        calls.append(1)
        return derive(*given)

    assert check_gradients(counted, *TANH[1:], precisions=precisions).ok
    assert len(calls) == 2

    def once(*given):
        calls.append(1)
        records = TANH.derivation(*given)
        return records if len(calls) == 1 else {**records, "dW": records["dW"] * 1.0001}

    calls.clear()
    report = check_gradients(once, *TANH[1:], precisions=precisions)
    assert (names_of(report), type(report.first.cause)) == (["dW"], TwoAnswers), str(report)


def test_where_a_derivation_loses_digits_in_float32_it_is_asked_again_and_left_in_peace():
    def rough(*given):
        records = TANH.derivation(*given)
        return {name: value * (1 + 1e-4) if value.dtype == np.float32 else value for name, value in records.items()}

    report = check_gradients(rough, *TANH[1:])
    assert "not-repeatable" not in {finding.cause.code for finding in report.findings}, str(report)


# --- gradients of zero


def test_gradients_that_are_zero_by_hand_are_a_fault():
    report = check_gradients(*TANH.scaled("dW", 0).scaled("db", 0))
    assert [(f.where.name, f.cause, f.together) for f in report.findings] == [("db", Zero(), ("dW",))]


@pytest.mark.parametrize("precisions", PRECISIONS, ids=" ".join)
@pytest.mark.parametrize("layer", [TANH, SQUARES], ids=["tanh", "squares"])
def test_gradients_that_are_zero_on_both_sides_are_unusable_input(layer, precisions):
    """SQUARES stands at its optimum, and TANH has a cotangent of zero."""
    still = {name: 0 * array for name, array in layer.params.items()}
    batch = (layer.batch[0], 0 * layer.batch[1])
    with pytest.raises(InputError, match=r"dW, db.*zero.*choose"):
        check_gradients(*layer[:2], still, batch, precisions=precisions)


def test_a_mistake_beside_gradients_of_zero_is_a_finding():
    X, C = TANH.batch
    wrong = TANH.returning(Z=lambda records: records["Z"] + 1)
    report = check_gradients(wrong.derivation, TANH.reference, TANH.params, (X, 0 * C))
    assert (report.ok, report.first.where.name) == (False, "Z")


def test_gradients_that_are_zero_in_torch_alone_are_a_fault():
    X, C = TANH.batch
    wrong = TANH.returning(dW=lambda records: records["dW"] + 1)
    report = check_gradients(wrong.derivation, TANH.reference, TANH.params, (X, 0 * C))
    assert names_of(report) == ["dW"]


def test_one_gradient_that_is_not_zero_suffices():
    layer = TANH._replace(params={**TANH.params, "Q": np.ones(2)}).returning(dQ=lambda _: np.zeros(2))
    assert check_gradients(*layer).ok


def test_the_gradient_of_what_J_does_not_depend_on_must_be_zero():
    params = {**TANH.params, "Q": np.ones(2)}
    layer = TANH._replace(params=params)
    assert check_gradients(*layer.returning(dQ=lambda _: np.zeros(2))).findings == ()
    one = check_gradients(*layer.returning(dQ=lambda _: np.ones(2)))
    assert [(f.where.name, f.verdict) for f in one.findings] == [("dQ", "FAULT")]
    assert check_gradients(*layer).findings == (), "nor is it owed"


def test_every_parameter_of_two_layers_that_is_owed_is_missed_at_once():
    report = check_gradients(lambda *_: {}, *CLASSIC[1:])
    assert {(f.where.name, f.verdict, f.cause) for f in report.findings} == {
        (name, "MISSING", NotComputed()) for name in ("dW1", "db1", "dW2", "db2")
    }
    assert report.notes == ()


def test_nothing_to_name_is_unknown():
    noise = 1 + 1e-3 * np.random.default_rng(5).standard_normal((4, 3))
    (finding,) = check_gradients(*TANH.returning(dW=lambda records: records["dW"] * noise)).findings
    assert (finding.where.name, finding.cause) == ("dW", Unknown())
