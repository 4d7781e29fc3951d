"""Whether a gradient is that of the derivation's own J."""

import numpy as np
import pytest

from handgrad.compare.checks.own_loss import MOST, NUMBERS, own_loss_notes, parameters_asked
from handgrad.compare.facts.remarks import OwnLossDiffers, OwnLossKinks

rng = np.random.default_rng(0)
PARAMS = {"W": rng.standard_normal((3, 4)), "b": rng.standard_normal((3, 1))}
BATCH = {"X": rng.standard_normal((4, 6)), "C": rng.standard_normal((3, 6))}


def squares(p, X, C):
    n = X.shape[1]
    D = p["W"] @ X + p["b"] - C
    return {"J": (D**2).sum() / (2 * n), "dW": D @ X.T / n, "db": D.sum(1, keepdims=True) / n}


def notes_of(derivation, params=PARAMS, batch=BATCH, doubted=None):
    """Of all parameters, torch's gradients being 0, unless those in doubt are given."""
    records = derivation({name: array.copy() for name, array in params.items()}, *batch.values())
    kept = {name: np.asarray(value) for name, value in records.items()}
    zero = {name: np.zeros(array.shape) for name, array in params.items()}
    return own_loss_notes(derivation, params, batch, kept, zero if doubted is None else doubted)


def test_of_right_gradients_nothing_is_said():
    assert notes_of(squares) == []


def test_a_wrong_gradient_is_named_with_its_worst_entry():
    def summed(p, X, C):
        return {**squares(p, X, C), "dW": 6 * squares(p, X, C)["dW"]}

    (differs,) = notes_of(summed)
    assert isinstance(differs, OwnLossDiffers)
    assert differs.gradient == "dW"
    assert differs.returned == pytest.approx(6 * differs.difference, rel=1e-6)
    assert abs(differs.returned / 6 - differs.difference) <= differs.error < 1e-6 * abs(differs.difference)
    assert differs.size == 12
    assert notes_of(summed, doubted={"b": np.zeros((3, 1))}) == []
    assert notes_of(summed, doubted={}) == []


@pytest.mark.parametrize(("off", "is_told"), [(5e-8, False), (1e-6, True)])
def test_a_share_of_a_gradient_that_slopes_do_not_tell_is_no_mistake(off, is_told):
    def rounded(p, X, C):
        records = squares(p, X, C)
        return {**records, "dW": records["dW"] + off * np.abs(records["dW"]).max()}

    assert [note.gradient for note in notes_of(rounded)] == ["dW"] * is_told


@pytest.mark.parametrize("row", range(3))
def test_the_entry_that_differs_most_is_asked(row):
    def one_off(p, X, C):
        records = squares(p, X, C)
        records["dW"][row, 1] *= -1
        return records

    (note,) = notes_of(one_off, doubted={"W": squares(PARAMS, *BATCH.values())["dW"]})
    assert (note.gradient, note.index) == ("dW", (row, 1))


@pytest.mark.parametrize("factor", [1.001, 2.0])
def test_near_the_border_of_its_domain_the_loss_is_asked_closely(factor):
    """log has no value a step of usual size below a parameter of 1e-6."""

    def derive(p, x):
        return {"J": (x * np.log(p["w"])).sum(), "dw": factor * x / p["w"]}

    (note,) = notes_of(derive, {"w": np.array([1e-6, 2e-6, 3e-6])}, {"x": np.array([0.7, -1.3, 0.4])})
    assert (type(note), note.gradient) == (OwnLossDiffers, "dw")


def test_an_entry_at_a_kink_is_left_out_and_named():
    def kinked(p, x):
        return {"J": np.abs(p["w"] * x).sum() + 1.0, "dw": np.sign(p["w"]) * np.abs(x)}

    off = {"w": np.array([5.0, 1.0, -1.0])}
    notes = notes_of(kinked, {"w": np.array([0.0, 1.0, -2.0])}, {"x": np.ones(3)}, off)
    assert notes == [OwnLossKinks("w", ((0,),))]


def test_where_J_goes_in_steps_only_what_is_sure_is_counted():
    """log(1 - a) at z = 33 goes in steps of 0.03, along the first parameter."""

    def steps(p, X, y):
        a = 1 / (1 + np.exp(-X @ p["w"]))
        return {"J": -(y * np.log(a) + (1 - y) * np.log(1 - a)).sum(), "dw": 2 * X.T @ (a - y)}

    batch = {"X": np.array([[33.0, 0.0], [0.0, 1.0]]), "y": np.array([0.0, 1.0])}
    for off, indices in (([1.0, 0.0], []), ([0.0, 1.0], [(1,)])):
        w = np.array([1.0, 0.5])
        doubted = {"w": steps({"w": w}, *batch.values())["dw"] + np.array(off)}
        assert [note.index for note in notes_of(steps, {"w": w}, batch, doubted)] == indices


