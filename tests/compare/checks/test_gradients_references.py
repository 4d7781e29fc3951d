"""What a torch reference may do, and what it is refused for: taps on anything, gradients inside, masks, integers."""

import sys

import numpy as np
import pytest
import torch

from handgrad import InputError, check_gradients, tap
from handgrad.compare.facts.causes import Examples, Scaled, WrongSign
from handgrad.compare.facts.edits import MissingTerm
from handgrad.compare.facts.failures import WrongShape
from tests.corpus.layers import TANH, Layer

RNG = np.random.default_rng(8)


def names_of(report):
    return [finding.where.name for finding in report.findings]


# --- taps on anything


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("left_out", [(), ("dX",), ("Z", "dZ", "A0", "dX")], ids=" ".join)
def test_the_gradient_of_a_tap_on_data_is_judged(times, left_out):
    """No parameter is in it; its gradient is the input's own, times what was done to it."""

    def of_data(p, X, C):
        return TANH.reference(p, tap("A0", times * X), C)

    def by_hand(p, X, C):
        records = TANH.derivation(p, times * X, C)
        return {**records, "A0": times * X, "dX": times * records["dX"], "dA0": records["dX"]}

    layer = Layer(by_hand, of_data, TANH.params, TANH.batch).without(*left_out)
    report = check_gradients(*layer)
    assert (report.findings, report.notes) == ((), ()), str(report)
    assert check_gradients(*layer.scaled("dA0", 1.001)).first.where.name == "dA0"


def test_an_empty_tap_says_nothing():
    def with_nothing(p, X, C):
        tap("Q", X[:0])
        return TANH.reference(p, X, C)

    layer = TANH._replace(reference=with_nothing)
    X, _ = TANH.batch
    assert check_gradients(*layer.returning(Q=lambda _: X[:0])).findings == ()
    (finding,) = check_gradients(*layer.returning(Q=lambda _: X)).findings
    assert (finding.where.name, finding.cause) == ("Q", WrongShape((3, 6), (0, 6)))


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

    layer = Layer(by_hand, in_torch, TANH.params, TANH.batch)
    assert check_gradients(*layer).findings == ()
    assert check_gradients(*layer.returning(m=lambda records: ~records["m"])).first.where.name == "m"
    assert check_gradients(*layer.returning(i=lambda records: records["i"] + 1)).first.where.name == "i"


def test_a_complex_intermediate_that_is_not_returned_does_no_harm(recwarn):
    def derivation(p, x):
        spectrum = np.fft.fft(p["w"] * x)
        return {"J": (abs(spectrum) ** 2).sum(), "dw": 2 * len(x) * p["w"] * x * x}

    def reference(p, x):
        return (tap("spectrum", torch.fft.fft(p["w"] * x)).abs() ** 2).sum()

    layer = Layer(derivation, reference, {"w": RNG.standard_normal(6)}, (RNG.standard_normal(6),))
    assert check_gradients(*layer).findings == ()
    assert check_gradients(*layer.returning(dw=lambda _: layer.params["w"])).first.where.name == "dw"
    assert not recwarn.list


def test_masked_scores_are_infinite_on_both_sides_and_no_overflow():
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

    mask = np.triu(np.ones((4, 4), bool), 1)
    rest = in_torch, {"W": TANH.params["W"]}, (RNG.standard_normal((3, 4)), mask)
    assert check_gradients(by_hand, *rest).findings == ()
    assert names_of(check_gradients(lambda *given: by_hand(*given, wrong=1.001), *rest)) == ["dP"]
    unmasked = check_gradients(lambda p, X, M: by_hand(p, X, M & False), *rest)
    assert unmasked.first.where.name == "S"


def test_integer_inputs_pass_unchanged_and_have_no_gradient():
    def in_torch(p, index):
        return (p["E"][index] ** 2).sum()

    def by_hand(p, index):
        assert index.dtype.kind == "i"
        dE = np.zeros_like(p["E"])
        np.add.at(dE, index, 2 * p["E"][index])
        return {"dE": dE, "J": (p["E"][index] ** 2).sum()}

    assert check_gradients(by_hand, in_torch, {"E": TANH.params["W"]}, (np.array([0, 2, 2]),)).findings == ()


# --- references that ask autograd themselves


