"""Factors, signs and forms of what is returned: a convention if what is computed from it undoes it, else a fault."""

from functools import partial

import numpy as np
import pytest
import torch

from handgrad import check_gradients, tap
from handgrad.compare.facts.causes import Scaled, WrongSign
from handgrad.compare.facts.remarks import MeanLeftOut, Undone
from handgrad.compare.facts.updates import Reversed
from handgrad.compare.pipeline import records
from handgrad.compare.pipeline.conventions import is_mean
from handgrad.compare.pipeline.evidence import Evidence
from handgrad.compare.pipeline.problem import problem_of
from tests.corpus.layers import CLASSIC, LINEAR, TANH, Layer, classic, linear

OF_SIX = MeanLeftOut("6")


def is_read_as_a_convention(report):
    return any(isinstance(note, (MeanLeftOut, Undone)) for note in report.notes)


def test_dZ_without_the_mean_is_a_note():
    report = check_gradients(*CLASSIC)
    assert (report.findings, report.notes) == ((), (OF_SIX,)), str(report)


# --- a mistake beside it

IN_THE_CLASSIC = {  # what is wrong, and the cause; a factor of two entries is known but not named
    "dW2": (lambda dW2: 1.5 * dW2, (Scaled, 1.5)),
    "dA1": (lambda dA1: 1.005 * dA1, (Scaled, 1.005)),
    "dW1": (lambda dW1: dW1[::-1], (Reversed, None)),
    "db1": (lambda db1: -db1, (WrongSign, -1.0)),
}


@pytest.mark.parametrize("name", IN_THE_CLASSIC)
def test_a_mistake_beside_dZ_without_the_mean_is_the_only_finding(name):
    change, (kind, factor) = IN_THE_CLASSIC[name]
    report = check_gradients(*CLASSIC.returning(**{name: lambda records: change(records[name])}))
    (finding,) = report.findings
    assert (finding.where.name, type(finding.cause)) == (name, kind), str(report)
    assert finding.factor == (factor and pytest.approx(factor))
    assert report.notes[0] == OF_SIX


def test_of_two_entries_the_factor_is_named():
    report = check_gradients(*CLASSIC.scaled("db2", 6))
    (finding,) = report.findings
    assert (finding.where.name, finding.cause.code, finding.factor) == ("db2", "scale", 6.0)
    assert report.notes[0] == OF_SIX


@pytest.mark.parametrize("factor", [1.001, 0.999, 6.0])
def test_a_weight_gradient_a_little_or_much_off_is_named_where_dZ_has_no_mean(factor):
    layer = LINEAR._replace(derivation=partial(linear, over=1)).scaled("dW", factor)
    (finding,) = check_gradients(*layer).findings
    assert (finding.where.name, type(finding.cause)) == ("dW", Scaled)
    assert finding.factor == pytest.approx(factor)


@pytest.mark.parametrize("factor", [1.0, 1 / 6], ids=["dX without the mean", "dX with it"])
def test_the_gradient_of_an_input_may_lack_the_mean_too(factor):
    report = check_gradients(*LINEAR._replace(derivation=partial(linear, over=1)).scaled("dX", factor))
    assert (report.findings, report.notes) == ((), (OF_SIX,)), str(report)


# --- any factor, sign and form


def halved(p, X, Y, half=0.5, back=2.0):
    """J = sum S Y, S = A^2, A = w X; dS is returned `half` as large, and dA is `back` times what follows from it."""
    A = p["w"] @ X
    S = A**2
    dS = half * Y
    dA = back * (2 * A * dS)
    return {"A": A, "S": S, "J": (S * Y).sum(), "dS": dS, "dA": dA, "dw": dA @ X.T}


def halved_in_torch(p, X, Y):
    return (tap("S", tap("A", p["w"] @ X) ** 2) * Y).sum()


RNG = np.random.default_rng(14)
HALVED = Layer(
    halved,
    halved_in_torch,
    {"w": RNG.standard_normal((4, 4))},
    (RNG.standard_normal((4, 4)), RNG.standard_normal((4, 4))),
)


@pytest.mark.parametrize("half", [0.5, -1.0, 3.0, -1 / 7, np.pi, 1e3])
def test_a_factor_that_its_consumer_undoes_is_a_note(half):
    report = check_gradients(*HALVED._replace(derivation=partial(halved, half=half, back=1 / half)))
    assert report.findings == (), str(report)
    (note,) = report.notes
    assert (type(note), note.tensors, note.by, note.form) == (Undone, ("dS",), ("dA",), "")
    assert note.factor == pytest.approx(half)


@pytest.mark.parametrize("half", [0.5, -1.0, 3.0, 1 + 1e-9])
@pytest.mark.parametrize("back", [1.0, np.pi], ids=["not undone", "undone by another"])
def test_a_factor_that_nothing_undoes_is_a_fault(half, back):
    report = check_gradients(*HALVED._replace(derivation=partial(halved, half=half, back=back)))
    assert report.first.where.name == "dS"
    assert not is_read_as_a_convention(report)


