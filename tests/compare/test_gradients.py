"""Derivations of other operations than the notes', judged without knowing their formulas."""

import re
import sys
from itertools import product

import numpy as np
import pytest
import torch

from handgrad import mlp, tap
from handgrad.compare.checks.gradients import check_gradients
from handgrad.compare.errors import InputError
from tests.benchmarks.networks import listed, stationary_point
from tests.corpus.operations import BUILDERS


def case_of(name, seed=5):
    return BUILDERS[name](np.random.default_rng([seed, len(name)]))


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
    assert report.first.name == fault.tensor, f"{fault.name}\n{report}"


RNG = np.random.default_rng(8)
PARAMS = {"W": RNG.standard_normal((4, 3)), "b": RNG.standard_normal((4, 1))}
BATCH = (RNG.standard_normal((3, 6)), RNG.standard_normal((4, 6)))


def reference(p, X, C):
    Z = tap("Z", p["W"] @ X + p["b"])
    return (C * torch.tanh(Z)).sum()


def derivation(p, X, C):
    Z = p["W"] @ X + p["b"]
    dZ = C * (1 - np.tanh(Z) ** 2)
    return {"Z": Z, "dZ": dZ, "dW": dZ @ X.T, "db": dZ.sum(1, keepdims=True), "dX": p["W"].T @ dZ}


def without(*names):
    return lambda *args: {name: value for name, value in derivation(*args).items() if name not in names}


def test_gradients_alone_are_enough_and_any_subset_of_intermediates():
    for left_out in (("Z", "dZ", "dX"), ("Z",), ("dZ",)):
        report = check_gradients(without(*left_out), reference, PARAMS, BATCH)
        assert report.findings == (), str(report)


def test_a_parameter_gradient_that_is_owed_is_missing():
    report = check_gradients(without("db"), reference, PARAMS, BATCH)
    assert (report.first.name, report.first.verdict) == ("db", "MISSING")


def noisy(p, X, C):
    tap("S", torch.rand(3))
    return reference(p, X, C)


def with_noise(p, X, C):
    return {**derivation(p, X, C), "S": np.ones(3)}


def writing_through_a_view(p, X, C):
    A = torch.tanh(p["W"] @ X + p["b"])
    tap("first", A[:1]).mul_(2)
    return (C * A).sum() / 3


@pytest.mark.parametrize("times", [1, 2])
def test_the_gradient_of_a_tap_on_data_is_judged(times):
    """No parameter is in it; its gradient is the input's own, times what was done to it."""

    def of_data(p, X, C):
        return reference(p, tap("A0", times * X), C)

    def by_hand(p, X, C, factor=1.0):
        found = derivation(p, times * X, C)
        return {**found, "A0": times * X, "dX": times * found["dX"], "dA0": factor * found["dX"]}

    for left_out in ((), ("dX",), ("Z", "dZ", "A0", "dX")):
        kept = lambda *given, left_out=left_out: {n: a for n, a in by_hand(*given).items() if n not in left_out}  # noqa: E731
        report = check_gradients(kept, of_data, PARAMS, BATCH)
        assert (report.findings, report.notes) == ((), ()), str(report)
        wrong = lambda *given, kept=kept: {**kept(*given), "dA0": by_hand(*given, factor=1.001)["dA0"]}  # noqa: E731
        assert check_gradients(wrong, of_data, PARAMS, BATCH).first.name == "dA0"


def test_a_reference_may_ask_autograd_for_a_gradient_itself():
    """Where a gradient is recorded the replay cuts the graph; here it has to do without."""

    def penalised(p, X, C):
        J = reference(p, X, C)
        (G,) = torch.autograd.grad(J, p["W"], retain_graph=True)
        tap("G", G)
        return J

    report = check_gradients(
        lambda *given: {**derivation(*given), "G": derivation(*given)["dW"]}, penalised, PARAMS, BATCH
    )
    assert report.findings == (), str(report)
    report = check_gradients(
        lambda *given: {**derivation(*given), "G": 2 * derivation(*given)["dW"]}, penalised, PARAMS, BATCH
    )
    assert report.first.name == "G"


def gradient_penalty(p, X):
    X = X.clone().requires_grad_()
    Z = tap("Z", X @ p["W"])
    (g,) = torch.autograd.grad((torch.tanh(Z) @ p["v"]).sum(), X, create_graph=True)
    return (g**2).sum()


@pytest.mark.parametrize("wrong", ["", "dZ", "dv", "J"])
def test_a_reference_may_differentiate_through_its_own_taps(wrong):
    """What it finds there leads round the tap, so that no record can stand in it: it is compared end to end."""

    def by_hand(p, X):
        A = np.tanh(X @ p["W"])
        s = 1 - A**2
        g = (s * p["v"]) @ p["W"].T
        u = 2 * g @ p["W"]
        dZ = u * p["v"] * -2 * A * s
        dW = 2 * g.T @ (s * p["v"]) + X.T @ dZ
        found = {"Z": X @ p["W"], "J": (g**2).sum(), "dZ": dZ, "dW": dW, "dv": (u * s).sum(0)}
        return {**found, wrong: 1.001 * found[wrong]} if wrong else found

    params = {"W": RNG.standard_normal((4, 3)), "v": RNG.standard_normal(3)}
    report = check_gradients(by_hand, gradient_penalty, params, (RNG.standard_normal((8, 4)),))
    assert [finding.name for finding in report.findings] == ([wrong] if wrong else []), str(report)


def test_a_reference_that_calls_backward_itself_is_checked_or_told_so():
    def derive(p, X):
        E = X @ p["W"]
        return {"E": E, "J": (E**2).sum() / 2, "dE": E, "dW": X.T @ E}

    def calling(**options):
        def reference(p, X):
            J = (tap("E", X @ p["W"]) ** 2).sum() / 2
            J.backward(**options)
            return J

        return reference

    params, batch = {"W": RNG.standard_normal((4, 3))}, (RNG.standard_normal((8, 4)),)
    report = check_gradients(derive, calling(retain_graph=True), params, batch)
    assert report.findings == (), str(report)
    assert all(row.max_abs_diff < 1e-12 for row in report.rows), str(report)
    with pytest.raises(InputError, match=r"second time.*; it must leave backward\(\) to the check and return J"):
        check_gradients(derive, calling(), params, batch)


def test_an_entry_of_no_sum_is_no_example_left_out():
    """db is a sum over the six examples, each in every entry of it; a row of dZ is in one entry alone."""

    def wrong(*given):
        found = derivation(*given)
        return {**found, "db": np.where(np.arange(4)[:, None] == 1, 0, found["db"])}

    first = check_gradients(wrong, reference, PARAMS, BATCH).first
    assert (first.name, first.verdict) == ("db", "FAULT")
    assert first.cause != "dropped-example", first.explanation


def test_the_gradient_of_an_input_is_judged():
    def wrong(*args):
        return {**derivation(*args), "dX": 1.001 * derivation(*args)["dX"]}

    assert check_gradients(wrong, reference, PARAMS, BATCH).first.name == "dX"


def test_nothing_to_compare_is_an_error():
    with pytest.raises(InputError, match="J depends on no parameter in the reference"):
        check_gradients(lambda *_: {}, lambda p, X: p["W"].detach().sum() * 0, {"W": np.ones(2)}, (np.ones(2),))


def test_naive_arithmetic_is_weak_or_not_finite_and_never_a_fault():
    """tanh by exponentials, and cross-entropy on probabilities, the notes' own formulas as code."""

    def naive(p, X, C):
        Z = p["W"] @ X + p["b"]
        A = (np.exp(Z) - np.exp(-Z)) / (np.exp(Z) + np.exp(-Z))
        return {"Z": Z, "A": A, "dZ": C * (1 - A**2), "dA": C * np.ones_like(A)} | _of(p, X, C * (1 - A**2))

    def named(p, X, C):
        Z = tap("Z", p["W"] @ X + p["b"])
        return (C * tap("A", torch.tanh(Z))).sum()

    for scale in (1e-6, 1.0, 1000.0):
        params = {name: scale * array for name, array in PARAMS.items()}
        report = check_gradients(naive, named, params, BATCH)
        assert "FAULT" not in {finding.verdict for finding in report.findings}, str(report)
    assert (report.first.name, report.first.verdict) == ("A", "NONFINITE")
    assert re.search(r"; Z is -?\d+\S* there", report.first.explanation), report.first.explanation


def _of(p, X, dZ):
    return {"dW": dZ @ X.T, "db": dZ.sum(1, keepdims=True)}


def test_python_lists_at_a_stationary_point_of_the_last_bias_are_left_in_peace():
    """db is a pure cancellation there: the float32 run shows nothing of its rounding, only the spread does."""
    for seed in range(10):
        params, batch = stationary_point(np.random.default_rng(seed))
        report = check_gradients(listed, mlp((5, 2), ("identity",), "squared-error"), params, batch)
        assert report.findings == (), f"seed {seed}\n{report}"


