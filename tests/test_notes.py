"""Every formula line of the lecture notes has an id, and every id has a place in the code or a reason for none."""

import re

from tests.support import ROOT
from tests.test_structure import labels

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
ALL += [f"{letter}{i}" for letter, last in (("L", 4), ("B", 5), ("U", 1), ("A", 3)) for i in range(1, last + 1)]
ALL += [f"{letter}{i}" for letter, last in (("G", 3), ("I", 6), ("O", 4)) for i in range(1, last + 1)]


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
    on_lines = {label for label, _ in labels("manual")}
    assert on_lines | set(WITHOUT_A_LINE) == set(ALL)
    assert not on_lines & set(WITHOUT_A_LINE)
