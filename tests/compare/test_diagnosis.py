"""A cause is named only where it explains the tensor to within rounding; what nothing explains is unknown."""

import numpy as np
import pytest

import handgrad.manual.optimizers
from handgrad.compare.diagnosis import Cause, Scene, diagnose, explained, named_factors
from handgrad.compare.experiment.run import Experiment
from tests.support import edited, small_data

RNG = np.random.default_rng(11)
R = RNG.standard_normal((4, 4))
SIZES = {"n": 6, "K": 3}


def of(recorded, reference=R, **more):
    """The causes of a tensor beside its reference."""
    return diagnose(Scene("T", np.asarray(recorded, dtype=float), reference, numbers=SIZES, **more))


ORDER = [2, 0, 3, 1]
BY_ITSELF = {
    "sign": (-R, "sign", -1.0, "wrong sign"),
    "n": (R * 6, "scale", 6.0, "6 = n times"),
    "1/n": (R / 6, "scale", 1 / 6, "1/n"),
    "two": (2 * R, "scale", 2.0, "2 times torch's, too large"),
    "n/(n-1)": (R * 6 / 5, "scale", 1.2, "n/(n-1)"),
    "two sizes": (R * 18, "scale", 18.0, "n K"),
    "a hundred-millionth": (R * (1 + 1e-8), "scale", 1 + 1e-8, "1.00000001 times"),
    "minus n": (R * -6, "scale", -6.0, "-6 = minus n times torch's, too large"),
    "zero": (0 * R, "zero", None, "exactly zero"),
    "transpose": (R.T, "transpose", None, "the transpose"),
    "backwards": (R[::-1], "permuted", None, "axis 0 runs backwards"),
    "reordered": (R[:, ORDER], "permuted", None, "another order: 2, 0, 3, 1"),
    "one entry": (R + np.eye(4)[[1]].T @ np.eye(4)[[2]], "isolated-elements", None, "only 1 entry differs: (1, 2)"),
}


@pytest.mark.parametrize(("recorded", "code", "factor", "words"), BY_ITSELF.values(), ids=BY_ITSELF)
def test_what_the_tensor_alone_shows_is_named(recorded, code, factor, words):
    first = of(recorded)[0]
    assert (first.code, words in first.text) == (code, True), first
    assert first.factor == (pytest.approx(factor, rel=1e-12) if factor is not None else None)


def test_axes_of_three_and_columns_for_rows():
    cube = RNG.standard_normal((3, 3, 3))
    assert of(cube.transpose(1, 0, 2), cube)[0] == Cause("transpose", "its axes are in the order (1, 0, 2)")
    wide = RNG.standard_normal((3, 5))
    assert "by columns" in of(wide.T.reshape(3, 5), wide)[0].text


@pytest.mark.parametrize("amount", [1.0, 1e-3, 1e-6])
def test_random_wrong_answers_are_unknown(amount):
    for seed in range(200):
        rng = np.random.default_rng(seed)
        reference, noise = rng.standard_normal((5, 5)), rng.standard_normal((5, 5))
        (cause,) = of(reference + amount * noise, reference)
        assert cause.code == "unknown", f"seed {seed}: {cause}"


@pytest.mark.parametrize("size", [1, 2])
def test_too_few_entries_name_nothing_and_keep_the_factor(size):
    reference = RNG.standard_normal(size)
    cause = explained(6 * reference, reference)
    assert (cause.code, cause.factor) == ("unknown", 6.0)
    assert "too few entries" in cause.text


def test_few_entries_are_enough_if_later_steps_have_the_same_cause():
    first, other = RNG.standard_normal(2), RNG.standard_normal(2)
    later = Scene("T", 6 * other, other, numbers=SIZES)
    assert diagnose(Scene("T", 6 * first, first, numbers=SIZES), more=[later])[0].code == "scale"
    differs = Scene("T", -other, other, numbers=SIZES)
    assert diagnose(Scene("T", 6 * first, first, numbers=SIZES), more=[differs])[0].code == "unknown"


def test_a_factor_with_one_entry_off_is_unknown():
    wrong = 6 * R
    wrong[1, 2] *= 1 + 1e-4
    assert of(wrong)[0].code == "unknown"


def test_a_hypothesis_that_explains_only_a_part_is_not_accepted():
    """Twice the reference explains most of it, and the rest is more than rounding."""
    assert of(2 * R + 1e-9 * RNG.standard_normal(R.shape))[0].code == "unknown"


