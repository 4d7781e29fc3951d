"""Formulas are read as they are computed: brackets where needed, names where there are some, and not too deep."""

import pytest
import torch

from handgrad import tap
from handgrad.compare.diagnosis.edits.wording import LONGEST, Formulas
from tests.compare.diagnosis.planted import drawn, segment_of

NAMES = {0.2: "1/5", 5.0: "5", 1 / 3: "1/3", 9.0: "3^2", 0.693: "ln 2"}


def formula(compute, name="A", records=("Z",), numbers=NAMES, like=lambda x: x):
    def reference(p, X, Y):
        Z = tap("Z", X @ p["W"])
        return (tap("A", compute(Z, Y, p["b"])) * 3).sum() + p["b"].sum()

    segment = segment_of(reference, name, records, drawn(1, like))
    return Formulas(segment, numbers)(segment.target)


PRECEDENCE = {
    "a - (b - c)": (lambda Z, Y, b: Z - (Y - b), "Z - (Y - b)"),
    "a - b - c": (lambda Z, Y, b: Z - Y - b, "Z - Y - b"),
    "a - (b + c)": (lambda Z, Y, b: Z - (Y + b), "Z - (Y + b)"),
    "a + (b - c)": (lambda Z, Y, b: Z + (Y - b), "Z + Y - b"),
    "(a + b) * c": (lambda Z, Y, b: (Z + Y) * b, "(Z + Y) * b"),
    "a * b + c": (lambda Z, Y, b: Z * Y + b, "Z * Y + b"),
    "a / (b * c)": (lambda Z, Y, b: Z / (Y * b), "Z / (Y * b)"),
    "a / (b / c)": (lambda Z, Y, b: Z / (Y / b), "Z / (Y / b)"),
    "a / b / c": (lambda Z, Y, b: Z / Y / b, "Z / Y / b"),
    "a @ (b @ c)": (lambda Z, Y, b: Z @ (Y.mT @ Z), "Z @ (Y^T @ Z)"),
    "(a + b) @ c": (lambda Z, Y, b: (Z + Y) @ Y.mT, "(Z + Y) @ Y^T"),
    "a * (b @ c)": (lambda Z, Y, b: b * (Y @ (Z.mT @ Z)), "b * Y @ (Z^T @ Z)"),
    "(-a)^2": (lambda Z, Y, b: (-Z) ** 2, "(-Z)^2"),
    "-a^2": (lambda Z, Y, b: -(Z**2), "-Z^2"),
    "-(a + b)": (lambda Z, Y, b: -(Z + Y), "-(Z + Y)"),
    "(a * b)^2": (lambda Z, Y, b: (Z * Y) ** 2, "(Z * Y)^2"),
    "(a^3)^2": (lambda Z, Y, b: (Z**3) ** 2, "(Z^3)^2"),
    "square of a product": (lambda Z, Y, b: (Z * Y) * (Z * Y) - b, "Z * Y * Z * Y - b"),
    "(a + b)^T": (lambda Z, Y, b: (Z + Y).T, "(Z + Y)^T"),
    "a^-1": (lambda Z, Y, b: (Z + Y) ** -1.5, "(Z + Y)^(-1.5)"),
    "1 - a": (lambda Z, Y, b: 1 - Z, "1 - Z"),
    "2 - (a - b)": (lambda Z, Y, b: 2 - (Z - Y), "2 - (Z - Y)"),
    "alpha": (lambda Z, Y, b: torch.add(Z, Y, alpha=7), "Z + 7 * Y"),
    "alpha of a sum": (lambda Z, Y, b: torch.sub(Z, Y + b, alpha=7), "Z - 7 * (Y + b)"),
    "1 / (a b)": (lambda Z, Y, b: torch.reciprocal(Z * Y), "1 / (Z * Y)"),
    "comparison": (lambda Z, Y, b: (Z > Y + b) * Z, "[Z > Y + b] * Z"),
    "comparison with 0": (lambda Z, Y, b: (Z <= 0) * Y, "[Z <= 0] * Y"),
    "sum": (lambda Z, Y, b: (Z + Y).sum(1), "sum(Z + Y; axis 1)"),
    "mean of all": (lambda Z, Y, b: (Z * Y).mean() + b, "mean(Z * Y) + b"),
    "function": (lambda Z, Y, b: torch.tanh(Z - Y), "tanh(Z - Y)"),
    "view": (lambda Z, Y, b: (Z - Y).reshape(3, 5) * 3, "(Z - Y) * 3"),
}
NUMBERS = {
    "a name": (lambda Z, Y, b: Z * 0.2, "Z * 1/5"),
    "a named divisor": (lambda Z, Y, b: Z / 0.2, "Z / (1/5)"),
    "a negative name": (lambda Z, Y, b: Z * -5.0, "Z * -5"),
    "a named exponent": (lambda Z, Y, b: Z ** (1 / 3), "Z^(1/3)"),
    "a named sum": (lambda Z, Y, b: 0.2 - Z, "1/5 - Z"),
    "a whole number": (lambda Z, Y, b: Z * 2.0, "Z * 2"),
    "digits": (lambda Z, Y, b: Z * 0.123456789, "Z * 0.123457"),
    "a small number": (lambda Z, Y, b: Z + 1e-8, "Z + 1e-08"),
}


