"""Initialisers by hand against torch.nn.init: family, mean and spread."""

import numpy as np
import pytest
import torch
from torch import nn

import handgrad.manual.initializers
import handgrad.torchref.initializers
from handgrad import InputError, check_initializer
from handgrad.compare.facts.failures import (
    DrawsNotFinite,
    NotReal,
    Raised,
    SameWeights,
    TwoAnswers,
    WeightsDiffer,
    WeightsNotFinite,
    WrongShape,
    ZeroSpread,
)
from handgrad.compare.facts.weights import (
    InitializerFamily,
    InitializerMean,
    InitializerRepeated,
    InitializerScale,
)
from handgrad.compare.names import Key
from handgrad.compare.operations import names, operation
from handgrad.compare.ownership import named
from tests.compare.checks.weights import sparse, truncated

SHAPE = (16, 30)


def he(tensor):
    nn.init.kaiming_normal_(tensor, nonlinearity="relu")


RIGHT = {
    "he": (lambda s, rng: rng.standard_normal(s) * np.sqrt(2 / s[1]), he),
    "he by normal": (lambda s, rng: rng.normal(0, np.sqrt(2 / s[1]), s), he),
    "np.random.randn": (lambda s, rng: np.random.randn(*s) * np.sqrt(2 / s[1]), he),  # noqa: NPY002
    "float32": (lambda s, rng: np.float32(rng.standard_normal(s) * np.sqrt(2 / s[1])), he),
    "uniform": (lambda s, rng: rng.uniform(-1, 1, s) * np.sqrt(6 / s[1]), nn.init.kaiming_uniform_),
    "uniform from random": (lambda s, rng: (2 * rng.random(s) - 1) * np.sqrt(6 / sum(s)), nn.init.xavier_uniform_),
    "zeros": (lambda s, rng: np.zeros(s), nn.init.zeros_),
    "constant": (lambda s, rng: np.full(s, 0.5), lambda t: nn.init.constant_(t, 0.5)),
    "truncated": (truncated, nn.init.trunc_normal_),
    "drawn one by one": (
        lambda s, rng: np.array([[rng.normal() for _ in range(s[1])] for _ in range(s[0])]),
        nn.init.normal_,
    ),
    "a draw thrown away": (lambda s, rng: (rng.random(3), rng.standard_normal(s))[1], nn.init.normal_),
}


@pytest.mark.parametrize(("hand", "twin"), RIGHT.values(), ids=RIGHT)
def test_right_initialisers_are_left_in_peace(hand, twin):
    for seed in (0, 7):
        report = check_initializer(hand, twin, SHAPE, seed=seed)
        assert report.findings == (), str(report)
        assert [row.name for row in report.rows][:3] == ["family", "mean", "spread"]


@pytest.mark.parametrize("name", names("initializer"))
def test_the_notes_initialisers(name):
    row = operation("initializer", name)
    (deviation,) = row.hands()
    report = check_initializer(lambda s, rng: handgrad.manual.initializers.draw(deviation, s, rng), row.twin(), SHAPE)
    assert report.findings == (), str(report)


WRONG_SPREAD = {
    "fan-out for fan-in": (
        lambda s, rng: rng.standard_normal(s) * np.sqrt(2 / s[0]),
        he,
        np.sqrt(30 / 16),
        "sqrt(2/shape[0])",
        "sqrt(2/shape[1])",
    ),
    "variance for deviation": (
        lambda s, rng: rng.standard_normal(s) * (2 / s[1]),
        he,
        np.sqrt(2 / 30),
        "2/shape[1]",
        "sqrt(2/shape[1])",
    ),
    "Glorot for He": (
        lambda s, rng: rng.standard_normal(s) * np.sqrt(2 / sum(s)),
        he,
        np.sqrt(30 / 46),
        "sqrt(2/(shape[0] + shape[1]))",
        "sqrt(2/shape[1])",
    ),
    "limit for deviation": (
        lambda s, rng: rng.uniform(-1, 1, s) * np.sqrt(2 / s[1]),
        nn.init.kaiming_uniform_,
        np.sqrt(1 / 3),
        "sqrt(2/(3 shape[1]))",
        "sqrt(2/shape[1])",
    ),
}


@pytest.mark.parametrize(("hand", "twin", "factor", "ours", "theirs"), WRONG_SPREAD.values(), ids=WRONG_SPREAD)
def test_a_wrong_spread_has_its_factor_and_its_formulas(hand, twin, factor, ours, theirs):
    (finding,) = check_initializer(hand, twin, SHAPE).findings
    assert finding.where == Key(1, "forward", "spread")
    assert (type(finding.cause), finding.cause.code) == (InitializerScale, "initializer-scale")
    assert finding.factor == pytest.approx(factor)
    assert ours in finding.cause.by_hand_formulas
    assert theirs in finding.cause.torch_formulas


def test_a_spread_that_is_a_millionth_off_is_found():
    report = check_initializer(lambda s, rng: (1 + 1e-6) * rng.standard_normal(s), nn.init.normal_, SHAPE)
    assert report.first.factor == pytest.approx(1.000001, abs=1e-9)