# --- self-protection: each message is what a person reads


def test_both_sides_get_copies_and_leave_no_trace():
    import random

    params, batch = {name: a.copy() for name, a in PARAMS.items()}, tuple(a.copy() for a in BATCH)

    def greedy(p, X, C):
        found = derivation(p, X, C)
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002  # the user's doing
        torch.manual_seed(1)
        torch.set_default_dtype(torch.float64)
        np.seterr(all="raise")
        X[:] = 0
        return found

    def states():
        generator = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
        return (*generator, torch.get_default_dtype(), torch.get_num_threads(), np.geterr())

    before = states()
    report = check_gradients(greedy, reference, params, batch)
    assert states() == before
    for ours, theirs in zip([*params.values(), *batch], [*PARAMS.values(), *BATCH], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert report.first.cause == "mutated-input"
    assert "the derivation changes the input X that it is handed" in report.first.explanation


def test_a_changed_parameter_is_named():
    def updating(p, X, C):
        found = derivation(p, X, C)
        p["W"] -= 0.1 * found["dW"]
        return found

    first = check_gradients(updating, reference, PARAMS, BATCH).first
    assert (first.name, first.cause, first.verdict) == ("W", "mutated-input", "FAULT")


def test_an_answer_that_is_not_repeatable_is_the_only_finding():
    calls = []

    def stale(p, X, C):
        calls.append(1)
        return {name: value * len(calls) for name, value in derivation(p, X, C).items()}

    report = check_gradients(stale, reference, PARAMS, BATCH)
    assert [finding.cause for finding in report.findings] == ["not-repeatable"]
    assert "called twice on the same params and batch" in report.first.explanation
    assert "pass dropout masks in the batch" in report.first.explanation


@pytest.mark.parametrize(
    ("returned", "words"), [(None, "returned None"), ([1.0], "returned a list"), (3.0, "returned a float")], ids=str
)
def test_what_is_no_mapping_is_missing(returned, words):
    first = check_gradients(lambda *_: returned, reference, PARAMS, BATCH).first
    assert (first.verdict, first.cause) == ("MISSING", "missing")
    assert words in first.explanation
    assert "return a dict" in first.explanation


def test_an_empty_mapping_misses_every_parameter():
    report = check_gradients(lambda *_: {}, reference, PARAMS, BATCH)
    assert {(finding.name, finding.cause) for finding in report.findings} == {("dW", "missing"), ("db", "missing")}
    assert report.notes == ()


def test_an_exception_is_a_finding_at_the_line_and_the_name_it_was_to_assign():
    def failing(p, X, C):
        Z = p["W"] @ X + p["b"]
        dZ = C * (1 - np.tanh(Z) ** 2)
        dW = dZ @ X
        return {"Z": Z, "dW": dW}

    first = check_gradients(failing, reference, PARAMS, BATCH).first
    assert (first.name, first.cause, first.verdict) == ("dW", "exception", "FAULT")
    assert re.match(r"ValueError in test_gradients.py line \d+: matmul", first.explanation)


def test_an_unknown_name_is_asked_about():
    def mistyped(*args):
        found = derivation(*args)
        return {**found, "dw": found["dW"]}

    first = check_gradients(mistyped, reference, PARAMS, BATCH).first
    assert (first.name, first.cause) == ("dw", "unknown-name")
    assert "did you mean 'dW'?" in first.explanation


def test_gradients_that_are_zero_everywhere_are_a_fault():
    zero = check_gradients(
        lambda *a: {n: 0 * v if n in ("dW", "db") else v for n, v in derivation(*a).items()}, reference, PARAMS, BATCH
    )
    assert {(f.name, f.cause) for f in zero.findings} == {("dW", "zero"), ("db", "zero")}
    dead = (BATCH[0], 0 * BATCH[1])
    report = check_gradients(derivation, reference, PARAMS, dead)
    assert (report.first.cause, report.first.verdict) == ("zero", "FAULT")
    assert "every parameter gradient is exactly zero on both sides, so nothing is compared" in report.first.explanation


def test_a_wrong_tensor_of_which_another_is_a_view_is_not_aliased():
    """Nothing is overwritten: the view has the same numbers in other places, and is right for what it is taken of."""
    noise = 1 + 1e-6 * np.random.default_rng(5).choice([-1.0, 1.0], (4, 6))

    def of_a_view(p, X, C):
        H = tap("H", tap("Z", p["W"] @ X + p["b"]).reshape(4, 2, 3))
        return (C * torch.tanh(tap("T", H.transpose(1, 2))).transpose(1, 2).reshape(4, 6)).sum()

    def by_hand(p, X, C):
        found = derivation(p, X, C)
        Z = found["Z"] * noise.astype(X.dtype)
        return {"Z": Z, "T": Z.reshape(4, 2, 3).swapaxes(1, 2), "dW": found["dW"], "db": found["db"]}

    first = check_gradients(by_hand, of_a_view, PARAMS, BATCH).first
    assert (first.name, first.cause) == ("Z", "unknown"), first.explanation


def test_a_result_overwritten_through_shared_memory_is_aliased():
    def named(p, X, C):
        Z = tap("Z", p["W"] @ X + p["b"])
        return (C * tap("A", torch.relu(Z))).sum()

    def overwriting(p, X, C):
        Z = p["W"] @ X + p["b"]
        dA = C.copy()
        dZ = dA
        dZ[Z <= 0] = 0
        return {"Z": Z, "dA": dA, "dZ": dZ, "dW": dZ @ X.T, "db": dZ.sum(1, keepdims=True)}

    report = check_gradients(overwriting, named, PARAMS, BATCH)
    assert [(finding.name, finding.cause) for finding in report.findings] == [("dA", "aliased")]
    assert "they share memory" in report.first.explanation


def test_sharing_memory_is_no_fault_where_the_values_are_right():
    def identity(p, X, C):
        Z = tap("Z", p["W"] @ X + p["b"])
        return (C * tap("A", Z)).sum()

    def shared(p, X, C):
        Z = p["W"] @ X + p["b"]
        return {"Z": Z, "A": Z, "dA": C, "dZ": C, "dW": C @ X.T, "db": C.sum(1, keepdims=True)}

    assert check_gradients(shared, identity, PARAMS, BATCH).findings == ()


SHAPES = {
    "bias lost its second axis": (lambda d: {**d, "db": d["db"][:, 0]}, "db", "lost its last axis", "(4, 4)"),
    "dW transposed": (lambda d: {**d, "dW": d["dW"].T}, "dW", "looks transposed", "its values agree"),
    "broadcast": (lambda d: {**d, "db": d["db"] - np.zeros((1, 4))}, "db", "looks broadcast to (4, 4)", ""),
    "one axis too many": (lambda d: {**d, "dW": d["dW"][None]}, "dW", "(1, 4, 3)", "its values agree"),
}


@pytest.mark.parametrize(("change", "name", "words", "more"), SHAPES.values(), ids=SHAPES)
def test_a_gradient_that_cannot_be_subtracted_is_a_fault(change, name, words, more):
    report = check_gradients(lambda *args: change(derivation(*args)), reference, PARAMS, BATCH)
    assert [(f.name, f.cause, f.verdict) for f in report.findings] == [(name, "shape", "FAULT")], str(report)
    assert words in report.first.explanation
    assert more in report.first.explanation


def test_a_wrong_shape_with_wrong_values_says_both():
    report = check_gradients(
        lambda *a: {**derivation(*a), "db": 2 * derivation(*a)["db"][:, 0]}, reference, PARAMS, BATCH
    )
    assert "its values are wrong too" in report.first.explanation


def test_a_gradient_that_can_be_subtracted_is_a_note():
    def row(p, X, C):
        return (C * torch.tanh(p["W"] @ X + p["b"].T)).sum()

    def as_vector(p, X, C):
        found = derivation({"W": p["W"], "b": p["b"].T}, X, C)
        return {"dW": found["dW"], "db": found["db"][:, 0]}

    report = check_gradients(as_vector, row, {"W": PARAMS["W"], "b": PARAMS["b"].T}, BATCH)
    assert report.findings == (), str(report)
    assert report.notes == ("db has shape (4,) where (1, 4) is due; it has the same entries.",)


def test_lists_and_scalars_are_arrays_too():
    def of_lists(p, x):
        return {"J": float(p["w"]) ** 2 * x[0], "dw": 2.0 * float(p["w"]) * float(x[0]), "s": [float(p["w"])] * 2}

    def in_torch(p, x):
        tap("s", p["w"] * torch.ones(2, dtype=p["w"].dtype))
        return p["w"] ** 2 * x[0]

    assert check_gradients(of_lists, in_torch, {"w": 1.5}, ([0.3, 0.4],)).findings == ()


def test_integer_inputs_pass_unchanged_and_have_no_gradient():
    def in_torch(p, index):
        return (p["E"][index] ** 2).sum()

    def by_hand(p, index):
        assert index.dtype.kind == "i"
        dE = np.zeros_like(p["E"])
        np.add.at(dE, index, 2 * p["E"][index])
        return {"dE": dE, "J": (p["E"][index] ** 2).sum()}

    assert check_gradients(by_hand, in_torch, {"E": PARAMS["W"]}, (np.array([0, 2, 2]),)).findings == ()


BAD = {
    "derivation": (lambda: check_gradients(3, reference, PARAMS, BATCH), "derivation is an int"),
    "reference": (lambda: check_gradients(derivation, None, PARAMS, BATCH), "reference is None"),
    "params": (lambda: check_gradients(derivation, reference, [1.0], BATCH), "params is a list; it must be a dict"),
    "no params": (lambda: check_gradients(derivation, reference, {}, BATCH), "params is empty"),
    "integer params": (
        lambda: check_gradients(derivation, reference, {**PARAMS, "b": np.array([[1]])}, BATCH),
        "holds int64; what is trained must be floating",
    ),
    "nan": (lambda: check_gradients(derivation, reference, {**PARAMS, "b": np.nan}, BATCH), "holds nan or infinity"),
    "empty": (lambda: check_gradients(derivation, reference, {**PARAMS, "b": []}, BATCH), "no entry"),
    "words": (lambda: check_gradients(derivation, reference, {**PARAMS, "b": "x"}, BATCH), "array of real numbers"),
    "batch": (
        lambda: check_gradients(derivation, reference, PARAMS, BATCH[0]),
        "batch is an ndarray; it must be a tuple",
    ),
    "precisions": (
        lambda: check_gradients(derivation, reference, PARAMS, BATCH, precisions=("float16",)),
        "it may hold 'float64' and 'float32'",
    ),
    "reference raises": (
        lambda: check_gradients(derivation, lambda p, X, C: p["V"].sum(), PARAMS, BATCH),
        r"the reference raises KeyError in test_gradients.py line \d+: 'V'",
    ),
    "reference is random": (
        lambda: check_gradients(derivation, lambda p, X, C: (p["W"] * torch.rand(4, 3)).sum(), PARAMS, BATCH),
        "it must be repeatable, so put a module in eval",
    ),
    "a tap of the reference is random": (
        lambda: check_gradients(with_noise, noisy, PARAMS, BATCH),
        "the reference, called twice, gives two answers for S; it must be repeatable",
    ),
    "the reference writes through a tapped view": (
        lambda: check_gradients(derivation, writing_through_a_view, PARAMS, BATCH),
        "a tap hands out a tensor of its own, so write into none of which a tap is a view",
    ),
    "a tap of a number": (
        lambda: check_gradients(derivation, lambda p, X, C: tap("n", 5) * reference(p, X, C), PARAMS, BATCH),
        r"tap\('n', ...\) is handed an int; hand it the tensor",
    ),
    "a tap named like the gradient of another": (
        lambda: check_gradients(derivation, lambda *given: tap("dZ", reference(*given)), PARAMS, BATCH),
        r"tap\('dZ', ...\): 'dZ' is the gradient of tap 'Z'; give it another name",
    ),
    "J is complex": (
        lambda: check_gradients(derivation, lambda *given: reference(*given).to(torch.complex128), PARAMS, BATCH),
        "the reference returns a complex number; it must return the scalar J",
    ),
    "reference changes its input": (
        lambda: check_gradients(derivation, lambda p, X, C: (p["W"] @ X * C.mul_(2)).sum(), PARAMS, BATCH),
        "the reference changes C in place; let it compute a new tensor instead",
    ),
}


@pytest.mark.parametrize(("act", "words"), BAD.values(), ids=BAD)
def test_what_is_handed_over_wrongly_is_one_sentence(act, words):
    with pytest.raises(InputError, match=words) as caught:
        act()
    assert "\n" not in str(caught.value)


def test_a_complex_intermediate_that_is_not_returned_does_no_harm(recwarn):
    def derivation(p, x):
        spectrum = np.fft.fft(p["w"] * x)
        return {"J": (abs(spectrum) ** 2).sum(), "dw": 2 * len(x) * p["w"] * x * x}

    def reference(p, x):
        return (tap("spectrum", torch.fft.fft(p["w"] * x)).abs() ** 2).sum()

    params, batch = {"w": RNG.standard_normal(6)}, (RNG.standard_normal(6),)
    assert check_gradients(derivation, reference, params, batch).findings == ()
    wrong = check_gradients(lambda p, x: {**derivation(p, x), "dw": p["w"]}, reference, params, batch)
    assert wrong.first.name == "dw"
    assert not recwarn.list


def test_one_precision_says_what_it_hides():
    for dtype, words in (("float32", "below a relative size of 2e-4"), ("float64", "arithmetic that loses digits")):
        report = check_gradients(derivation, reference, PARAMS, BATCH, precisions=(dtype,))
        assert report.findings == ()
        assert any(words in spot for spot in report.blind_spots), report.blind_spots


def test_a_misspelt_gradient_is_told_where_it_is_missing_and_where_it_is_unknown():
    report = check_gradients(
        lambda *given: {("dVV" if name == "dW" else name): v for name, v in derivation(*given).items()},
        reference,
        PARAMS,
        BATCH,
    )
    told = {finding.name: finding.explanation for finding in report.findings}
    assert "it returns 'dVV', which torch does not: did you mean that?" not in told["dW"], "it is not close"
    report = check_gradients(
        lambda *given: {("dWl" if name == "dW" else name): v for name, v in derivation(*given).items()},
        reference,
        PARAMS,
        BATCH,
    )
    told = {finding.name: finding.explanation for finding in report.findings}
    assert "it returns 'dWl', which torch does not: did you mean that?" in told["dW"]
    assert "did you mean 'dW'?" in told["dWl"], "and none of those that are there"


def test_an_exception_is_told_at_the_tensor_on_whose_line_it_is_raised():
    def broken(p, X, C):
        Z = p["W"] @ X + p["b"]
        dZ = p["W"] @ C
        return {"Z": Z, "dZ": dZ}

    report = check_gradients(broken, reference, PARAMS, BATCH)
    assert (report.first.phase, report.first.name, report.first.cause) == ("backward", "dZ", "exception"), str(report)
    assert "FAULT: an exception ends step 1 in its backward phase; none was compared." in str(report)


def test_what_was_not_returned_is_a_blind_spot():
    report = check_gradients(without("Z", "dZ", "dX"), reference, PARAMS, BATCH)
    assert any("not returned: Z, J, dZ" in spot for spot in report.blind_spots), report.blind_spots


# --- three opinions


def sum_of_squares(p, X, C):
    """A layer whose J is a mean over the n columns."""
    n = X.shape[1]
    D = p["W"] @ X + p["b"] - C
    return {"J": (D**2).sum() / (2 * n), "dW": D @ X.T / n, "db": D.sum(1, keepdims=True) / n}


def mean_of_squares(p, X, C):
    return ((p["W"] @ X + p["b"] - C) ** 2).sum() / (2 * X.shape[1])


def test_the_gradient_of_the_sum_with_the_loss_of_the_mean_is_one_finding():
    def summed(p, X, C):
        found = sum_of_squares(p, X, C)
        return {"J": found["J"], "dW": found["dW"] * 6, "db": found["db"] * 6}

    report = check_gradients(summed, mean_of_squares, PARAMS, BATCH)
    (finding,) = report.findings
    assert (finding.cause, finding.factor) == ("scale", 6.0)
    assert "6 = the size of axis 1 of X" in finding.explanation
    assert "by the same factor: dW" in finding.explanation
    assert any("dW is not the gradient of the derivation's own J" in note for note in report.notes)


def test_an_epsilon_in_the_loss_is_a_finding_on_J_alone():
    def with_epsilon(p, X, C):
        found = sum_of_squares(p, X, C)
        return {**found, "J": found["J"] + 1e-6}

    report = check_gradients(with_epsilon, mean_of_squares, PARAMS, BATCH)
    assert [(f.name, f.verdict) for f in report.findings] == [("J", "FAULT")]
    assert any("dW, db are the gradient of the derivation's own J" in note for note in report.notes), report.notes


def test_a_gradient_that_is_that_of_another_loss_agrees_with_neither_or_with_its_own():
    def literal(p, X, C):
        n = X.shape[1]
        D = p["W"] @ X + p["b"] - C
        return {"J": (D**2).sum() / n, "dW": 2 * D @ X.T / n, "db": 2 * D.sum(1, keepdims=True) / n}

    report = check_gradients(literal, mean_of_squares, PARAMS, BATCH)
    assert [f.name for f in report.findings] == ["J", "db"], str(report)
    assert any("dW, db are the gradient of the derivation's own J" in note for note in report.notes)


def test_an_entry_at_a_kink_is_left_out_and_named():
    def kinked(p, x):
        return {"J": np.abs(p["w"] * x).sum() + 1.0, "dw": np.sign(p["w"]) * np.abs(x)}

    report = check_gradients(
        kinked, lambda p, x: (p["w"] * x).abs().sum(), {"w": np.array([0.0, 1.0, -2.0])}, (np.ones(3),)
    )
    assert [f.name for f in report.findings] == ["J"]
    assert any("J has a kink in w at (0,)" in note for note in report.notes), report.notes


def test_a_saturated_unit_whose_rounding_is_systematic_is_left_in_peace():
    """1 - A^2 with A within 1e-8 of 1: its rounding error is a smooth function, and float32 shows only zeros."""

    def saturated(p, x, s):
        A = np.tanh(p["w"] * x)
        dA = np.full_like(A, 1 - 1 / (1 + np.exp(-s)))  # 9e-14, in float32 exactly 0
        return {"A": A, "dA": dA, "dZ": dA * (1 - A * A), "dw": (dA * (1 - A * A) * x)}

    def in_torch(p, x, s):
        return ((1 - torch.sigmoid(s)) * tap("A", torch.tanh(tap("Z", p["w"] * x)))).sum()

    params, batch = {"w": np.array([10.06, 12.0, 9.7])}, (np.ones(3), np.array(30.0))
    report = check_gradients(saturated, in_torch, params, batch)
    assert report.findings == (), str(report)

    def wrong(p, x, s):
        return {**saturated(p, x, s), "dZ": 1.001 * saturated(p, x, s)["dZ"]}

    assert check_gradients(wrong, in_torch, params, batch).first.name == "dZ"


def test_a_value_that_swallowed_its_digits_is_weak_not_fault():
    """(1 + tanh(z/2))/2 is sigmoid; where z is -60 it is exactly 0 and the truth 1e-26: its 1 swallowed the rest."""

    def by_tanh(p, x):
        Z = p["w"] * x
        return {"A": (1 + np.tanh(Z / 2)) / 2, "dw": x * np.exp(Z) / (1 + np.exp(Z)) ** 2}

    def in_torch(p, x):
        return tap("A", torch.sigmoid(tap("Z", p["w"] * x))).sum()

    report = check_gradients(by_tanh, in_torch, {"w": np.array([-60.0, -61.0])}, (np.ones(2),))
    assert [(finding.name, finding.verdict) for finding in report.findings] == [("A", "WEAK")], str(report)


# --- what a stranger found


def blind(p, X, C):
    with torch.no_grad():
        return (C * (p["W"] @ X + p["b"])).sum()


@pytest.mark.parametrize("cut_off", [blind, lambda p, X, C: reference(p, X, C).detach()], ids=["no_grad", "detach"])
def test_a_reference_without_gradients_is_refused(cut_off):
    with pytest.raises(InputError, match="J depends on no parameter in the reference"):
        check_gradients(derivation, cut_off, PARAMS, BATCH)


def doubled(*args):
    return {**derivation(*args), "dW": 2 * derivation(*args)["dW"]}


def test_inference_mode_around_a_check_does_not_blind_it():
    with torch.inference_mode():
        report = check_gradients(
            lambda *a: {**derivation(*a), "dW": 2 * derivation(*a)["dW"]}, reference, PARAMS, BATCH
        )
    assert report.first.name == "dW"


def test_the_gradient_of_what_J_does_not_depend_on_must_be_zero():
    params = {**PARAMS, "Q": np.ones(2)}
    zero = check_gradients(lambda *a: {**derivation(*a), "dQ": np.zeros(2)}, reference, params, BATCH)
    assert zero.findings == ()
    one = check_gradients(lambda *a: {**derivation(*a), "dQ": np.ones(2)}, reference, params, BATCH)
    assert [(f.name, f.verdict) for f in one.findings] == [("dQ", "FAULT")]
    assert check_gradients(derivation, reference, params, BATCH).findings == (), "nor is it owed"


def test_masked_scores_are_infinite_on_both_sides_and_no_overflow():
    mask = np.triu(np.ones((4, 4), bool), 1)

    def in_torch(p, X, M):
        S = tap("S", torch.where(M, -torch.inf, p["W"] @ X))
        return tap("P", torch.softmax(S, -1)).square().sum()

    def by_hand(p, X, M, wrong=1.0):
        S = np.where(M, -np.inf, p["W"] @ X)
        E = np.exp(S - S.max(-1, keepdims=True))
        P = E / E.sum(-1, keepdims=True)
        dP = 2 * P * wrong
        dS = P * (dP - (dP * P).sum(-1, keepdims=True))
        return {"S": S, "P": P, "dP": dP, "dS": dS, "dW": dS @ X.T, "J": (P**2).sum()}

    params, batch = {"W": PARAMS["W"]}, (RNG.standard_normal((3, 4)), mask)
    assert check_gradients(by_hand, in_torch, params, batch).findings == ()
    wrong = check_gradients(lambda *a: by_hand(*a, wrong=1.001), in_torch, params, batch)
    assert [f.name for f in wrong.findings] == ["dP"]
    unmasked = check_gradients(lambda p, X, M: by_hand(p, X, M & False), in_torch, params, batch)
    assert unmasked.first.name == "S"


def test_an_integer_or_boolean_tap_is_compared_too():
    def in_torch(p, X, C):
        Z = p["W"] @ X + p["b"]
        tap("m", Z > 0)
        tap("i", Z.argmax(0))
        return (C * torch.relu(Z)).sum()

    def by_hand(p, X, C):
        Z = p["W"] @ X + p["b"]
        dZ = C * (Z > 0)
        return {"m": Z > 0, "i": Z.argmax(0), "dW": dZ @ X.T, "db": dZ.sum(1, keepdims=True)}

    assert check_gradients(by_hand, in_torch, PARAMS, BATCH).findings == ()
    wrong = check_gradients(lambda *a: {**by_hand(*a), "m": ~by_hand(*a)["m"]}, in_torch, PARAMS, BATCH)
    assert wrong.first.name == "m"


def test_relu_at_exactly_zero_is_a_fault_and_not_rounding():
    """The difference is gone as soon as the parameters move, which rounding never is."""

    def in_torch(p, x):
        return (torch.relu(tap("Z", p["w"] * x)) * x).sum()

    def by_hand(p, x):
        Z = p["w"] * x
        dZ = x * (Z >= 0)
        return {"Z": Z, "dZ": dZ, "dw": dZ * x}

    report = check_gradients(
        by_hand, in_torch, {"w": np.array([1.0, 0.0, -2.0, 3.0])}, (np.array([1.0, 2.0, 3.0, 0.5]),)
    )
    assert (report.first.name, report.first.verdict) == ("dZ", "FAULT"), str(report)


@pytest.mark.parametrize("J", [None, "x", 1j, [[1.0], [1.0, 2.0]]], ids=str)
def test_a_J_that_is_no_number_beside_a_wrong_gradient(J):
    report = check_gradients(
        lambda *a: {**derivation(*a), "J": J, "dW": 2 * derivation(*a)["dW"]}, reference, PARAMS, BATCH
    )
    assert {(f.name, f.cause) for f in report.findings} == {("J", "missing"), ("dW", "scale")}


def test_extended_precision_is_taken_as_float64():
    wide = check_gradients(
        lambda *a: {name: np.asarray(v, np.longdouble) for name, v in derivation(*a).items()}, reference, PARAMS, BATCH
    )
    assert wide.findings == ()


@pytest.mark.parametrize("name", ["", 3, None, "W", "J", "dW"], ids=repr)
def test_a_tap_needs_a_name_of_its_own(name):
    with pytest.raises(InputError, match="give each intermediate a name of its own"):
        check_gradients(derivation, lambda p, X, C: (C * tap(name, p["W"] @ X + p["b"])).sum(), PARAMS, BATCH)


def test_exit_in_the_reference_does_not_end_the_process():
    with pytest.raises(InputError, match=r"the reference raises SystemExit in test_gradients.py line \d+"):
        check_gradients(derivation, lambda p, X, C: sys.exit(0), PARAMS, BATCH)


def test_whole_numbers_where_floats_are_due_come_with_a_remedy():
    with pytest.raises(InputError, match=r"X holds int64 and passes unchanged, so perhaps write .astype\(float\)"):
        check_gradients(derivation, reference, PARAMS, (np.ones((3, 6), int), BATCH[1]))


def test_values_that_float32_cannot_hold_are_refused():
    with pytest.raises(InputError, match="float32 holds no more than"):
        check_gradients(derivation, reference, {**PARAMS, "b": np.full((4, 1), 1e39)}, BATCH)


def test_a_derivation_that_raises_when_called_again_is_not_repeatable():
    calls = []

    def once(*args):
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("cache is full")
        return derivation(*args)

    assert check_gradients(once, reference, PARAMS, BATCH).first.cause == "not-repeatable"


@pytest.mark.parametrize("precisions", [("float64", "float32"), ("float32", "float64"), ("float64",), ("float32",)])
def test_a_derivation_has_to_give_one_answer_twice(precisions):
    """In the other precision, which counts as asking again, or else in the same."""
    calls = []

    def counted(*args):
        calls.append(1)
        return derivation(*args)

    assert check_gradients(counted, reference, PARAMS, BATCH, precisions=precisions).ok
    assert len(calls) == 2

    def once(p, X, C):
        calls.append(1)
        found = derivation(p, X, C)
        return found if len(calls) == 1 else {**found, "dW": found["dW"] * 1.0001}

    calls.clear()
    report = check_gradients(once, reference, PARAMS, BATCH, precisions=precisions)
    assert (report.first.name, report.first.cause) == ("dW", "not-repeatable"), str(report)


def test_where_a_derivation_loses_digits_in_float32_it_is_asked_again_and_left_in_peace():
    def rough(p, X, C):
        found = derivation(p, X, C)
        return {name: value * (1 + 1e-4) if value.dtype == np.float32 else value for name, value in found.items()}

    report = check_gradients(rough, reference, PARAMS, BATCH)
    assert not [finding for finding in report.findings if finding.cause == "not-repeatable"], str(report)


def test_a_shape_that_is_wrong_in_float32_alone_is_found():
    def turned(p, X, C):
        found = derivation(p, X, C)
        return {**found, "dW": found["dW"].T if X.dtype == np.float32 else found["dW"]}

    first = check_gradients(turned, reference, PARAMS, BATCH).first
    assert (first.cause, "in float32, its shape is (3, 4)" in first.explanation) == ("shape", True), first.explanation


def test_cancellation_in_J_is_not_taken_for_a_kink():
    def variance(p, x):
        z = p["w"] * x + 1e6
        return {"J": (z * z).mean() - z.mean() ** 2, "dw": 3 * x}

    report = check_gradients(
        variance,
        lambda p, x: (p["w"] * x + 1e6).var(unbiased=False),
        {"w": RNG.standard_normal(9)},
        (RNG.standard_normal(9),),
    )
    assert not any("kink" in note for note in report.notes), report.notes


# --- the convention that dZ lacks the 1/n


def classic(p, X, Y, extra=1.0, late=None):
    """As it is often taught: dZ without the 1/n, which stands in dW and db."""
    n = X.shape[1]
    A1 = np.tanh(p["W1"] @ X + p["b1"])
    dZ2 = p["W2"] @ A1 + p["b2"] - Y
    dA1 = p["W2"].T @ dZ2
    dZ1 = dA1 * (1 - A1**2) * extra
    late = late or n
    return {
        "A1": A1, "dZ2": dZ2, "dW2": dZ2 @ A1.T / n, "db2": dZ2.sum(1, keepdims=True) / n,
        "dA1": dA1, "dZ1": dZ1, "dW1": dZ1 @ X.T / late, "db1": dZ1.sum(1, keepdims=True) / late,
    }  # fmt: skip


def classic_reference(p, X, Y):
    A1 = tap("A1", torch.tanh(tap("Z1", p["W1"] @ X + p["b1"])))
    return ((tap("Z2", p["W2"] @ A1 + p["b2"]) - Y) ** 2).sum() / (2 * X.shape[1])


CLASSIC = {
    "W1": RNG.standard_normal((4, 3)),
    "b1": RNG.standard_normal((4, 1)),
    "W2": RNG.standard_normal((2, 4)),
    "b2": RNG.standard_normal((2, 1)),
}
COLUMNS = (RNG.standard_normal((3, 6)), RNG.standard_normal((2, 6)))


def test_dZ_without_the_mean_is_a_note():
    report = check_gradients(classic, classic_reference, CLASSIC, COLUMNS)
    assert report.findings == (), str(report)
    assert report.notes == (
        "Convention: the gradients of intermediates lack the 1/6 of the mean, which those of parameters have; "
        "they are shown divided by it.",
    )


IN_THE_CLASSIC = {  # what is wrong of what `classic` returns, and the cause and factor that are named
    "dW2": (lambda found: {"dW2": 1.5 * found["dW2"]}, "scale", 1.5),
    "dA1": (lambda found: {"dA1": 1.1 * found["dA1"]}, "scale", 1.1),
    "db2": (lambda found: {"db2": 6 * found["db2"]}, "unknown", 6.0),
    "dW1": (lambda found: {"dW1": found["dW1"][::-1]}, "permuted", None),
    "db1": (lambda found: {"db1": -found["db1"]}, "sign", None),
}


@pytest.mark.parametrize(("name", "wrong", "cause", "factor"), [(n, *each) for n, each in IN_THE_CLASSIC.items()])
def test_a_mistake_beside_dZ_without_the_mean_is_the_only_finding(name, wrong, cause, factor):
    def derive(p, X, Y):
        found = classic(p, X, Y)
        return {**found, **wrong(found)}

    report = check_gradients(derive, classic_reference, CLASSIC, COLUMNS)
    assert [(finding.name, finding.cause) for finding in report.findings] == [(name, cause)], str(report)
    assert factor is None or f"{factor:g}" in report.first.explanation or "too few" in report.first.explanation
    assert "lack the 1/6 of the mean" in report.notes[0]


def test_one_gradient_that_lacks_the_mean_among_others_that_have_it_is_no_convention():
    def derive(p, X, Y):
        found = classic(p, X, Y)
        return {n: a / 6 if n in ("dZ2", "dA1", "dZ1") else a for n, a in found.items()} | {"dZ2": found["dZ2"]}

    (finding,) = check_gradients(derive, classic_reference, CLASSIC, COLUMNS).findings
    assert (finding.name, finding.cause, finding.factor) == ("dZ2", "scale", 6.0)


@pytest.mark.parametrize("factor", [1.001, 0.999, 6.0])
def test_a_weight_gradient_a_little_or_much_off_is_named_where_dZ_has_no_mean(factor):
    def derive(p, X, Y):
        found = of_linear(p, X, Y, over=1)
        return {**found, "dW": factor * found["dW"]}

    report = check_gradients(derive, linear, LINEAR, ROWS)
    assert [(finding.name, finding.cause) for finding in report.findings] == [("dW", "scale")], str(report)
    assert report.first.factor == pytest.approx(factor)


def test_a_mean_that_is_left_out_everywhere_is_no_convention():
    """With dW and db in the same way too large, or all but one of them, it is dZ2 that is wrong."""
    for rest in ({"dW2", "db2", "dW1", "db1"}, {"dW2", "db2", "dW1"}):

        def derive(p, X, Y, rest=rest):
            return {name: value * (6 if name in rest else 1) for name, value in classic(p, X, Y).items()}

        report = check_gradients(derive, classic_reference, CLASSIC, COLUMNS)
        assert (report.first.name, report.first.cause, report.first.factor) == ("dZ2", "scale", 6.0), str(report)
        assert not any(note.startswith("Convention") for note in report.notes)


def batch_norm(factor):
    def derive(p, X, G):
        spread = np.sqrt(X.var(0) + 1e-5)
        xh = (X - X.mean(0)) / spread
        dxh = G * p["gamma"]
        dX = (dxh - dxh.mean(0) - xh * (dxh * xh).mean(0)) / spread
        J = ((xh * p["gamma"] + p["beta"]) * G).sum()
        return {"J": J, "dgamma": (G * xh).sum(0), "dbeta": G.sum(0), "dX": factor * dX}

    return derive


@pytest.mark.parametrize("reduced", [torch.sum, torch.mean])
@pytest.mark.parametrize("factor", [5, 8, 40], ids=str)
def test_an_input_gradient_alone_is_no_convention(factor, reduced):
    """The 1/n forgotten in batch normalisation: too large by the number of examples, of features, or both."""
    params = {"gamma": RNG.uniform(0.5, 2, 5), "beta": RNG.standard_normal(5)}
    over = 1 if reduced is torch.sum else 40

    def reference(p, X, G):
        return reduced(torch.nn.functional.batch_norm(X, None, None, p["gamma"], p["beta"], training=True) * G)

    def derive(p, X, G):
        found = batch_norm(factor)(p, X, G)
        return {name: value / over for name, value in found.items()}

    batch = (RNG.standard_normal((8, 5)), RNG.standard_normal((8, 5)))
    report = check_gradients(derive, reference, params, batch)
    assert (report.first.name, report.first.cause) == ("dX", "scale"), str(report)
    assert report.first.factor == pytest.approx(factor)


@pytest.mark.parametrize(("size", "is_convention"), [(8, True), (3, False), (4, False), (32, False)])
def test_only_the_number_of_examples_of_a_mean_is_a_convention(size, is_convention):
    """X is (8, 4), Y (8, 3), J the mean over 8 examples of a sum over 3 outputs; dZ lacks another size than 8."""

    def reference(p, X, Y):
        Z = tap("Z", X @ p["W"])
        return ((Z - Y) ** 2).sum() / 2 / len(X)

    def derive(p, X, Y):
        E = X @ p["W"] - Y
        return {"Z": E + Y, "dZ": E * size / len(X), "dW": X.T @ E / len(X)}

    batch = (RNG.standard_normal((8, 4)), RNG.standard_normal((8, 3)))
    report = check_gradients(derive, reference, {"W": RNG.standard_normal((4, 3))}, batch)
    assert report.ok == is_convention, str(report)
    assert any("Convention" in note for note in report.notes) == is_convention


@pytest.mark.parametrize(
    ("extra", "late", "first"),
    [(1 / 6, None, "dZ1"), (1 + 1e-6, None, "dZ1"), (1, 1, "dZ2")],
    ids=["1/n in one hidden dZ", "a millionth off", "no mean at all in layer 1"],
)
def test_half_a_convention_is_a_fault(extra, late, first):
    """It is read as one where that leaves the one dZ; with dW1 and db1 too large as well, nothing tells which it is."""
    report = check_gradients(lambda *a: classic(*a, extra=extra, late=late), classic_reference, CLASSIC, COLUMNS)
    assert report.first.verdict == "FAULT"
    assert report.first.name == first, str(report)
    assert any("Convention" in note for note in report.notes) == (first == "dZ1")


def test_where_J_is_a_sum_no_mean_is_left_out():
    """dZ is too large by the number of examples, and dW is computed from the right one."""

    def reference(p, X, Y):
        return ((tap("Z", X @ p["W"]) - Y) ** 2).sum() / 2

    def derive(p, X, Y):
        E = X @ p["W"] - Y
        return {"Z": E + Y, "dZ": E * len(X), "dW": X.T @ E}

    batch = (RNG.standard_normal((8, 4)), RNG.standard_normal((8, 3)))
    report = check_gradients(derive, reference, {"W": RNG.standard_normal((4, 3))}, batch)
    assert (report.first.name, report.first.cause) == ("dZ", "scale"), str(report)


def test_a_derivation_that_runs_in_float64_alone_is_recognised():
    def picky(p, X, C):
        assert X.dtype == np.float64, "double precision, please"
        return derivation(p, X, C)

    report = check_gradients(picky, reference, PARAMS, BATCH)
    assert report.findings == ()
    (note,) = report.notes
    assert "does not run in float32 (AssertionError in test_gradients.py line" in note
    assert report.environment["precisions"] == ["float64"]
    assert " of 1 step, in float64; the largest difference" in str(report)
    wrong = check_gradients(
        lambda p, X, C: {**picky(p, X, C), "db": 2 * picky(p, X, C)["db"]}, reference, PARAMS, BATCH
    )
    assert wrong.first.name == "db"


# --- what a second stranger found


def linear(p, X, Y):
    return ((tap("Z", X @ p["W"] + p["b"]) - Y) ** 2).sum() / (2 * len(X))


def of_linear(p, X, Y, f=1.0, over=None, n_of_X=1.0):
    n = len(X)
    Z = X @ p["W"] + p["b"]
    dZ = (Z - Y) / (n if over is None else over)
    late = 1.0 if over is None else n / over
    found = {"Z": Z, "J": ((Z - Y) ** 2).sum() / (2 * n), "dZ": dZ, "dX": dZ @ p["W"].T * n_of_X}
    return found | {"dW": f * (X.T @ dZ) / late, "db": dZ.sum(0) / late}


LINEAR = {"W": RNG.standard_normal((4, 3)), "b": RNG.standard_normal(3)}
ROWS = (RNG.standard_normal((6, 4)), RNG.standard_normal((6, 3)))


@pytest.mark.parametrize("small", [1e-12, 1e-15, 1e-17, 1e-20])
@pytest.mark.parametrize("f", [2.0, -1.0, 1.01])
def test_a_gradient_far_smaller_than_what_it_is_computed_from(small, f):
    batch = (small * ROWS[0], ROWS[1])
    assert check_gradients(of_linear, linear, LINEAR, batch).findings == ()
    report = check_gradients(lambda *a: of_linear(*a, f=f), linear, LINEAR, batch)
    assert (report.first.name, report.first.verdict) == ("dW", "FAULT"), str(report)


@pytest.mark.parametrize("scale", [1e-20, 1e-30, 1e-40, 1e20])
def test_gradients_beyond_what_float32_can_hold(scale):
    params, batch = {**LINEAR, "b": scale * LINEAR["b"]}, tuple(scale * array for array in ROWS)
    assert check_gradients(of_linear, linear, params, batch).findings == ()
    report = check_gradients(lambda *a: of_linear(*a, f=2.0), linear, params, batch)
    assert report.first.name == "dW", str(report)


@pytest.mark.parametrize("n_of_X", [1.0, 1 / 6], ids=["dX without the mean", "dX with it"])
def test_the_gradient_of_an_input_may_lack_the_mean_too(n_of_X):
    report = check_gradients(lambda *a: of_linear(*a, over=1, n_of_X=n_of_X), linear, LINEAR, ROWS)
    assert report.findings == (), str(report)
    assert any("lack the 1/6 of the mean" in note for note in report.notes)


def test_a_value_that_the_reference_computes_in_float32():
    def in_torch(p, X, Y):
        Z = tap("Z", X @ p["W"] + p["b"])
        tap("share", (Z > Y).float().mean())
        return ((Z - Y) ** 2).sum() / (2 * len(X))

    def by_hand(p, X, Y, wrong=0.0):
        found = of_linear(p, X, Y)
        return {**found, "share": (found["Z"] > Y).mean() + wrong}

    assert check_gradients(by_hand, in_torch, LINEAR, ROWS).findings == ()
    assert check_gradients(lambda *a: by_hand(*a, wrong=1e-5), in_torch, LINEAR, ROWS).first.name == "share"


@pytest.mark.parametrize("Z", [None, "text", {"a": 1}, [[1.0], [2.0, 3.0]]], ids=str)
def test_a_tap_that_is_no_array_beside_a_wrong_one(Z):
    def in_torch(p, X, Y):
        A = tap("A", torch.tanh(tap("Z", X @ p["W"] + p["b"])))
        return ((A - Y) ** 2).sum()

    def by_hand(p, X, Y):
        A = np.tanh(X @ p["W"] + p["b"])
        dZ = 2 * (A - Y) * (1 - A * A)
        return {"Z": Z, "A": 1.5 * A, "dW": X.T @ dZ, "db": dZ.sum(0)}

    assert {f.name for f in check_gradients(by_hand, in_torch, LINEAR, ROWS).findings} >= {"Z", "A"}


def test_objects_that_cannot_be_printed():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

        __hash__ = Exception.__hash__

    def raising(p, X, Y):
        raise Mute

    assert "<Mute>" in check_gradients(raising, linear, LINEAR, ROWS).first.explanation
    assert check_gradients(lambda *a: {**of_linear(*a), Mute(): 1.0}, linear, LINEAR, ROWS).first.name == "<Mute>"


def test_whole_numbers_are_not_taken_for_a_derivation_in_float32():
    """Everything is exact in float32 too; what the derivation computes in shows where numbers are rounded."""
    w, X, y = (
        np.array([[1.0, -1.0, 2.0]]),
        np.array([[1.0, 0, 2, 1], [0, 1, 1, 2], [0, 2, 0, 1]]),
        np.array([[1.0, 1, -1, 1]]),
    )

    def hinge(p, X, y):
        return torch.relu(1 - y * (p["w"] @ X)).mean()

    def by_hand(kink):
        def derive(p, X, y):
            margin = 1 - y * (p["w"] @ X)
            active = (margin >= 0) if kink else (margin > 0)
            return {"J": np.maximum(margin, 0).mean(), "dw": (-y * active / y.size) @ X.T}

        return derive

    assert (1 - y * (w @ X) == 0).any()
    assert check_gradients(by_hand(False), hinge, {"w": w}, (X, y)).ok
    report = check_gradients(by_hand(True), hinge, {"w": w}, (X, y))
    assert (report.first.name, report.first.verdict) == ("dw", "FAULT"), str(report)
    assert not any("float32" in note for note in report.notes), report.notes


@pytest.mark.parametrize("precisions", [("float64", "float32"), ("float32",)])
def test_a_mask_that_is_wrong_where_it_matters_is_wrong_in_float32_too(precisions):
    x = np.array([1.0, 2.0, 0.5])

    def masked(p, x):
        M = tap("M", x > 1)
        return (p["w"] * x * M).sum()

    def derive(p, x):
        M = x >= 1
        return {"M": M, "J": (p["w"] * x * M).sum(), "dw": x * M}

    report = check_gradients(derive, masked, {"w": np.array([1.0, 2.0, 4.0])}, (x,), precisions=precisions)
    assert (report.first.name, report.first.verdict) == ("M", "FAULT"), str(report)


@pytest.mark.parametrize("factor", [1.001, 2.0])
def test_the_own_loss_is_asked_near_the_border_of_its_domain_and_never_of_nothing(factor):
    """log has no value a step of usual size below a parameter of 1e-6."""
    x = np.array([0.7, -1.3, 0.4])

    def logarithmic(p, x):
        return (x * torch.log(p["w"])).sum()

    def derive(p, x):
        return {"J": (x * np.log(p["w"])).sum(), "dw": factor * x / p["w"]}

    report = check_gradients(derive, logarithmic, {"w": np.array([1e-6, 2e-6, 3e-6])}, (x,))
    (note,) = (note for note in report.notes if note.startswith("Own loss"))
    assert "dw is not the gradient of the derivation's own J" in note


def test_of_a_loss_that_has_no_slope_anywhere_nothing_is_said():
    def derive(p):
        alone = float(p["w"][0]) in (1.0, float(np.float32(1.0)))
        return {"J": p["w"].sum() if alone else np.array(np.nan), "dw": np.full(1, 2.0)}

    report = check_gradients(derive, lambda p: p["w"].sum(), {"w": np.array([1.0])}, ())
    assert report.first.name == "dw"
    assert not any(note.startswith("Own loss") for note in report.notes), report.notes


def test_a_gradient_that_is_right_although_a_wrong_one_is_returned_before_it_is_no_culprit():
    """dW is computed from E, not from the 2 E that is returned as dE."""

    def reference(p, X):
        return (tap("E", X @ p["W"]) ** 2).sum() / 2

    def derive(factor):
        def derivation(p, X):
            E = X @ p["W"]
            return {"E": E, "J": (E**2).sum() / 2, "dE": 2 * E, "dW": factor * X.T @ E}

        return derivation

    params, batch = {"W": RNG.standard_normal((4, 3))}, (RNG.standard_normal((8, 4)),)
    assert [finding.name for finding in check_gradients(derive(1), reference, params, batch).findings] == ["dE"]
    also = check_gradients(derive(1.001), reference, params, batch)
    assert [finding.name for finding in also.findings] == ["dE", "dW"], "it is wrong itself as well"


def test_an_array_that_is_overwritten_after_it_was_returned_is_the_only_culprit():
    labels = np.array([0, 2, 1, 1])

    def reference(p, X, y):
        q = tap("q", torch.softmax(X @ p["W"], 1))
        return -torch.log(q[torch.arange(len(y)), y]).mean()

    def derivation(p, X, y):
        Z = X @ p["W"]
        q = np.exp(Z - Z.max(1, keepdims=True))
        q /= q.sum(1, keepdims=True)
        J = -np.log(q[np.arange(len(y)), y]).mean()
        dZ = q
        dZ[np.arange(len(y)), y] -= 1
        dZ /= len(y)
        return {"q": q, "J": J, "dW": X.T @ dZ}

    report = check_gradients(
        derivation, reference, {"W": RNG.standard_normal((5, 3))}, (RNG.standard_normal((4, 5)), labels)
    )
    assert [finding.name for finding in report.findings] == ["q"], str(report)


def bias_before_batch_norm(dtype, factor=1.0):
    """db is zero but for roundings, since the mean of each column of dZ is; dZ itself is not returned."""

    def derive(p, X, T):
        W, b, X, T = (a.astype(dtype or a.dtype) for a in (p["W"], p["b"], X, T))
        Z = X @ W + b
        spread = np.sqrt(Z.var(0) + 1e-5)
        xh = (Z - Z.mean(0)) / spread
        dZ = (T - T.mean(0) - factor * xh * (T * xh).mean(0)) / spread
        return {"J": (xh * T).sum(), "dW": X.T @ dZ, "db": dZ.sum(0) + (factor != 1)}

    return derive


def batch_normed(p, X, T):
    return (torch.nn.functional.batch_norm(X @ p["W"] + p["b"], None, None, training=True) * T).sum()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("dtype", "precisions"),
    [
        *product([None, np.float64], [("float32",), ("float64",), ("float64", "float32")]),
        *product([np.float32], [("float32",), ("float64", "float32")]),  # in float64 alone it is WEAK
    ],
)
def test_a_gradient_that_cancels_to_nothing_is_left_in_peace_in_one_precision_too(precisions, dtype, seed):
    r = np.random.default_rng(seed).standard_normal
    params, batch = {"W": r((4, 6)), "b": r(6)}, (r((9, 4)), r((9, 6)))
    report = check_gradients(bias_before_batch_norm(dtype), batch_normed, params, batch, precisions=precisions)
    assert report.findings == (), str(report)
    wrong = check_gradients(bias_before_batch_norm(dtype, 0.99), batch_normed, params, batch, precisions=precisions)
    assert {finding.name for finding in wrong.findings} == {"dW", "db"}, str(wrong)