@pytest.mark.parametrize("what", PRECEDENCE)
def test_has_brackets_where_they_are_needed(what):
    compute, expected = PRECEDENCE[what]
    assert formula(compute) == expected


@pytest.mark.parametrize("what", NUMBERS)
def test_says_numbers_by_name_or_digits(what):
    compute, expected = NUMBERS[what]
    assert formula(compute) == expected


@pytest.mark.parametrize(
    ("number", "text"),
    [(1.0, "1"), (-2.0, "-2"), (0.2, "1/5"), (-0.2, "-1/5"), (5, "5"), (1e300, "1e+300"), (float("nan"), "nan"),
     (float("-inf"), "-inf"), (True, "True"), (None, "None"), (0, "0"), (3, "3")],
)  # fmt: skip
def test_names_of_numbers(number, text):
    segment = segment_of(lambda p, X, Y: tap("A", X @ p["W"]).sum(), "A", [], drawn(1))
    assert Formulas(segment, NAMES).number(number) == text


def test_a_record_is_said_by_its_name_and_the_tensor_by_its_formula():
    def reference(p, X, Y):
        Z = tap("Z", X @ p["W"])
        return (tap("A", torch.tanh(Z) * tap("B", torch.exp(Z))) * Y).sum()

    segment = segment_of(reference, "A", ["Z"], drawn(1))
    words = Formulas(segment, {})
    assert words(segment.target) == "tanh(Z) * B"
    assert words(segment.graph.inputs["Z"]) == "Z"


def test_a_long_formula_is_cut_where_it_is_deep():
    def deep(Z, Y, b):
        for _ in range(12):
            Z = torch.tanh(Z * Y) + b
        return Z

    text = formula(deep)
    assert len(text) <= LONGEST
    assert text.endswith("+ b")
    assert "..." in text


def test_a_short_formula_is_whole():
    assert "..." not in formula(lambda Z, Y, b: torch.tanh(torch.exp(torch.sin(torch.tanh(Z + Y)))))


def test_a_wide_formula_is_cut_as_far_as_it_goes():
    def wide(Z, Y, b):
        return torch.cat([torch.tanh(Z * i + Y) for i in range(3, 60)])

    assert "..." in formula(wide)


def test_constants_are_said_as_one():
    assert formula(lambda Z, Y, b: Z * torch.full((3,), 5.0, dtype=torch.float64)) == "Z * 5"
    assert formula(lambda Z, Y, b: Z * torch.arange(3)) == "Z * index"
    assert formula(lambda Z, Y, b: Z * torch.tensor([3.0, 1.0, 2.0])) == "Z * a constant"


@pytest.mark.parametrize(
    "compute",
    [lambda Z, Y, b: torch.cat([Z, Y]), lambda Z, Y, b: Z[[0, 1]], lambda Z, Y, b: torch.unbind(Z)[1] * b,
     lambda Z, Y, b: Z.cumsum(0), lambda Z, Y, b: torch.linalg.inv(Z.T @ Z), lambda Z, Y, b: Z.std(0),
     lambda Z, Y, b: torch.softmax(Z, 1), lambda Z, Y, b: Z.logsumexp(0), lambda Z, Y, b: Z.max(0).values,
     lambda Z, Y, b: torch.where(Z > 0, Z, b)],
)  # fmt: skip
def test_every_step_has_a_formula(compute):
    text = formula(compute)
    assert "Z" in text
    assert text == text.strip()
