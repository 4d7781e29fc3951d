"""check_initializer by samples: how weights depend on each other, what stands where, and right code left in peace."""

import numpy as np
import pytest
from torch import nn

from handgrad import check_initializer
from handgrad.compare.facts.weights import InitializerFamily, InitializerStatistic
from tests.compare.checks.weights import in_torch, of_equal_length, orthogonal, sparse, truncated

SHAPE = (16, 30)


UNIT_ROWS, UNIT_COLUMNS = (f"normal, its {of} scaled to one length" for of in ("rows", "columns"))
DEPENDENT = {
    "Gaussian for orthogonal": (
        lambda s, rng: rng.standard_normal(s) / np.sqrt(s[0]),
        nn.init.orthogonal_,
        ("normal", "orthogonal"),
    ),
    "orthogonal for Gaussian": (
        orthogonal,
        lambda t: nn.init.normal_(t, std=t.shape[0] ** -0.5),
        ("orthogonal", "normal"),
    ),
    "uniform for orthogonal": (
        lambda s, rng: rng.uniform(-1, 1, s) * np.sqrt(3 / s[0]),
        nn.init.orthogonal_,
        ("uniform", "orthogonal"),
    ),
    "unit rows": (
        of_equal_length(1),
        in_torch(lambda s, rng: rng.standard_normal(s) * s[1] ** -0.5),
        (UNIT_ROWS, "normal"),
    ),
    "unit columns": (
        of_equal_length(0),
        in_torch(lambda s, rng: rng.standard_normal(s) * s[0] ** -0.5),
        (UNIT_COLUMNS, "normal"),
    ),
}


@pytest.mark.parametrize("shape", [(60, 40), (100, 80), (40, 8), (8, 40)])
@pytest.mark.parametrize(("hand", "twin", "laws"), DEPENDENT.values(), ids=DEPENDENT)
def test_weights_that_depend_on_each_other_in_another_way_are_found(hand, twin, laws, shape):
    causes = [finding.cause for finding in check_initializer(hand, twin, shape).findings]
    (cause,) = (cause for cause in causes if isinstance(cause, InitializerFamily))
    assert (cause.by_hand, cause.torch) == laws
    assert not any(isinstance(cause, InitializerStatistic) for cause in causes)


@pytest.mark.parametrize("shape", [(60, 40), (40, 60), (30, 30), (16, 3, 3, 3), (100, 80), (1, 50)])
def test_what_depends_alike_is_left_in_peace(shape):
    pairs = [(orthogonal, nn.init.orthogonal_), *((d, in_torch(d)) for d in (of_equal_length(0), truncated))]
    for hand, twin in pairs:
        report = check_initializer(hand, twin, shape, seed=3)
        assert report.findings == (), str(report)