UNUSUAL = {
    "a list of tensors": (
        [torch.ones(1, requires_grad=True)] * 4,
        "not a NumPy array of real numbers but of type list",
    ),
    "bfloat16": (torch.ones(4, 5, dtype=torch.bfloat16), "not a NumPy array of real numbers but of type Tensor"),
    "objects": (np.full((4, 5), None), "array of dtype object"),
}


@pytest.mark.parametrize(("value", "words"), UNUSUAL.values(), ids=UNUSUAL)
def test_what_numpy_cannot_hold_is_a_finding(value, words):
    report = check_gradients(lambda *given: {**derivation(*given), "dZ": value}, reference, PARAMS, BATCH)
    assert (report.first.name, report.first.verdict) == ("dZ", "MISSING")
    assert words in report.first.explanation


def test_a_mapping_that_raises_when_it_is_read_is_a_finding():
    class Broken(dict):
        def items(self):
            raise RuntimeError("not ready")

    report = check_gradients(lambda *given: Broken(derivation(*given)), reference, PARAMS, BATCH)
    assert (report.first.cause, "not ready" in report.first.explanation) == ("exception", True)


def test_an_empty_tap_says_nothing():
    def with_nothing(p, X, C):
        tap("Q", X[:0])
        return reference(p, X, C)

    report = check_gradients(lambda p, X, C: {**derivation(p, X, C), "Q": X[:0]}, with_nothing, PARAMS, BATCH)
    assert report.findings == ()
    report = check_gradients(lambda p, X, C: {**derivation(p, X, C), "Q": X}, with_nothing, PARAMS, BATCH)
    assert (report.first.name, report.first.cause) == ("Q", "shape")