def test_a_reference_may_ask_autograd_for_a_gradient_itself():
    """Where a gradient is recorded the replay cuts the graph; here it has to do without."""

    def penalised(p, X, C):
        J = TANH.reference(p, X, C)
        (G,) = torch.autograd.grad(J, p["W"], retain_graph=True)
        tap("G", G)
        return J

    layer = TANH._replace(reference=penalised).returning(G=lambda records: records["dW"])
    report = check_gradients(*layer)
    assert report.findings == (), str(report)
    assert names_of(check_gradients(*layer.scaled("G", 2)))[0] == "G"


def gradient_penalty(p, X):
    X = X.clone().requires_grad_()
    Z = tap("Z", X @ p["W"])
    (g,) = torch.autograd.grad((torch.tanh(Z) @ p["v"]).sum(), X, create_graph=True)
    return (g**2).sum()


def gradient_penalty_by_hand(p, X):
    A = np.tanh(X @ p["W"])
    s = 1 - A**2
    g = (s * p["v"]) @ p["W"].T
    u = 2 * g @ p["W"]
    dZ = u * p["v"] * -2 * A * s
    dW = 2 * g.T @ (s * p["v"]) + X.T @ dZ
    return {"Z": X @ p["W"], "J": (g**2).sum(), "dZ": dZ, "dW": dW, "dv": (u * s).sum(0)}


@pytest.mark.parametrize("wrong", ["", "dZ", "dv", "J"])
def test_a_reference_may_differentiate_through_its_own_taps(wrong):
    """What it finds there leads round the tap, so that no record can stand in it: it is compared end to end."""
    params, batch = {"W": RNG.standard_normal((4, 3)), "v": RNG.standard_normal(3)}, (RNG.standard_normal((8, 4)),)
    layer = Layer(gradient_penalty_by_hand, gradient_penalty, params, batch)
    report = check_gradients(*(layer.scaled(wrong, 1.001) if wrong else layer))
    assert names_of(report) == ([wrong] if wrong else []), str(report)


def calling_backward(**options):
    def reference(p, X):
        J = (tap("E", X @ p["W"]) ** 2).sum() / 2
        J.backward(**options)
        return J

    return reference


def squared(p, X):
    E = X @ p["W"]
    return {"E": E, "J": (E**2).sum() / 2, "dE": E, "dW": X.T @ E}


def test_a_reference_that_calls_backward_itself_is_checked_or_told_so():
    params, batch = {"W": RNG.standard_normal((4, 3))}, (RNG.standard_normal((8, 4)),)
    report = check_gradients(squared, calling_backward(retain_graph=True), params, batch)
    assert report.findings == (), str(report)
    assert all(row.max_abs_diff < 1e-12 for row in report.rows), str(report)
    with pytest.raises(InputError, match=r"must leave backward\(\) to the check"):
        check_gradients(squared, calling_backward(), params, batch)


# --- the part of a gradient that is wrong


def siamese(p, X, Y):
    return (tap("u", X @ p["W"]) * tap("v", Y @ p["W"])).sum()


def siamese_by_hand(through_v):
    def derive(p, X, Y):
        u, v = X @ p["W"], Y @ p["W"]
        return {"u": u, "v": v, "J": (u * v).sum(), "du": v, "dv": u, "dW": X.T @ v + through_v * Y.T @ u}

    return derive


def two_paths(p, X, Y):
    m = tap("m", X @ p["W"])
    z = tap("z", m + 1)
    return (z**2).sum() / 2 + (m**2).sum()


def two_paths_by_hand(p, X, Y):
    m = X @ p["W"]
    z = m + 1
    return {"m": m, "z": z, "J": (z**2).sum() / 2 + (m**2).sum(), "dz": z, "dm": z, "dW": X.T @ z}


def windows(p, X, Y):
    return torch.sin(tap("Z", torch.nn.functional.conv1d(X[:, None], p["W"][:3, 0][None, None])[:, 0])).sum()


def windows_by_hand(p, X, Y):
    k = p["W"][:3, 0]
    Z = np.stack([X[:, t : t + 3] @ k for t in range(6)], 1)
    dk = sum(X[:, t : t + 3].T @ np.cos(Z[:, t]) for t in range(5))
    dW = np.zeros_like(p["W"])
    dW[:3, 0] = dk
    return {"Z": Z, "dZ": np.cos(Z), "dW": dW}