def test_what_is_clipped_is_wider_than_what_is_truncated():
    report = check_initializer(lambda s, rng: np.clip(rng.standard_normal(s), -2, 2), nn.init.trunc_normal_, SHAPE)
    (factor,) = (finding.factor for finding in report.findings if finding.where.name == "spread")
    assert 1.08 <= factor < 1.1


HE = ("kaiming_normal_(nonlinearity='relu')",)
WRONG = {
    "rand for randn": (
        lambda s, rng: rng.random(s) * np.sqrt(2 / s[1]),
        he,
        "family",
        InitializerFamily("uniform", "normal", torch_calls=HE),
    ),
    "zeros for normal": (
        lambda s, rng: np.zeros(s),
        he,
        "family",
        InitializerFamily("constant", "normal", torch_calls=HE),
    ),
    "always the same": (lambda s, rng: np.random.default_rng(0).standard_normal(s), he, "values", SameWeights()),
    "transposed": (
        lambda s, rng: rng.standard_normal(s[::-1]),
        he,
        "values",
        WrongShape((30, 16), SHAPE),
    ),
    "nothing": (lambda s, rng: None, he, "values", NotReal("None")),
    "objects": (lambda s, rng: np.full(s, None), he, "values", NotReal("an array of dtype object")),
    "a list of nothing": (lambda s, rng: [[None] * 4] * 3, he, "values", NotReal("an array of dtype object")),
    "nan": (lambda s, rng: np.full(s, np.nan), he, "values", WeightsNotFinite()),
    "too large to square": (lambda s, rng: np.full(s, 1e300), he, "values", WeightsNotFinite(too_large=True)),
    "not repeatable": (
        lambda s, rng: np.random.default_rng().standard_normal(s),
        he,
        "values",
        TwoAnswers("initializer", ("values",), "draw everything with rng"),
    ),
}
VERDICTS = {NotReal: "MISSING", WeightsNotFinite: "NONFINITE"}


@pytest.mark.parametrize(("hand", "twin", "name", "cause"), WRONG.values(), ids=WRONG)
def test_wrong_initialisers_are_found(hand, twin, name, cause):
    finding = check_initializer(hand, twin, SHAPE).first
    assert (finding.where.name, finding.cause) == (name, cause)
    assert finding.verdict == VERDICTS.get(type(cause), "FAULT")


def test_weights_that_are_not_centred_have_another_mean():
    (finding,) = check_initializer(lambda s, rng: 0.01 + rng.standard_normal(s), nn.init.normal_, SHAPE).findings
    assert (finding.where.name, type(finding.cause)) == ("mean", InitializerMean)
    assert finding.cause.by_hand == pytest.approx(0.01)
    assert finding.cause.torch == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("spread", "code"), [(0.0, "zero"), (1.0, "unknown")])
def test_one_side_without_spread_has_no_factor(spread, code):
    def by_hand(shape, rng):
        return np.full(shape, 0.5) + spread * rng.standard_normal(shape)

    report = check_initializer(by_hand, nn.init.zeros_ if spread else nn.init.normal_, SHAPE)
    (finding,) = (finding for finding in report.findings if finding.where.name == "spread")
    assert (type(finding.cause), finding.cause.code, finding.factor) == (ZeroSpread, code, None)


def test_an_exception_is_a_finding_with_its_line():
    cause = check_initializer(lambda s, rng: rng.standard_normal(s) @ rng.random(3), he, SHAPE).first.cause
    assert (type(cause), cause.exception, cause.file) == (Raised, "ValueError", named(__file__))
    assert cause.line > 0


BAD = {
    "shape": (lambda: check_initializer(truncated, he, (3, 0)), r"shape is \(3, 0\); it must be a tuple of positive"),
    "no shape": (lambda: check_initializer(truncated, he, 5), "shape is 5"),
    "seed": (lambda: check_initializer(truncated, he, SHAPE, seed=-1), "seed is -1"),
    "torch raises": (lambda: check_initializer(truncated, he, (3,)), "torch_initializer raises ValueError"),
    "torch fills nothing": (lambda: check_initializer(truncated, lambda t: torch.zeros(3), SHAPE), "leaves nan"),
    "torch fills infinity": (lambda: check_initializer(truncated, lambda t: t.fill_(np.inf), SHAPE), "infinite"),
    "torch reshapes": (lambda: check_initializer(truncated, lambda t: t.resize_(3).zero_(), SHAPE), "another shape"),
}


@pytest.mark.parametrize(("act", "words"), BAD.values(), ids=BAD)
def test_what_is_handed_over_wrongly_is_one_sentence(act, words):
    with pytest.raises(InputError, match=words):
        act()


def test_a_square_shape_is_a_blind_spot():
    report = check_initializer(RIGHT["he"][0], handgrad.torchref.initializers.he, (8, 8))
    assert [spot.code for spot in report.blind_spots] == ["square-shape"]


# --- what a stranger found


def signs(tensor):
    tensor.copy_(torch.randint(0, 2, tensor.shape) * 2 - 1)