def test_arguments_in_another_form_are_taken():
    swapped = {name: array.astype(">f8") for name, array in PARAMS.items()}
    labels = np.array([1, 0, 2, 1], dtype=">i4")
    report = check_gradients(
        lambda p, y: {"J": (p["w"] * y).sum(), "dw": y * 1.0},
        lambda p, y: (p["w"] * y).sum(),
        {"w": np.ones(4)},
        (labels,),
        precisions=iter(["float64"]),
    )
    assert report.findings == ()
    assert check_gradients(derivation, reference, swapped, BATCH).findings == ()


def test_the_own_loss_says_nothing_false_where_J_has_lost_its_digits():
    """log(1 - a) where a is 1 but for 1e-11."""

    def derive(p, X, y):
        a = 1 / (1 + np.exp(-X @ p["w"]))
        dz = (a - y) / len(y)
        J = -(y * np.log(a) + (1 - y) * np.log(1 - a)).mean()
        return {"J": J, "dw": X.T @ dz, "dX": 2 * np.outer(dz, p["w"])}

    def reference(p, X, y):
        return torch.nn.functional.binary_cross_entropy_with_logits(X @ p["w"], y)

    X = np.array([[1.0, 0.5], [-1.0, 1.0], [0.3, 2.0]])
    report = check_gradients(derive, reference, {"w": np.array([25.0, 1.0])}, (X, np.array([0.0, 1.0, 1.0])))
    assert [finding.name for finding in report.findings] == ["J", "dX"], str(report)
    assert not any("dw is not the gradient" in note for note in report.notes), report.notes