def test_every_name_that_fits_is_listed():
    assert named_factors(6.0, {"n": 6, "n_x": 6, "K": 3}) == ("n", "n_x")
    assert named_factors(1 / 3, {"n": 6, "K": 3}) == ("1/K",)
    assert named_factors(5.0, {"n": 7, "one": 1}) == ()


Z, dA = RNG.standard_normal((3, 5)), RNG.standard_normal((3, 5))
A = np.tanh(Z)
AROUND = {"Z": Z, "A": A, "dA": dA}
READS = {"Z": frozenset(), "A": frozenset({"Z"})}
RIGHT = dA * (1 - A**2)
DERIVATIVES = {
    "missing": (dA, "activation-derivative", "the derivative of A with respect to Z is missing"),
    "twice": (RIGHT * (1 - A**2), "activation-derivative", "a factor too much"),
    "at z": (dA * (1 - Z**2), "activation-derivative", "(1 - Z^2)"),
    "of the sigmoid": (dA * A * (1 - A), "activation-derivative", "A (1 - A)"),
    "without its square": (dA * (1 - A), "activation-derivative", "(1 - A)"),
    "of tanh at A": (dA * (1 - np.tanh(A) ** 2), "activation-derivative", "tanh'(A)"),
    "where z <= 0 only": (np.where(Z > 0, RIGHT, 3 * RIGHT + 0.1), "mask", "only entries where Z <= 0 differ"),
    "another term added": (RIGHT + A, "wrong-operand", "A is added to it"),
}


@pytest.mark.parametrize(("recorded", "code", "words"), DERIVATIVES.values(), ids=DERIVATIVES)
def test_derivatives_are_told_by_what_they_were_taken_of(recorded, code, words):
    scene = Scene("dZ", recorded, RIGHT, tensors={**AROUND, "dZ": recorded}, reads=READS)
    first = diagnose(scene)[0]
    assert (first.code, words in first.text) == (code, True), first


def test_a_kink_is_told_from_a_mask():
    z = Z.copy()
    z[0, :3] = 0.0
    right = dA * (z > 0)
    scene = Scene("dZ", dA * (z >= 0), right, tensors={"Z": z, "dA": dA}, reads=READS)
    assert [cause.code for cause in diagnose(scene)] == ["kink"]


W = RNG.standard_normal((3, 4))
STATE = {
    "regularisation": (R[:3] + 0.25 * W, {}, "0.25 times W"),
    "accumulated": (R[:3] + W[::-1], {"dW": W[::-1]}, "the one before"),
}


@pytest.mark.parametrize(("code", "case"), STATE.items(), ids=STATE)
def test_terms_that_were_added(code, case):
    recorded, previous, words = case
    scene = Scene("dW", recorded, R[:3], tensors={"W": W}, parameters=frozenset("W"), previous=previous)
    first = diagnose(scene)[0]
    assert (first.code, words in first.text) == (code, True), first


def test_examples_left_out_or_counted_twice_are_numbered():
    dZ, X = RNG.standard_normal((3, 6)), RNG.standard_normal((4, 6))

    def replay(replaced):
        return {"dW": np.einsum("ij,kj->ik", replaced.get("dZ", dZ), X)}

    def dW(*counts):
        return np.einsum("ij,kj,j->ik", dZ, X, np.array(counts, dtype=float))

    def cause(*counts):
        return diagnose(
            Scene(
                "dW",
                dW(*counts),
                dW(1, 1, 1, 1, 1, 1),
                tensors={"dZ": dZ, "X": X, "W": np.ones((3, 4))},
                parameters=frozenset("W"),
                reads={"Z": frozenset("WX")},
                replay=replay,
            )
        )[0]

    assert cause(1, 1, 0, 1, 0, 1) == Cause(
        "dropped-example", "of the sum over examples, examples 2, 4 (from 0) are left out"
    )
    assert "example 5 counts 2 times" in cause(1, 1, 1, 1, 1, 2).text
    assert cause(1, 1, 0.5, 1, 1, 1).code == "unknown"


def test_a_number_that_was_fitted_to_few_entries_must_be_the_same_elsewhere():
    """Any difference of one entry is some multiple of b; the same multiple in another layer makes it weight decay."""

    def scene(b, added):
        return Scene("db", np.array([1.0 + added]), np.ones(1), tensors={"b": np.array([b])}, parameters=frozenset("b"))

    first, same, another = scene(0.3, 0.03), [scene(0.5, 0.05), scene(0.7, 0.07)], [scene(0.5, 0.2), scene(0.7, 0.1)]
    assert diagnose(first, more=same)[0].code == "regularisation"
    assert diagnose(first, more=another)[0].code == "unknown"