def inverse(p):
    return {"J": np.linalg.inv(p["A"]).sum(), "dA": np.zeros((2, 2))}


def without_slope(p):
    return {"J": p["w"].sum() if p["w"][0] == 1 else np.array(np.nan), "dw": np.full(1, 2.0)}


NOTHING = {
    "a J that turns within one difference": (inverse, {"A": np.array([[1.0, 1.0], [1.0, 1.0 + 1e-6]])}),
    "a J without a slope anywhere": (without_slope, {"w": np.array([1.0])}),
    "no J": (lambda p: {"dw": p["w"]}, {"w": np.ones(1)}),
    "a J of two entries": (lambda p: {"J": p["w"], "dw": np.ones(2)}, {"w": np.ones(2)}),
    "a J in float32": (lambda p: {"J": np.float32(p["w"].sum()), "dw": np.ones(2)}, {"w": np.ones(2)}),
    "a J that is nan": (lambda p: {"J": np.nan, "dw": np.ones(2)}, {"w": np.ones(2)}),
    "a gradient of another shape": (lambda p: {"J": p["w"].sum(), "dw": np.ones(3)}, {"w": np.ones(2)}),
    "whole numbers": (lambda p: {"J": p["w"].sum(), "dw": np.ones(2, int)}, {"w": np.ones(2)}),
    "a gradient that is nan": (lambda p: {"J": p["w"].sum(), "dw": np.full(2, np.nan)}, {"w": np.ones(2)}),
}


@pytest.mark.parametrize(("derivation", "params"), NOTHING.values(), ids=NOTHING)
def test_where_nothing_is_sure_nothing_is_said(derivation, params):
    assert notes_of(derivation, params, {}) == []


def test_without_records_nothing_is_said():
    assert own_loss_notes(squares, PARAMS, BATCH, {}, {"W": np.zeros((3, 4))}) == []


def test_of_many_parameters_the_first_are_asked():
    params = {f"w{i}": rng.standard_normal(8) for i in range(30)}

    def derive(p):
        return {"J": sum((w**2).sum() for w in p.values()), **{f"d{name}": 3 * w for name, w in p.items()}}

    assert [note.gradient for note in notes_of(derive, params, {})] == [f"dw{i}" for i in range(MOST)]


def iterated(steps, factor, batch):
    """Steps of x -> r x (1 - x), and dr by hand, off by a factor."""

    def derive(p, X):
        xs = [X]
        for _ in range(steps):
            xs.append(p["r"] * xs[-1] * (1 - xs[-1]))
        g, dr = np.ones_like(X), 0.0
        for x in xs[-2::-1]:
            g, dr = g * p["r"] * (1 - 2 * x), dr + (g * x * (1 - x)).sum()
        return {"J": xs[-1].sum(), "dr": np.asarray(factor * dr)}

    return notes_of(derive, {"r": np.array(3.9)}, {"X": np.linspace(0.2, 0.7, batch)})


@pytest.mark.parametrize("steps", [40, 50, 60])
@pytest.mark.parametrize("factor", [1.0, 2.0, -1.0, 1e4])
@pytest.mark.parametrize("batch", [1, 4])
def test_where_J_is_chaotic_nothing_is_said(steps, factor, batch):
    assert iterated(steps, factor, batch) == []


@pytest.mark.parametrize("steps", [5, 10])
def test_before_it_is_chaotic_a_factor_is_seen(steps):
    assert iterated(steps, 1.0, 4) == []
    (note,) = iterated(steps, 2.0, 4)
    assert note.error < abs(note.difference)


def test_a_slope_of_0_contradicts_a_gradient_that_is_not():
    def derive(p):
        return {"J": (p["w"] * 0.0).sum() + 1.0, "dw": np.ones(3)}

    (note,) = notes_of(derive, {"w": np.arange(1.0, 4.0)}, {})
    assert (note.gradient, note.difference) == ("dw", 0.0)


@pytest.mark.parametrize(("handed", "asked"), [(100, MOST), (NUMBERS // 2, 2), (2 * NUMBERS, 0)])
def test_of_large_parameters_fewer_are_asked(handed, asked):
    assert parameters_asked(handed) == asked
