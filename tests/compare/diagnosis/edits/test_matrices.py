"""Products of matrices, transposes, parts and scatters: each kind of edit is found where it was planted."""

import pytest
import torch
import torch.nn.functional as F

from handgrad import tap
from handgrad.compare.diagnosis.edits.matrices import (
    joined,
    layouts,
    parts,
    products_of_matrices,
    settings,
    transposes,
)
from handgrad.compare.facts.edits import (
    FactorInside,
    OperandOrder,
    OperandPlaces,
    OtherReduction,
    PartOfSum,
    PartsReordered,
    RowsOverwritten,
    Setting,
)
from handgrad.compare.facts.operands import OperandTransposed
from tests.compare.diagnosis.planted import causes, fitting, search_of


def square(p, X, Y):
    T = tap("T", torch.tanh(p["U"]))
    return (tap("C", torch.tanh(T @ p["U"].exp() + T)) * Y[:3]).sum()


def product(p, X, Y):
    Z = tap("Z", X @ p["W"])
    return (tap("A", torch.tanh(Z @ p["U"]) + Y) * Y).sum()


def transposed(p, X, Y):
    T = tap("T", torch.tanh(p["U"]))
    return (tap("C", torch.exp(T.T) * T) * Y[:3]).sum()


def gate(p, X, Y):
    h = tap("h1", X @ p["W"])
    return (tap("A", torch.sigmoid(Y) * (h @ p["U"])) * Y).sum()


def gates(p, X, Y):
    i, f, o = torch.split(tap("Z", X @ p["W"]).T, 1, 0)
    return (tap("c", torch.tanh(i) * torch.sigmoid(f) + torch.exp(o)) * Y.T[0]).sum()


def halves(p, X, Y):
    E = tap("F", X @ p["E"])
    return (tap("c", torch.tanh(E[:, :2]) * E[:, 2:]) * Y[:, :2]).sum()


def embedded(p, X, Y):
    return (tap("R", F.embedding(ROWS, p["W"])) * Y).sum()


def three_joined(p, X, Y):
    A = tap("A", X @ p["W"])
    return (torch.cat([A, X, A.exp()], 1) * torch.cat([X.exp(), Y.sin(), Y], 1)).sum()


def resized(p, X, Y):
    return (tap("F", F.interpolate((X @ p["W"])[None], 7, mode="linear", align_corners=False)) ** 2).sum()


ROWS = torch.tensor([0, 2, 2, 1, 3])


PRODUCTS = {
    "first": (lambda t: torch.tanh(t.T.T @ t.U.exp() + t.T), OperandTransposed("T")),
    "second": (lambda t: torch.tanh(t.T @ t.U.exp().T + t.T), OperandTransposed("exp(U)")),
    "both": (lambda t: torch.tanh(t.T.T @ t.U.exp().T + t.T), OperandTransposed("T and exp(U)")),
    "order": (lambda t: torch.tanh(t.U.exp() @ t.T + t.T), OperandOrder("exp(U) @ T", "T @ exp(U)")),
    "entries": (
        lambda t: torch.tanh(t.T * t.U.exp() + t.T), OperandOrder("T * exp(U), entry by entry,", "T @ exp(U)")
    ),
}  # fmt: skip
SUMMED = {
    "mean": (lambda t: torch.tanh(t.Z @ t.U / 3) + t.Y, OtherReduction("the mean", "the sum", "Z @ U")),
    "first": (lambda t: torch.tanh(t.Z[:, :1] @ t.U[:1]) + t.Y, PartOfSum("U", 0, 0, alone=True)),
    "last": (lambda t: torch.tanh(t.Z[:, 2:] @ t.U[2:]) + t.Y, PartOfSum("U", 0, 2, alone=True)),
    "without": (lambda t: torch.tanh(t.Z[:, [0, 2]] @ t.U[[0, 2]]) + t.Y, PartOfSum("U", 0, 1)),
}


@pytest.mark.parametrize("what", PRODUCTS)
def test_finds_operands_in_another_way(what):
    wrong, expected = PRODUCTS[what]
    assert causes(square, "C", wrong, ["T"])[0] == expected
    assert expected in fitting(products_of_matrices, search_of(square, "C", wrong, ["T"]))


@pytest.mark.parametrize("what", SUMMED)
def test_finds_what_a_product_sums_over(what):
    wrong, expected = SUMMED[what]
    assert causes(product, "A", wrong, ["Z"])[0] == expected
    assert expected in fitting(products_of_matrices, search_of(product, "A", wrong, ["Z"]))


def test_finds_a_transpose_left_out():
    assert causes(transposed, "C", lambda t: t.T.exp() * t.T, ["T"])[0] == OperandTransposed("T")
    search = search_of(transposed, "C", lambda t: t.T.exp() * t.T, ["T"])
    assert fitting(transposes, search) == [OperandTransposed("T")]


def test_shapes_forbid_what_cannot_be():
    search = search_of(product, "A", lambda t: torch.tanh(t.Z @ t.U.T) + t.Y, ["Z"])
    assert fitting(products_of_matrices, search) == [OperandTransposed("U")]