def gates(at):
    """The bias of an LSTM, whose gate `at` starts open."""

    def draw(shape, rng):
        bias = rng.uniform(-1, 1, shape) / shape[0]
        bias[at * shape[0] // 4 : (at + 1) * shape[0] // 4] = 1
        return bias

    return draw


def padded(row):
    """An embedding with a row of zeros."""

    def draw(shape, rng):
        table = rng.standard_normal(shape)
        table[row] = 0
        return table

    return draw


def ramp(order):
    return lambda s, rng: rng.standard_normal(s) * np.linspace(0.1, 1, s[-1])[::order]


def sparse_by_rows(shape, rng):
    return np.ascontiguousarray(sparse(shape[::-1], rng).T)


def unsigned(shape, rng):
    """Q without the signs of R's diagonal."""
    Q, _ = np.linalg.qr(rng.standard_normal((max(shape), min(shape))))
    return Q if len(Q) == shape[0] else Q.T


ELSEWHERE = {
    "another gate": (gates(2), gates(1), [(20,), (512,)], "mean", "entry"),
    "another row of zeros": (padded(3), padded(0), [(10, 4), (500, 64)], "share of zeros", "row"),
    "a row of zeros in a large table": (padded(3), padded(0), [(3000, 100)], "share of zeros", "entries"),
    "a ramp reversed": (ramp(-1), ramp(1), [(50,)], "variance", "entry"),
    "a ramp reversed along an axis": (ramp(-1), ramp(1), [(16, 30), (64, 32)], "variance", "column"),
    "another column": (
        lambda s, rng: padded(2)(s[::-1], rng).T,
        lambda s, rng: padded(0)(s[::-1], rng).T,
        [(6, 8)],
        "share of zeros",
        "column",
    ),
}


@pytest.mark.parametrize(("hand", "twin", "shapes", "of", "place"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_what_stands_elsewhere_is_found_there(hand, twin, shapes, of, place):
    for shape in shapes:
        for seed in (0, 5):
            cause = check_initializer(hand, in_torch(twin), shape, seed=seed).findings[-1].cause
            assert (type(cause), cause.of, cause.place) == (InitializerStatistic, of, place)
        report = check_initializer(twin, in_torch(twin), shape)
        assert report.findings == (), str(report)


UNLIKE = {
    "a sum of 12 uniforms": (lambda s, rng: rng.random((12, *s)).sum(0) - 6, nn.init.normal_),
    "Student's t": (lambda s, rng: rng.standard_t(12, s) * np.sqrt(10 / 12), nn.init.normal_),
    "uniform of the same spread": (lambda s, rng: np.sqrt(12) * (rng.random(s[::-1]).T - 0.5), nn.init.normal_),
    "no signs of R": (unsigned, nn.init.orthogonal_),
    "sparse by rows": (sparse_by_rows, lambda t: nn.init.sparse_(t, 0.1)),
}


@pytest.mark.parametrize(("hand", "twin"), UNLIKE.values(), ids=UNLIKE)
def test_what_is_distributed_nearly_alike_is_found(hand, twin):
    for seed in (0, 3):
        assert not check_initializer(hand, twin, SHAPE, seed=seed).ok


def dirac(shape, rng):
    W = np.zeros(shape)
    for i in range(min(shape[:2])):
        W[(i, i, *(n // 2 for n in shape[2:]))] = 1
    return W


AT_TORCHS = {
    "uniform_": (lambda s, rng: rng.random(s[::-1]).T, nn.init.uniform_, [(7,), (8, 5), (4, 2, 3, 3)]),
    "trunc_normal_ in float32": (lambda s, rng: np.float32(truncated(s, rng)), nn.init.trunc_normal_, [(7,), (8, 5)]),
    "dirac_": (dirac, nn.init.dirac_, [(4, 2, 3, 3), (3, 3, 5)]),
    "orthogonal_ in float32": (lambda s, rng: np.float32(orthogonal(s, rng)), nn.init.orthogonal_, [(9, 4), (3, 2, 3)]),
    "sparse_ in float32": (lambda s, rng: np.float32(sparse(s, rng)), lambda t: nn.init.sparse_(t, 0.1), [(12, 5)]),
    "one scale a draw": (
        lambda s, rng: rng.standard_normal() * rng.standard_normal(s),
        in_torch(lambda s, rng: rng.standard_normal() * rng.standard_normal(s)),
        [(7,), (8, 5)],
    ),
    "heavy tails": (lambda s, rng: rng.standard_cauchy(s), lambda t: t.cauchy_(), [(7,), (8, 5), (70000,)]),
    "signs in float32": (
        lambda s, rng: np.float32(0.1) * rng.choice(np.float32([-1, 1]), s),
        in_torch(lambda s, rng: 0.1 * rng.choice([-1.0, 1.0], s)),
        [(40,), (8, 5)],
    ),
}


@pytest.mark.parametrize(("hand", "twin", "shapes"), AT_TORCHS.values(), ids=AT_TORCHS)
def test_draws_of_one_distribution_are_left_in_peace(hand, twin, shapes):
    for shape in shapes:
        report = check_initializer(hand, twin, shape, seed=11)
        assert report.findings == (), str(report)
