"""Every formula line of the lecture notes has an id, and every id a row of evidence and a place in the code."""

import re

import pytest

from handgrad.compare.notes.language import Sentence, language
from handgrad.compare.notes.statements import STATEMENTS
from handgrad.compare.operations import OPERATIONS
from tests.repository import ROOT
from tests.rules.lesson import labels
from tests.rules.sources import of_folders

# A piece of each formula line, in the order of the notes, and what it states.
FORMULAS = [
    (r"J(\hat{y}, y) = \frac{1}{n}", ("L1", "L2")),
    (r"w^{[L]} = w^{[L]} - \alpha", ("U1",)),
    (r"ReLU(z) =", ("A2",)),
    (r"ReLU'(z) =", ("A2",)),
    (r"tanh = \frac", ("A3",)),
    (r"\hat{y} = a^{[2]} = z^{[2]}", ("C0",)),
    (r"= Wx + B", ("C1",)),
    (r"B = W^{[2]} v^{[1]} b^{[1]}", ("C2",)),
    (r"\hat{y} = w^{[L]} w^{[L-1]}", ("G1",)),
    (r"1.5 & 0", ("G2",)),
    (r"0.5 & 0", ("G3",)),
    (r"a = b(z)", ("F2",)),
    (r"z = w_1 x_1", ("F1",)),
    (r"large $n \rightarrow$ small w_i", ("I1",)),
    (r"w_i \sim \frac{1}{n}", ("I1",)),
    (r"np.random.randn", ("I2",)),
    (r"\hookrightarrow", ("I2",)),
    (r"1 → 2", ("I3",)),
    (r"\text{for tanh}", ("I4",)),
    (r"for ReLU}", ("I5",)),
    (r"Batch \longleftrightarrow Stochastic", ("O1",)),
    (r"V = BV", ("O3",)),
    (r"w = w - \alpha V", ("O4",)),
]

# Statements that no line of code computes, and why.
WITHOUT_A_LINE = {
    "F0": "a name, not a formula: logistic regression is the single-neuron network",
    "A1": "a statement on saturation; tests/manual/test_activations.py covers the ends",
    "C0": "the start of the collapse argument; the network with identity activations",
    "C1": "the collapse argument; tests/manual/test_as_written.py computes both sides",
    "C2": "as written in manual/as_written.py, correct in tests/manual/test_as_written.py",
    "C3": "a slip of the pen: to escape linearity",
    "G1": "a product of the weights of F1",
    "G2": "W = 1.5 I, an instance of F1",
    "G3": "W = 0.5 I, an instance of F1",
}
ALL = [f"{letter}{i}" for letter, last in (("F", 2), ("C", 3)) for i in range(last + 1)]
ALL += [f"{letter}{i}" for letter, last in (("L", 2), ("B", 5), ("U", 1), ("A", 3)) for i in range(1, last + 1)]
ALL += [f"{letter}{i}" for letter, last in (("G", 3), ("I", 6), ("O", 4)) for i in range(1, last + 1)]
SUPPLIED = [label for row in OPERATIONS for label in row.supplied]
ALL += ["L4", *SUPPLIED]


def formula_lines():
    text = (ROOT / "tests" / "lecture-notes.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if re.search(r"\$|\\(?!dots)|→ \d", line)]


def test_every_formula_line_of_the_notes_has_an_id():
    lines = formula_lines()
    assert len(lines) == len(FORMULAS)
    for line, (piece, ids) in zip(lines, FORMULAS, strict=True):
        assert piece in line
        assert set(ids) <= set(ALL)


def test_every_id_stands_on_a_line_of_code_or_has_a_reason_not_to():
    on_lines = {*labels(of_folders(ROOT, "manual"))}
    assert on_lines | set(WITHOUT_A_LINE) == set(ALL)
    assert not on_lines & set(WITHOUT_A_LINE)


def test_every_statement_of_the_notes_has_a_row():
    assert [statement.id for statement in STATEMENTS] == [
        label for letter in "FLBUACGIO" for label in sorted(ALL) if label[0] == letter
    ]
    assert {statement.verdict for statement in STATEMENTS} == {"holds", "corrected", "convention", "supplied"}


OF_FORMULAS = {"alpha", "beta", "erf", "float32", "log", "loss", "randn", "relu", "shape", "sigmoid", "softmax", "sqrt"}
OF_FORMULAS |= {"sum", "tanh", "Phi", "GELU", "LeakyReLU", "ReLU", "clamp", "maximum", "Var", "Glorot", "gelu", "leaky"}
OF_FORMULAS |= {"adam", "next", "torch", "losses", "penalty"}
"""Words that are the same in every language, as formulas, names and tensors have them."""


def untold(text, spoken):
    """The texts of a text, itself and those in it, that have words and no template in a language."""
    template = text.template if isinstance(text, Sentence) else text
    inner = [v for v in text.values.values() if isinstance(v, str)] if isinstance(text, Sentence) else []
    words = {*re.findall(r"[A-Za-z]{3,}(?:32)?", re.sub(r"\{\w+(:[^}]*)?\}", "", template))} - OF_FORMULAS
    missing = [template] if words and template not in spoken.templates else []
    return missing + [each for value in inner for each in untold(value, spoken)]


DRAWN_APART = {"Var z, 1/sqrt(n)", "mean square as written", "mean square with He's", "standard deviation, n = 2"}
"""Figures that each side draws for itself, so that they are only alike."""


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.id)
def test_both_sides_give_the_same_figures(statement):
    evidence = statement.prove()
    assert evidence.text
    said = (statement.as_written, statement.corrected, statement.verdict, evidence.text)
    of_plots = (text for plot in evidence.plots for text in (plot.title, plot.x, plot.y, plot.text))
    of_curves = (curve.name for plot in evidence.plots for curve in plot.lines)
    for text in (*said, *(figure.name for figure in evidence.figures), *of_plots, *of_curves):
        assert untold(text, language("ko")) == []
    for name, by_hand, torch in evidence.figures:
        if by_hand is None or torch is None:
            continue
        if statement.id == "U1":
            assert by_hand != pytest.approx(torch, rel=1e-6), "the mistake is in it"
        elif name in DRAWN_APART:
            assert 0.5 < by_hand / torch < 2, name
        else:
            assert by_hand == pytest.approx(torch, rel=1e-6), name