@pytest.mark.parametrize(
    ("hand", "twin", "shape"),
    [
        (lambda s, rng: rng.standard_normal(s), nn.init.normal_, (1,)),
        (lambda s, rng: rng.random(s), nn.init.uniform_, (1, 1)),
        (lambda s, rng: rng.standard_normal(s), nn.init.normal_, (2,)),
        (sparse, lambda t: nn.init.sparse_(t, 0.1), SHAPE),
        (lambda s, rng: rng.choice([-1.0, 1.0], s), signs, SHAPE),
        (lambda s, rng: np.eye(*s), nn.init.eye_, SHAPE),
        (lambda s, rng: rng.standard_normal(s), nn.init.normal_, (np.int64(3), 4)),
    ],
    ids=["one entry", "one uniform entry", "two entries", "sparse", "signs", "identity", "np.int64"],
)
def test_unusual_initialisers_are_left_in_peace(hand, twin, shape):
    report = check_initializer(hand, twin, shape)
    assert report.findings == (), str(report)


def test_another_identity_is_found():
    finding = check_initializer(lambda s, rng: np.eye(*s)[::-1], nn.init.eye_, SHAPE).first
    assert (finding.where.name, finding.verdict, finding.cause) == ("values", "FAULT", WeightsDiffer())
    assert {finding.worst.by_hand, finding.worst.torch} == {0.0, 1.0}


@pytest.mark.parametrize("axis", [0, 1])
def test_equal_units_are_found(axis):
    def tiled(shape, rng):
        one = rng.standard_normal(shape[1 - axis])
        return np.broadcast_to(np.expand_dims(one, axis), shape) * np.sqrt(2 / sum(shape))

    report = check_initializer(lambda s, rng: np.array(tiled(s, rng)), nn.init.xavier_normal_, (30, 20))
    assert report.first.cause == InitializerRepeated(("rows", "columns")[axis])


def test_an_initialiser_that_fails_for_some_draws_is_a_finding():
    def sometimes(result):
        def draw(shape, rng):
            W = truncated(shape, rng)
            if W[0, 0] > 1:
                return result()
            return W

        return draw

    raised = check_initializer(sometimes(lambda: 1 / 0), nn.init.trunc_normal_, SHAPE).first.cause
    assert (type(raised), raised.exception) == (Raised, "ZeroDivisionError")
    for result in (None, np.full(SHAPE, np.inf), np.full(SHAPE, 1e200), np.zeros(3)):
        cause = check_initializer(sometimes(lambda r=result: r), nn.init.trunc_normal_, SHAPE).first.cause
        assert (type(cause), cause.shape) == (DrawsNotFinite, SHAPE)


@pytest.mark.parametrize("failing", range(1, 6))
def test_an_initialiser_that_fails_at_any_call_is_a_finding(failing):
    calls = []

    def draw(shape, rng):
        calls.append(shape)
        return rng.standard_normal(shape) if len(calls) != failing else 1 / 0

    assert isinstance(check_initializer(draw, nn.init.trunc_normal_, SHAPE).first.cause, Raised)


def test_how_fine_samples_are_is_a_blind_spot():
    report = check_initializer(truncated, nn.init.trunc_normal_, SHAPE)
    assert {spot.code for spot in report.blind_spots} == {"coarse-samples", "single-places", "dependence"}


@pytest.mark.parametrize("by_hand", [lambda s, rng: np.ones(s, dtype=bool), lambda s, rng: np.arange(12.0).reshape(s)])
def test_weights_that_are_no_draws_are_a_finding(by_hand):
    assert not check_initializer(by_hand, nn.init.zeros_, (3, 4)).ok


def test_what_is_rare_in_one_draw_of_a_small_shape_is_found():
    """Six numbers hardly ever reach the bounds they are clipped to."""

    def clipped(shape, rng):
        return np.clip(rng.standard_normal(shape), -2, 2) * np.sqrt(2 / shape[1])

    for shape in ((3, 2), (16, 30)):
        assert not check_initializer(clipped, nn.init.kaiming_normal_, shape).ok, shape


def test_weights_scaled_by_their_own_spread_are_linear_in_no_draw():
    def scaled(shape, rng):
        drawn = rng.standard_normal(shape)
        return drawn / drawn.std()

    report = check_initializer(scaled, nn.init.normal_, (30, 40))
    assert all(row.rho_basis == "samples" for row in report.rows if row.rho is not None)


@pytest.mark.parametrize("seed", range(8))
def test_few_weights_that_are_equal_by_chance_are_no_finding(seed):
    def clipped(shape, rng):
        return np.clip(rng.standard_normal(shape), -1, 1)

    def signs(shape, rng):
        return rng.choice([-1.0, 1.0], shape)

    both = (
        (clipped, lambda t: t.normal_().clamp_(-1, 1)),
        (signs, lambda t: t.copy_(torch.randint(0, 2, t.shape) * 2 - 1)),
    )
    for by_hand, in_torch in both:
        assert check_initializer(by_hand, in_torch, (3, 2), seed=seed).ok