def test_a_tensor_is_not_explained_by_itself():
    """ReLU of what is positive is itself: A in the place of Z then gives A, whatever A is."""
    wrong = np.abs(RNG.standard_normal((3, 5)))
    scene = Scene(
        "A",
        wrong,
        np.maximum(Z, 0),
        tensors={"Z": Z, "A": wrong},
        reads={"A": frozenset("Z")},
        replay=lambda replaced: {"A": np.maximum(replaced.get("Z", Z), 0)},
    )
    assert diagnose(scene)[0].code == "unknown"


def test_entries_that_are_zero_on_both_sides_do_not_make_the_others_isolated():
    reference = np.zeros((4, 6))
    reference[:, :3] = RNG.standard_normal((4, 3))
    wrong = np.where(reference == 0, 0.0, RNG.standard_normal((4, 6)))
    assert of(wrong, reference)[0].code == "unknown"


def test_weights_that_are_zero_are_no_term_of_an_update_and_lapack_says_nothing(capfd):
    """What it prints would stand in the midst of a report."""
    wrong = ("updated[name] = w - learning_rate * V", "updated[name] = w - learning_rate * V**2 - 1e-3")
    run = Experiment(layers=(5, 12, 2), activations=("tanh", "sigmoid"), batch_size=6, steps=1, bias_scale=0.0)
    with edited(handgrad.manual.optimizers, wrong):
        report = run.run(small_data(5, 2, 24, seed=7))
    assert {"b1_next", "W1_next"} <= {finding.name for finding in report.findings}
    assert capfd.readouterr() == ("", "")


def test_a_cause_without_a_fitted_number_goes_before_one_with():
    """What is kept from the step before may be a multiple of W as well; that says less."""
    before = 0.3 * W
    scene = Scene("dW", R[:3] + before, R[:3], tensors={"W": W}, parameters=frozenset("W"), previous={"dW": before})
    assert [cause.code for cause in diagnose(scene)] == ["accumulated"]


def test_the_exact_cause_of_one_code_goes_before_the_fitted():
    """W read after an update at the rate of this step, and after one at any rate: both are `updated-weights`."""
    dZ, X, dW = RNG.standard_normal((3, 6)), RNG.standard_normal((4, 6)), RNG.standard_normal((3, 4))

    def replay(replaced):
        return {"dX": replaced.get("W", W).T @ dZ}

    after = W - 0.1 * dW
    scene = Scene(
        "dX",
        after.T @ dZ,
        W.T @ dZ,
        tensors={"W": W, "X": X, "dZ": dZ, "dW": dW, "W_next": after},
        parameters=frozenset("W"),
        reads={"Z": frozenset("WX")},
        replay=replay,
        updated={"W": after},
    )
    (cause,) = diagnose(scene)
    assert (cause.code, cause.fitted) == ("updated-weights", None), cause
    assert "W is already updated where it is read" in cause.text


SUMS = {
    "squares": (lambda dZ: (dZ * dZ).sum(1), "the sum of squares of dZ"),
    "absolute": (lambda dZ: abs(dZ).sum(1), "the sum of |dZ|"),
    "mean": (lambda dZ: dZ.mean(1), "the mean of dZ over the examples"),
    "all": (lambda dZ: np.full(4, dZ.sum()), "the sum of all of dZ"),
    "without the last": (lambda dZ: dZ[:, :-1].sum(1), "the sum of dZ without the last example"),
    "the first": (lambda dZ: dZ[:, 0], "dZ of the first example alone"),
}


@pytest.mark.parametrize(("wrong", "words"), SUMS.values(), ids=SUMS)
def test_a_bias_that_is_summed_wrongly(wrong, words):
    dZ = RNG.standard_normal((4, 6))
    scene = Scene(
        "db",
        wrong(dZ).reshape(4, 1),
        dZ.sum(1, keepdims=True),
        tensors={"dZ": dZ},
        parameters=frozenset("b"),
        reads={"Z": frozenset("b")},
    )
    first = diagnose(scene)[0]
    assert (first.code, words in first.text) == ("bias-sum", True), first


@pytest.mark.parametrize("times", [0, 2])
def test_one_example_of_more_than_there_are_entries_is_told(times):
    """Where there are more examples than entries, each is tried alone: left out, or counted twice."""
    dZ, X = RNG.standard_normal((2, 9)), RNG.standard_normal((2, 9))
    counts = np.where(np.arange(9) == 4, times, 1)

    def replay(replaced):
        return {"dW": replaced.get("dZ", dZ) @ X.T}

    scene = Scene(
        "dW",
        (dZ * counts) @ X.T,
        dZ @ X.T,
        tensors={"dZ": dZ, "X": X, "W": np.ones((2, 2))},
        parameters=frozenset("W"),
        reads={"Z": frozenset("WX")},
        replay=replay,
    )
    first = diagnose(scene)[0]
    assert first.code == "dropped-example", first
    assert ("example 4 (from 0) is left out" if times == 0 else "example 4 counts 2 times") in first.text