def test_the_own_loss_says_nothing_where_J_goes_in_steps_or_turns_within_one_of_its_differences():
    """log(1 - a) at z = 33 goes in steps of 0.03, and the inverse of a matrix that is singular but for 1e-6 turns."""

    def steps(p, X, y):
        a = 1 / (1 + np.exp(-X @ p["w"]))
        return {"J": -(y * np.log(a) + (1 - y) * np.log(1 - a)).sum(), "dw": X.T @ (a - y)}

    def logits(p, X, y):
        return torch.nn.functional.binary_cross_entropy_with_logits(X @ p["w"], y, reduction="sum")

    batch = np.array([[33.0, 0.0], [0.0, 1.0]]), np.array([0.0, 1.0])
    report = check_gradients(steps, logits, {"w": np.array([1.0, 0.5])}, batch)
    assert [finding.name for finding in report.findings] == ["J"], str(report)
    assert report.notes == ("Own loss: dw is the gradient of the derivation's own J (central differences, 1 entry).",)

    def inverse(p):
        return {"J": np.linalg.inv(p["A"]).sum(), "dA": np.zeros((2, 2))}

    A = np.array([[1.0, 1.0], [1.0, 1.0 + 1e-6]])
    report = check_gradients(inverse, lambda p: torch.linalg.inv(p["A"]).sum(), {"A": A}, ())
    assert report.first.name == "dA", str(report)
    assert not any(note.startswith("Own loss") for note in report.notes), report.notes