@pytest.mark.parametrize("factor", [1.000001, 0.995, 1 + 1e-9])
def test_a_factor_next_to_one_is_no_convention_also_where_it_is_undone(factor):
    report = check_gradients(*HALVED._replace(derivation=partial(halved, half=factor, back=1 / factor)))
    assert report.first.where.name == "dS"
    assert not is_read_as_a_convention(report)


def test_one_entry_off_beside_a_factor_that_is_undone_is_a_fault():
    def off(records):
        dS = records["dS"].copy()
        dS[1, 2] *= 1 + 1e-6
        return dS

    assert check_gradients(*HALVED.returning(dS=off)).first.where.name == "dS"


UNDONE = {  # what is returned, and the note
    "a gradient transposed": ("dA", np.transpose, Undone(("dA",), ("dw",), form="transposed")),
    "a value transposed": ("S", np.transpose, Undone(("S",), ("J",), form="transposed")),
    "a value of the other sign": ("A", np.negative, Undone(("A",), ("dA",), -1.0)),
    "a value doubled": ("S", partial(np.multiply, 2.0), Undone(("S",), ("J",), 2.0)),
    "a gradient packed": ("dA", np.ravel, Undone(("dA",), ("dw",), form="packed")),
}


@pytest.mark.parametrize(("name", "change", "note"), UNDONE.values(), ids=UNDONE)
def test_another_form_of_what_is_returned_is_a_note(name, change, note):
    right = HALVED._replace(derivation=partial(halved, half=1.0, back=1.0))
    report = check_gradients(*right.returning(**{name: lambda records: change(records[name])}))
    assert report.findings == (), str(report)
    assert report.notes == (note,)


def test_a_form_and_a_factor_at_once_are_one_note():
    report = check_gradients(*HALVED.returning(dS=lambda records: records["dS"].T))
    assert (report.findings, report.notes) == ((), (Undone(("dS",), ("dA",), 0.5, "transposed"),)), str(report)


def test_a_value_that_nothing_recorded_is_computed_from_is_no_convention():
    layer = TANH._replace(reference=lambda p, X, C: tap("Q", 3 * X).sum() * 0 + TANH.reference(p, X, C))
    report = check_gradients(*layer.returning(Q=lambda _: 6 * layer.batch[0]))
    assert [finding.where.name for finding in report.findings] == ["Q"], str(report)


def test_right_code_needs_no_replay_and_wrong_code_is_judged_a_few_times(monkeypatch):
    """However many tensors are wrong."""
    judged = []
    once = records.judge_step
    monkeypatch.setattr(records, "judge_step", lambda *given: judged.append(given) or once(*given))
    right = HALVED._replace(derivation=partial(halved, half=1.0, back=1.0))
    assert check_gradients(*right).ok
    assert judged == []
    assert not check_gradients(*right.scaled("dw", 2)).ok
    assert len(judged) == 1, "what was asked for is read as it is"
    many = right
    for name in ("A", "S", "dS", "dA", "dw"):
        many = many.returning(**{name: partial(lambda records, name: -3 * records[name].T, name=name)})
    assert not check_gradients(*many).ok
    assert len(judged) <= 6


def test_of_a_scalar_only_a_simple_factor_is_a_convention():
    """Every number is a multiple of another."""

    def derive(p, X, Y, times):
        s = (p["w"] * X).sum()
        return {"s": s, "J": s**2, "ds": times * 2 * s, "dw": 2 * s * X}

    def reference(p, X, Y):
        return tap("s", (p["w"] * X).sum()) ** 2

    for times, is_convention in ((0.5, True), (0.51234, False)):
        report = check_gradients(*HALVED._replace(derivation=partial(derive, times=times), reference=reference))
        assert is_read_as_a_convention(report) == is_convention == report.ok, str(report)


# --- no convention


def test_one_gradient_that_lacks_the_mean_among_others_that_have_it_is_undone_by_these():
    report = check_gradients(*CLASSIC.scaled("dA1", 1 / 6).scaled("dZ1", 1 / 6))
    assert (report.findings, report.notes) == ((), (Undone(("dZ2",), ("db2", "dW2", "dA1"), 6.0),)), str(report)


@pytest.mark.parametrize("rest", [("dW2", "db2", "dW1", "db1"), ("dW2", "db2", "dW1")], ids=" ".join)
def test_a_mean_that_is_left_out_everywhere_is_no_convention(rest):
    """With dW and db in the same way too large, or all but one of them, it is dZ2 that is wrong."""
    layer = CLASSIC
    for name in rest:
        layer = layer.scaled(name, 6)
    report = check_gradients(*layer)
    first = report.first
    assert (first.where.name, type(first.cause), first.factor) == ("dZ2", Scaled, 6.0), str(report)
    assert not is_read_as_a_convention(report)