BETA, RATE = 0.8, 0.2
V, G, W3 = RNG.standard_normal((3, 3, 4))
MOMENTA = {
    "v has the wrong sign": (-BETA * V + (1 - BETA) * G, "v has the wrong sign"),
    "no memory": (G, "there is no memory"),
    "swapped": ((1 - BETA) * V + BETA * G, "beta and 1 - beta are swapped"),
    "no gradient": (BETA * V, "dw does not enter"),
    "undamped": (BETA * V + G, "dw without its 1 - beta"),
    "not decayed": (V + (1 - BETA) * G, "v is not multiplied by beta"),
}


@pytest.mark.parametrize(("recorded", "words"), MOMENTA.values(), ids=MOMENTA)
def test_which_momentum_a_velocity_is(recorded, words):
    scene = Scene(
        "vW",
        recorded,
        BETA * V + (1 - BETA) * G,
        tensors={"W": W3, "dW": G, "vW before": V},
        parameters=frozenset("W"),
        settings={"beta": BETA, "learning rate": RATE, "step": 2},
    )
    first = diagnose(scene)[0]
    assert (first.code, words in first.text) == ("momentum-form", True), first


UPDATES = {
    "replaced": (-RATE * V, "update-form", "the weights are replaced, not changed"),
    "ascent": (W3 + RATE * V, "update-form", "it goes up the gradient"),
    "the rate twice": (W3 - RATE**2 * V, "update-form", "the rate is applied twice"),
    "nesterov": (W3 - RATE * (BETA * V + (1 - BETA) * G), "momentum-form", "Nesterov's step"),
    "nesterov undamped": (W3 - RATE * (BETA * V + G), "momentum-form", "W - rate (beta vW + dW)"),
    "no velocity": (W3 - RATE * G, "momentum-form", "the velocity is not used"),
}


@pytest.mark.parametrize(("recorded", "code", "words"), UPDATES.values(), ids=UPDATES)
def test_which_rule_an_update_is(recorded, code, words):
    scene = Scene(
        "W_next",
        recorded,
        W3 - RATE * V,
        tensors={"W": W3, "dW": G, "vW": V},
        parameters=frozenset("W"),
        settings={"beta": BETA, "learning rate": RATE, "step": 2},
    )
    assert any((cause.code, words in cause.text) == (code, True) for cause in diagnose(scene)), diagnose(scene)


@pytest.mark.parametrize(("c", "words"), [(2.0, "2 times A is added"), (-2.0, "2 times A is missing")])
def test_a_term_may_be_counted_twice_too_often(c, words):
    scene = Scene("dZ", RIGHT + c * A, RIGHT, tensors={**AROUND, "dZ": RIGHT + c * A}, reads=READS)
    assert any(words in cause.text for cause in diagnose(scene)), diagnose(scene)


@pytest.mark.parametrize(("factor", "words"), [(0.5, "every entry is 0.5 times"), (3.0, "every entry is 3 = K times")])
def test_a_half_and_a_double_have_no_other_name(factor, words):
    """That n is 2 is no reason to say that a half is 1/n."""
    first = diagnose(Scene("T", factor * R, R, numbers={"n": 2, "K": 3}))[0]
    assert words in first.text, first


def test_weights_left_out_before_are_said_where_that_explains_it():
    scene = Scene("dW", R[:3] - W, R[:3], tensors={"W": W}, parameters=frozenset("W"))
    assert "(or W is left out before)" in diagnose(scene)[0].text
    scene = Scene("dW", R[:3] + 0.25 * W, R[:3], tensors={"W": W}, parameters=frozenset("W"))
    assert "left out before" not in diagnose(scene)[0].text


def test_a_weight_of_one_entry_is_not_called_updated():
    """At some rate it would be anything."""
    W, dZ = RNG.standard_normal((1, 1)), RNG.standard_normal((1, 6))
    scene = Scene(
        "dX",
        0.7 * W.T @ dZ,
        W.T @ dZ,
        tensors={"W": W, "dZ": dZ, "dW": RNG.standard_normal((1, 1))},
        parameters=frozenset("W"),
        reads={"Z": frozenset("WX")},
        replay=lambda replaced: {"dX": replaced.get("W", W).T @ dZ},
    )
    assert [cause.code for cause in diagnose(scene)] == ["scale"]