def test_an_entry_that_is_nan_says_nothing_of_the_others():
    def broken(*given):
        found = derivation(*given)
        dW = found["dW"].copy()
        dW[0, 0] = np.nan
        return {**found, "dW": dW}

    report = check_gradients(broken, reference, PARAMS, BATCH)
    assert (report.first.name, report.first.verdict) == ("dW", "NONFINITE")
    assert not any("dW is not the gradient" in note for note in report.notes), report.notes


def siamese(p, X, Y):
    return (tap("u", X @ p["W"]) * tap("v", Y @ p["W"])).sum()


def two_paths(p, X):
    m = tap("m", X @ p["W"])
    z = tap("z", m + 1)
    return (z**2).sum() / 2 + (m**2).sum()


def windows(p, X):
    return torch.sin(tap("Z", torch.nn.functional.conv1d(X[:, None], p["k"][None, None])[:, 0])).sum()


def siamese_by_hand(through_v):
    def derive(p, X, Y):
        u, v = X @ p["W"], Y @ p["W"]
        return {"u": u, "v": v, "J": (u * v).sum(), "du": v, "dv": u, "dW": X.T @ v + through_v * Y.T @ u}

    return derive


def two_paths_by_hand(p, X):
    m = X @ p["W"]
    z = m + 1
    return {"m": m, "z": z, "J": (z**2).sum() / 2 + (m**2).sum(), "dz": z, "dm": z, "dW": X.T @ z}


