"""A cause is named only where it explains the tensor; what nothing explains is unknown."""

import numpy as np
import pytest

from compare.diagnosis import explained, named_factors
from compare.verdict import Local

RNG = np.random.default_rng(11)
R = RNG.standard_normal((4, 4))
SIZES = {"n": 6, "K": 3}


def of(wrong, reference=R):
    """The cause named for wrong(reference), computed in both precisions."""
    runs = {}
    for dtype in ("float64", "float32"):
        exact = reference.astype(dtype).astype(float)
        runs[dtype] = Local(wrong(reference.astype(dtype)), exact)
    return explained(runs, SIZES)


EXPLAINED = {
    "sign": (lambda r: -r, "sign", -1.0, "wrong sign"),
    "n": (lambda r: r * 6, "scale", 6.0, "6 = n times"),
    "1/n": (lambda r: r / 6, "scale", 1 / 6, "1/(n)"),
    "two": (lambda r: 2 * r, "scale", 2.0, "2 times torch's, too large"),
    "a hundred-millionth": (lambda r: r * r.dtype.type(1 + 1e-8), "scale", 1 + 1e-8, "1.00000001 times"),
    "minus n": (lambda r: r * -6, "scale", -6.0, "-6 = n times torch's, too large"),
    "zero": (lambda r: 0 * r, "zero", None, "exactly zero"),
    "transpose": (lambda r: r.T, "transpose", None, "the transpose"),
}


@pytest.mark.parametrize(("wrong", "code", "factor", "words"), EXPLAINED.values(), ids=EXPLAINED)
def test_what_explains_a_tensor_is_named(wrong, code, factor, words):
    if code == "scale" and abs(factor - 1) < 1e-6:
        cause = explained({"float64": Local(wrong(R), R)}, SIZES)
    else:
        cause = of(wrong)
    assert cause.code == code
    assert cause.factor == (pytest.approx(factor, rel=1e-12) if factor is not None else None)
    assert words in cause.text


def test_random_wrong_answers_are_unknown():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal((5, 5))
        cause = of(lambda r, noise=noise: r + noise.astype(r.dtype), rng.standard_normal((5, 5)))
        assert cause.code == "unknown", f"seed {seed}: {cause}"


@pytest.mark.parametrize("size", [1, 2])
def test_too_few_entries_name_nothing_and_keep_the_factor(size):
    cause = of(lambda r: 6 * r, RNG.standard_normal(size))
    assert (cause.code, cause.factor) == ("unknown", 6.0)
    assert "too few entries" in cause.text


def test_a_factor_with_one_entry_off_is_unknown():
    def wrong(r):
        found = 6 * r
        found[1, 2] *= 1 + 1e-4
        return found

    assert of(wrong).code == "unknown"


def test_every_name_that_fits_is_listed():
    assert named_factors(6.0, {"n": 6, "n_x": 6, "K": 3}) == ("n", "n_x")
    assert named_factors(1 / 3, {"n": 6, "K": 3}) == ("1/(K)",)
    assert named_factors(5.0, {"n": 6, "one": 1}) == ()