def batch_norm(p, X, G):
    spread = np.sqrt(X.var(0) + 1e-5)
    xh = (X - X.mean(0)) / spread
    dxh = G * p["gamma"]
    dX = (dxh - dxh.mean(0) - xh * (dxh * xh).mean(0)) / spread
    J = ((xh * p["gamma"] + p["beta"]) * G).sum()
    return {"J": J, "dgamma": (G * xh).sum(0), "dbeta": G.sum(0), "dX": dX}


@pytest.mark.parametrize("reduced", [torch.sum, torch.mean])
@pytest.mark.parametrize("factor", [5, 8, 40], ids=str)
def test_an_input_gradient_alone_is_no_convention(factor, reduced):
    """The 1/n forgotten in batch normalisation: too large by the number of examples, of features, or both."""
    rng = np.random.default_rng(8)
    over = 1 if reduced is torch.sum else 40

    def reference(p, X, G):
        return reduced(torch.nn.functional.batch_norm(X, None, None, p["gamma"], p["beta"], training=True) * G)

    def derive(p, X, G):
        return {name: value / over for name, value in batch_norm(p, X, G).items()}

    params = {"gamma": rng.uniform(0.5, 2, 5), "beta": rng.standard_normal(5)}
    layer = Layer(derive, reference, params, (rng.standard_normal((8, 5)), rng.standard_normal((8, 5))))
    first = check_gradients(*layer.scaled("dX", factor)).first
    assert (first.where.name, type(first.cause)) == ("dX", Scaled)
    assert first.factor == pytest.approx(factor)


def squared(over):
    """J is the sum over examples of a sum over outputs, divided by `over` of X; dZ and dW with the same."""
    rng = np.random.default_rng(8)

    def reference(p, X, Y):
        return ((tap("Z", X @ p["W"]) - Y) ** 2).sum() / 2 / over(X)

    def derive(p, X, Y):
        E = X @ p["W"] - Y
        return {"Z": E + Y, "dZ": E / over(X), "dW": X.T @ E / over(X)}

    batch = (rng.standard_normal((8, 4)), rng.standard_normal((8, 3)))
    return Layer(derive, reference, {"W": rng.standard_normal((4, 3))}, batch)


@pytest.mark.parametrize("size", [3, 4, 8, 32])
def test_only_the_number_of_examples_of_a_mean_is_that_of_a_mean(size):
    """X is (8, 4), Y (8, 3), J the mean over 8 examples of a sum over 3 outputs; dZ lacks another size than 8."""
    report = check_gradients(*squared(len).scaled("dZ", size))
    note = MeanLeftOut("8") if size == 8 else Undone(("dZ",), ("dW",), float(size))
    assert (report.findings, report.notes) == ((), (note,)), str(report)


@pytest.mark.parametrize("over", [lambda _: 1, lambda _: 8], ids=["1", "8, whatever the batch"])
def test_where_J_is_a_sum_no_mean_is_left_out(over):
    """dZ is too large by the number of examples, and dW is computed from the right one."""
    report = check_gradients(*squared(over).scaled("dZ", 8))
    assert (report.findings, report.notes) == ((), (Undone(("dZ",), ("dW",), 8.0),)), str(report)


HALF = {
    "1/n in one hidden dZ": ({"extra": 1 / 6}, "dZ1"),
    "a millionth off": ({"extra": 1 + 1e-6}, "dZ1"),
    "no mean at all in layer 1": ({"late": 1}, "dA1"),
}


@pytest.mark.parametrize(("half", "name"), HALF.values(), ids=HALF)
def test_half_a_convention_is_a_fault(half, name):
    """The reading with fewer wrong equations is told: one dZ, or the dA1 from where on nothing has the mean."""
    report = check_gradients(partial(classic, **half), *CLASSIC[1:])
    assert (report.first.where.name, report.first.verdict) == (name, "FAULT"), str(report)
    assert is_read_as_a_convention(report)
    assert len(report.findings) == 1


# --- a mean


def is_mean_of(reference, size):
    params, batch = CLASSIC.params, CLASSIC.batch
    problem = problem_of(reference, params, batch, ("float64",))
    J = reference({name: torch.tensor(array) for name, array in params.items()}, *map(torch.tensor, batch))
    return is_mean(Evidence(problem.reference, problem.params, problem.batch, {}), J.numpy(), size)


def of_its_own(p, X, Y):
    return ((X**2).sum() + (Y**2).sum()) * p["W1"].sum() / X.shape[1]


def summed(p, X, Y):
    return of_its_own(p, X, Y) * X.shape[1]


def fixed(p, X, Y):
    return of_its_own(p, X.reshape(3, 6), Y)


MEANS = {
    "of six": (of_its_own, 6, True),
    "of twelve, which six divides": (of_its_own, 12, True),
    "of five": (of_its_own, 5, False),
    "a sum": (summed, 6, False),
    "of an axis that may not be longer": (fixed, 6, False),
}


@pytest.mark.parametrize(("reference", "size", "is_one"), MEANS.values(), ids=MEANS)
def test_a_mean_is_the_same_of_every_example_twice(reference, size, is_one):
    assert is_mean_of(reference, size) == is_one