def windows_by_hand(p, X):
    Z = np.stack([X[:, t : t + 3] @ p["k"] for t in range(6)], 1)
    return {"Z": Z, "dZ": np.cos(Z), "dk": sum(X[:, t : t + 3].T @ np.cos(Z[:, t]) for t in range(5))}


PARTS = {
    "one of two uses, minus": (
        siamese_by_hand(-1),
        siamese,
        "dW",
        "in what comes through v alone, every entry has the",
    ),
    "one of two uses, twice": (
        siamese_by_hand(2),
        siamese,
        "dW",
        "in what comes through v alone, every entry is 2 times",
    ),
    "a second path": (two_paths_by_hand, two_paths, "dm", "it is dz itself: what comes through J is missing"),
    "a window": (windows_by_hand, windows, "dk", "of the sum over positions, position 5 (from 0) is left out"),
}


@pytest.mark.parametrize(("derive", "reference", "name", "words"), PARTS.values(), ids=PARTS)
def test_the_part_of_a_gradient_that_is_wrong_is_named(derive, reference, name, words):
    batch = (RNG.standard_normal((4, 8)), RNG.standard_normal((4, 8)))[: 2 if reference is siamese else 1]
    params = {"W": RNG.standard_normal((8, 3))} if reference is not windows else {"k": RNG.standard_normal(3)}
    first = check_gradients(derive, reference, params, batch).first
    assert first.name == name
    assert words in first.explanation, first.explanation