def test_finds_a_factor_before_the_product():
    said = causes(gate, "A", lambda t: (t.Y.sigmoid() * t.h1) @ t.U, ["h1"])
    assert said[0] == FactorInside("sigmoid(Y)", "h1")


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 0, 1)])
def test_finds_parts_in_another_order(order):
    def wrong(t):
        i, f, o = t.Z.T[list(order)].split(1, 0)
        return torch.tanh(i) * torch.sigmoid(f) + torch.exp(o)

    said = causes(gates, "c", wrong, ["Z"])
    assert said[0] == PartsReordered("Z^T", order)


def test_finds_slices_in_another_order():
    said = causes(halves, "c", lambda t: torch.tanh((t.X @ t.E)[:, 2:]) * (t.X @ t.E)[:, :2])
    assert said[0] == PartsReordered("F", (1, 0))


def test_parts_beside_a_split_are_left_in_peace():
    """A split gives a list, which has no shape."""

    def reference(p, X, Y):
        Z = tap("Z", X @ p["W"]).T
        i, f, o = torch.split(Z, 1, 0)
        return (tap("c", i * f + o + Z[0]) * Y.T[0]).sum()

    assert fitting(parts, search_of(reference, "c", lambda t: (t.X @ t.W)[:, :1].T)) == []


def test_finds_rows_that_are_overwritten():
    def wrong(t):
        dW = torch.zeros(4, 3, dtype=torch.float64)
        dW[ROWS] = t.Y
        return dW

    assert causes(embedded, "dW", wrong)[0] == RowsOverwritten()


def test_rows_that_occur_once_are_no_mistake():
    def reference(p, X, Y):
        return (F.embedding(torch.tensor([0, 2, 1, 3]), p["W"]) * Y[:4]).sum()

    assert causes(reference, "dW", lambda t: t.Y[[0, 2, 1, 3]] * 1.37) != [RowsOverwritten()]


@pytest.mark.parametrize("start", [0, 7])
def test_finds_a_view_that_is_read_as_if_it_were_contiguous(start):
    """The gradient of what was joined is a slice, whose rows do not lie beside each other."""

    def wrong(t):
        whole = torch.cat([t.X.exp(), t.Y.sin(), t.Y], 1)
        parts = {0: whole[:, :3], 7: whole[:, 7:]}
        parts[start] = whole.flatten()[start : start + 15].reshape(5, 3)
        return parts[0] + parts[7] * t.A.exp()

    (cause,) = {type(each): each for each in causes(three_joined, "dA", wrong, ["A"])}.values()
    assert isinstance(cause, OperandPlaces)
    assert (cause.how, cause.axes) == ("in-memory", ())


def test_finds_what_is_joined_in_another_order():
    def reference(p, X, Y):
        both = torch.cat([X @ p["W"], Y], 1)
        return (tap("R", torch.tanh(both)) * torch.cat([Y, Y], 1).exp()).sum()

    def wrong(t):
        return torch.tanh(torch.cat([t.Y, t.X @ t.W], 1))

    (said,) = fitting(joined, search_of(reference, "R", wrong))
    assert (type(said), said.order) == (PartsReordered, (1, 0))
    assert type(causes(reference, "R", wrong)[0]) is PartsReordered


def test_finds_a_switch_the_other_way():
    def wrong(t):
        return F.interpolate((t.X @ t.W)[None], 7, mode="linear", align_corners=True)

    assert Setting("align_corners", True, "upsample_linear1d") in fitting(settings, search_of(resized, "F", wrong))


ROWS, COLUMNS = torch.tensor([0, 2, 1, 0, 2]), torch.tensor([1, 1, 2, 0, 0])


def looked_up(p, X, Y):
    return (tap("A", p["U"][ROWS, COLUMNS][:, None] * Y) * Y).sum()


def test_indices_in_the_other_order():
    wrong = lambda t: t.U[COLUMNS, ROWS][:, None] * t.Y  # noqa: E731  # as wrong code has it
    (cause, *_) = fitting(joined, search_of(looked_up, "A", wrong))
    assert (type(cause), cause.order) == (PartsReordered, (1, 0))


def headed(p, X, Y):
    H = (X @ p["E"]).reshape(5, 2, 2)
    return (tap("A", H.exp().sum(2) @ p["V"][:2, :2]) ** 2).sum()


def flattened(p, X, Y):
    H = torch.stack([X @ p["W"], Y, Y.exp()], 1)
    return (tap("A", H.reshape(5, 9)[:, :3] + Y) ** 2).sum()


def test_finds_an_axis_split_in_another_order():
    def wrong(t):
        H = (t.X @ t.E).reshape(5, 2, 2).transpose(1, 2)
        return H.exp().sum(2) @ t.V[:2, :2]

    said = fitting(layouts, search_of(headed, "A", wrong))
    assert {(cause.how, cause.axes) for cause in said} == {("regrouped", (1, 2))}


def test_finds_axes_joined_in_another_order():
    def wrong(t):
        H = torch.stack([t.X @ t.W, t.Y, t.Y.exp()], 1)
        return H.transpose(1, 2).reshape(5, 9)[:, :3] + t.Y

    assert {(cause.how, cause.axes) for cause in fitting(layouts, search_of(flattened, "A", wrong))} == {
        ("regrouped", (1, 2))
    }


def test_axes_joined_in_their_order_are_no_mistake():
    def right(t):
        return torch.stack([t.X @ t.W, t.Y, t.Y.exp()], 1).reshape(5, 9)[:, :3] + t.Y

    assert not fitting(layouts, search_of(flattened, "A", right))
