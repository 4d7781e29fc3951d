"""The law of weights is named where its own draws look like theirs, and no other's do."""

import numpy as np
import pytest
from torch import nn

from handgrad import check_initializer
from handgrad.compare.checks.distributions import UNKNOWN
from handgrad.compare.facts.failures import FewDistinct
from handgrad.compare.facts.weights import (
    InitializerFamily,
    InitializerMean,
    InitializerRepeated,
    InitializerScale,
)
from tests.compare.checks.weights import in_torch, of_equal_length, orthogonal, orthogonal_of_torch, truncated
from tests.corpus.initial_weights import OF_CUT, RIGHT, WRONG

SHAPES = [(16, 30), (6, 4, 3)]
CUT, CLIPPED = "normal, cut at 2 deviations", "normal, clipped at 2 deviations"


def he(tensor):
    nn.init.kaiming_normal_(tensor, nonlinearity="relu")


def deviation(shape):
    return np.sqrt(2 / np.prod(shape[1:]))


def cut_in_torch(tensor):
    nn.init.trunc_normal_(tensor, std=0.02, a=-0.04, b=0.04)


def cut_in_name_only(tensor):
    nn.init.trunc_normal_(tensor, std=0.02)  # at 100 deviations


def of_matrix(rows_and_columns, signs=np.sign):
    """Q of another matrix than torch's, read as the weights."""

    def draw(shape, rng):
        matrix = rows_and_columns(shape)
        Q, R = np.linalg.qr(rng.standard_normal((max(matrix), min(matrix))))
        Q = Q * signs(np.diag(R))
        return (Q if matrix[0] == len(Q) else Q.T).reshape(shape)

    return draw


def flat(shape):
    return shape[0], int(np.prod(shape[1:]))


def family_of(report):
    """What is said of the laws: mean and spread may have findings of their own, and nothing else."""
    causes = [finding.cause for finding in report.findings]
    (cause,) = (cause for cause in causes if not isinstance(cause, (InitializerMean, InitializerScale)))
    assert isinstance(cause, InitializerFamily)
    return cause