def test_a_factor_is_no_count_of_examples():
    """The third example is masked, so that it counts as often as one likes."""

    def masked(p, X, M):
        return (tap("E", X @ p["W"]) ** 2 * M).sum() / 2

    def derive(p, X, M):
        E = X @ p["W"]
        return {"E": E, "dE": E * M, "dW": 2 * X.T @ (E * M)}

    mask = np.array([1.0, 1, 0, 1, 1])[:, None]
    report = check_gradients(derive, masked, {"W": RNG.standard_normal((4, 3))}, (RNG.standard_normal((5, 4)), mask))
    assert report.first.cause == "scale"
    assert "dropped-example" not in report.first.explanation, report.first.explanation


def test_a_gradient_that_is_zero_in_torch_alone_is_no_blind_spot():
    report = check_gradients(
        lambda p, X: {"J": (p["w"] * X).sum(), "dw": X, "du": p["u"]},
        lambda p, X: (p["w"] * X).sum(),
        {"w": np.ones(3), "u": np.array([1.0, 2.0])},
        (np.array([1.0, -2.0, 3.0]),),
    )
    assert report.first.name == "du"
    assert not any("exactly zero on both sides" in text for text in report.blind_spots), report.blind_spots


def test_a_reference_that_computes_in_float32_is_told_from_a_derivation_that_loses_digits():
    def derive(cast):
        def derivation(p, X):
            E = X @ p["W"]
            E = E.astype(np.float32).astype(X.dtype) if cast else E
            return {"J": (E**2).sum() / 2, "dW": X.T @ E}

        return derivation

    def coarse(p, X):
        return ((X.float() @ p["W"].float()) ** 2).sum() / 2

    def fine(p, X):
        return ((X @ p["W"]) ** 2).sum() / 2

    params, batch = {"W": RNG.standard_normal((4, 3))}, (RNG.standard_normal((8, 4)),)
    for derivation, reference, told in ((derive(False), coarse, True), (derive(True), fine, False)):
        report = check_gradients(derivation, reference, params, batch)
        assert report.first.verdict == "WEAK"
        assert any("The reference computes in float32" in note for note in report.notes) == told, str(report)


@pytest.mark.parametrize(("z", "verdict"), [(14.2, None), (15.4, None), (16.4, "WEAK"), (18.5, "WEAK")])
@pytest.mark.parametrize("returned", [("dW1", "db1"), ("Z1", "A1", "dZ1", "dW1", "db1")], ids=["gradients", "all"])
def test_the_gradient_of_a_saturated_unit_is_no_fault_where_two_libraries_round_its_tanh(returned, z, verdict):
    """1 - A^2 is a few roundings of 1, and what NumPy and torch make of tanh may differ by one."""

    def derive(p, X, Y):
        Z1 = p["W1"] @ X + p["b1"]
        A1 = np.tanh(Z1)
        dZ1 = (A1 - Y) * (1 - A1 * A1)
        found = {"Z1": Z1, "A1": A1, "dZ1": dZ1, "dW1": dZ1 @ X.T, "db1": dZ1.sum(1, keepdims=True)}
        return {name: found[name] for name in returned}

    params = {"W1": np.zeros((1, 1)), "b1": np.full((1, 1), z)}
    batch = np.ones((1, 1)), np.zeros((1, 1))
    report = check_gradients(derive, mlp((1, 1), ("tanh",), "squared-error"), params, batch)
    assert report.ok, str(report)
    assert report.first is None or report.first.verdict == verdict, str(report)
    awake = {**params, "b1": np.full((1, 1), 3.0)}
    larger = lambda *given: {n: 1.5 * a if n == "db1" else a for n, a in derive(*given).items()}  # noqa: E731
    wrong = check_gradients(larger, mlp((1, 1), ("tanh",), "squared-error"), awake, batch)
    assert wrong.first.name == "db1"


def test_a_small_mistake_on_whole_numbers_is_found():
    rng = np.random.default_rng(4)
    params = {"W": rng.integers(-3, 4, (4, 3)) * 1.0}
    batch = (rng.integers(-3, 4, (8, 4)) * 1.0,)
    report = check_gradients(
        lambda p, X: {"J": ((X @ p["W"]) ** 2).sum() / 2, "dW": X.T @ (X @ p["W"]) * np.asarray(1 + 2**-13, X.dtype)},
        lambda p, X: ((X @ p["W"]) ** 2).sum() / 2,
        params,
        batch,
    )
    assert (report.first.name, report.first.verdict) == ("dW", "FAULT"), str(report)
    assert not any("float32" in note for note in report.notes), report.notes