PARTS = {
    "one of two uses, minus": (siamese_by_hand(-1), siamese, "dW", WrongSign("v")),
    "one of two uses, twice": (siamese_by_hand(2), siamese, "dW", Scaled(2.0, part="v")),
    "a second path": (two_paths_by_hand, two_paths, "dm", MissingTerm(("+ m * 2",), "m * 2 + dz")),
    "a window": (windows_by_hand, windows, "dW", Examples((5,), (), positions=True)),
}


@pytest.mark.parametrize(("derive", "in_torch", "name", "cause"), PARTS.values(), ids=PARTS)
def test_the_part_of_a_gradient_that_is_wrong_is_named(derive, in_torch, name, cause):
    rng = np.random.default_rng(8)
    batch = (rng.standard_normal((4, 8)), rng.standard_normal((4, 8)))
    first = check_gradients(derive, in_torch, {"W": rng.standard_normal((8, 3))}, batch).first
    assert (first.where.name, first.cause) == (name, cause)


def test_a_factor_is_no_count_of_examples():
    """The third example is masked, so that it counts as often as one likes."""

    def masked(p, X, M):
        return (tap("E", X @ p["W"]) ** 2 * M).sum() / 2

    def derive(p, X, M):
        E = X @ p["W"]
        return {"E": E, "dE": E * M, "dW": 2 * X.T @ (E * M)}

    mask = np.array([1.0, 1, 0, 1, 1])[:, None]
    batch = (RNG.standard_normal((5, 4)), mask)
    first = check_gradients(derive, masked, {"W": RNG.standard_normal((4, 3))}, batch).first
    assert (first.cause, first.others) == (Scaled(2.0), ())


# --- what is refused


def blind(p, X, C):
    with torch.no_grad():
        return TANH.reference(p, X, C)


def noisy(p, X, C):
    tap("S", torch.rand(3))
    return TANH.reference(p, X, C)


def writing_through_a_view(p, X, C):
    A = torch.tanh(p["W"] @ X + p["b"])
    tap("first", A[:1]).mul_(2)
    return (C * A).sum() / 3


REFUSED = {
    "no_grad": (blind, "J depends on no parameter"),
    "detach": (lambda *given: TANH.reference(*given).detach(), "J depends on no parameter"),
    "zero times": (lambda p, X, C: p["W"].detach().sum() * 0, "J depends on no parameter"),
    "raises": (lambda p, X, C: p["V"].sum(), r"KeyError in \S*test_gradients_references.py line \d+: 'V'"),
    "exits": (lambda *_: sys.exit(0), r"SystemExit in \S*test_gradients_references.py line \d+"),
    "random": (lambda p, X, C: (p["W"] * torch.rand(4, 3)).sum(), "must be repeatable"),
    "a tap of a number": (lambda *given: tap("n", 5) * TANH.reference(*given), "hand it the tensor"),
    "a tap named like a gradient": (lambda *given: tap("dZ", TANH.reference(*given)), "give it another name"),
    "J is complex": (lambda *given: TANH.reference(*given).to(torch.complex128), "must return the scalar J"),
    "J is no scalar": (lambda p, X, C: p["W"] @ X, "must return the scalar J"),
    "J is no tensor": (lambda p, X, C: 1.0, "must return the scalar J"),
    "changes its input": (lambda p, X, C: (p["W"] @ X * C.mul_(2)).sum(), "changes C in place"),
    "writes through a tapped view": (writing_through_a_view, "write into none of which a tap is a view"),
}


@pytest.mark.parametrize(("reference", "words"), REFUSED.values(), ids=REFUSED)
def test_a_reference_that_cannot_be_used_is_refused_in_one_line(reference, words):
    with pytest.raises(InputError, match=words) as caught:
        check_gradients(TANH.derivation, reference, TANH.params, TANH.batch)
    assert "\n" not in str(caught.value)


def test_a_reference_that_draws_beside_J_is_refused_where_what_is_drawn_is_returned():
    with pytest.raises(InputError, match="two answers for S"):
        check_gradients(*TANH._replace(reference=noisy).returning(S=lambda _: np.ones(3)))


@pytest.mark.parametrize("name", ["", 3, None, "W", "J", "dW"], ids=repr)
def test_a_tap_needs_a_name_of_its_own(name):
    with pytest.raises(InputError, match="a name of its own"):
        check_gradients(
            TANH.derivation, lambda p, X, C: (C * tap(name, p["W"] @ X + p["b"])).sum(), TANH.params, TANH.batch
        )