LAWS = {
    "cut": (lambda s, rng: deviation(s) * truncated(s, rng), he, CUT, "normal", "not-rescaled"),
    "cut and rescaled": (lambda s, rng: deviation(s) * truncated(s, rng) / OF_CUT, he, CUT, "normal", "rescaled"),
    "bounds that are deviations": (lambda s, rng: 0.02 * truncated(s, rng), cut_in_name_only, CUT, "normal"),
    "not cut": (lambda s, rng: 0.02 * rng.standard_normal(s), cut_in_torch, "normal", CUT),
    "clipped": (lambda s, rng: 0.02 * np.clip(rng.standard_normal(s), -2, 2), cut_in_torch, CLIPPED, CUT),
    "drawn in another order": (lambda s, rng: 0.02 * rng.standard_normal(s[::-1]).T, cut_in_torch, "normal", CUT),
    "Gaussian": (lambda s, rng: rng.standard_normal(s), nn.init.orthogonal_, "normal", "orthogonal"),
    "uniform": (lambda s, rng: rng.random(s) - 0.5, nn.init.orthogonal_, "uniform", "orthogonal"),
    "orthogonal": (orthogonal, lambda t: t.normal_(), "orthogonal", "normal"),
    "no signs of R": (
        of_matrix(flat, np.ones_like),
        nn.init.orthogonal_,
        "orthogonal, without the signs of R's diagonal",
        "orthogonal",
    ),
    "rows for columns": (
        of_matrix(lambda s: flat(s)[::-1]),
        nn.init.orthogonal_,
        "orthogonal in the transposed shape, read row by row",
        "orthogonal",
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("slip", LAWS.values(), ids=LAWS)
def test_both_laws_are_named_in_one_finding(slip, shape):
    hand, twin, by_hand, in_torch, *cut = slip
    cause = family_of(check_initializer(hand, twin, shape, seed=3))
    assert (cause.by_hand, cause.torch) == (by_hand, in_torch)
    assert [cause.cut] == cut or not cut


def test_orthogonal_kernels_along_another_axis_are_named():
    by_hand = of_matrix(lambda s: (int(np.prod(s[:-1])), s[-1]))
    for shape in ((8, 3, 5, 5), (6, 4, 3)):
        cause = family_of(check_initializer(by_hand, nn.init.orthogonal_, shape))
        assert (cause.by_hand, cause.torch) == ("orthogonal along the last axis", "orthogonal")


@pytest.mark.parametrize(("axis", "of"), [(1, "rows"), (0, "columns")])
def test_lengths_that_are_equal_are_named(axis, of):
    cause = family_of(check_initializer(of_equal_length(axis), nn.init.orthogonal_, (16, 30)))
    assert cause.by_hand == f"normal, its {of} scaled to one length"


UNNAMED = {
    "triangular": lambda s, rng: rng.triangular(-1, 0, 1, s),
    "Student's t": lambda s, rng: rng.standard_t(12, s),
    "a sum of 12 uniforms": lambda s, rng: rng.random((12, *s)).sum(0) - 6,
    "tanh": lambda s, rng: np.tanh(rng.standard_normal(s)),
    "beta": lambda s, rng: rng.beta(3, 3, s) - 0.5,
    "drawn again once": lambda s, rng: np.where(np.abs(x := rng.standard_normal(s)) > 2, rng.standard_normal(s), x),
    "0 beyond 2": lambda s, rng: np.where(np.abs(x := rng.standard_normal(s)) > 2, 0, x),
    "one scale a draw": lambda s, rng: rng.uniform(0.5, 1.5) * rng.standard_normal(s),
    "its own spread": lambda s, rng: (x := rng.standard_normal(s)) / x.std(),
    "a matrix of rank one": lambda s, rng: np.multiply.outer(rng.standard_normal(s[0]), rng.standard_normal(s[1:])),
    "half of the rows wider": lambda s, rng: (rng.standard_normal(s).T * (1 + (np.arange(s[0]) % 2))).T,
    "pairs of rows": lambda s, rng: np.concatenate([x := rng.standard_normal((s[0] // 2, *s[1:])), -x]),
    "orthogonal and noise": lambda s, rng: orthogonal(s, rng) + 0.03 * rng.standard_normal(s),
    "orthogonal in halves": lambda s, rng: np.concatenate([orthogonal((s[0] // 2, *s[1:]), rng) for _ in range(2)]),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("hand", UNNAMED.values(), ids=UNNAMED)
def test_a_law_that_nobody_foresaw_has_no_name(hand, shape):
    causes = [finding.cause for finding in check_initializer(hand, orthogonal_of_torch, shape).findings]
    assert causes
    for cause in causes:
        if isinstance(cause, InitializerFamily):
            assert cause.by_hand == UNKNOWN
        if isinstance(cause, InitializerScale):
            assert cause.by_hand_formulas == ()


def test_slices_of_a_kernel_that_are_repeated_are_named():
    def tiled(shape, rng):
        return np.broadcast_to(rng.standard_normal((*shape[:-1], 1)), shape)

    assert check_initializer(tiled, he, (8, 3, 5)).first.cause == InitializerRepeated("slices along axis 2")


def test_rows_that_are_equal_in_pairs_are_not_all_equal():
    def pairs(shape, rng):
        return np.repeat(rng.standard_normal((shape[0] // 2, shape[1])), 2, axis=0)

    assert type(check_initializer(pairs, he, (16, 30)).first.cause) is FewDistinct


def test_a_gain_of_orthogonal_weights_is_known_exactly():
    (finding,) = check_initializer(lambda s, rng: 25 / 9 * orthogonal(s, rng), nn.init.orthogonal_, (16, 30)).findings
    assert finding.cause.by_hand_formulas == ("gain (5/3)^2",)
    assert finding.cause.torch_formulas == ("gain 1",)
    assert finding.factor == pytest.approx(25 / 9)


def test_a_cut_that_one_side_makes_up_for_is_no_other_family():
    (finding,) = check_initializer(lambda s, rng: 0.02 * truncated(s, rng) / OF_CUT, cut_in_torch, (16, 30)).findings
    assert (type(finding.cause), finding.cause.rescaled) == (InitializerScale, "by hand")


@pytest.mark.parametrize("slip", WRONG.values(), ids=WRONG)
def test_the_slips_of_the_corpus_have_their_code(slip):
    causes = [finding.cause for finding in check_initializer(slip.by_hand, slip.torch, slip.shape).findings]
    assert causes[0].code in slip.codes
    for mention in slip.mentions:
        assert any(mention in str(vars(cause)) for cause in causes), mention


@pytest.mark.parametrize(("shape", "hand", "twin"), RIGHT.values(), ids=RIGHT)
def test_the_right_ones_of_the_corpus_are_left_in_peace(shape, hand, twin):
    assert check_initializer(hand, twin, shape).findings == ()


def test_draws_in_float32_have_their_law():
    cause = check_initializer(
        lambda s, rng: np.float32(truncated(s, rng)), in_torch(lambda s, rng: rng.random(s[::-1]).T), (16, 30)
    ).first.cause
    assert (cause.by_hand, cause.torch) == (CUT, "uniform")
