"""Equations in plain text to MathML: nothing is lost, everything is escaped, and the notes' forms are recognised."""

import html
import re
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from handgrad.compare.equations import EQUATIONS
from handgrad.compare.faults.catalogue import catalogue
from handgrad.compare.notes.statements import STATEMENTS
from handgrad.compare.report.mathml import equation

TEXTS = [
    *EQUATIONS.values(),
    *(text for statement in STATEMENTS for text in (statement.as_written, statement.corrected)),
    *(fault.formula for fault in catalogue().values()),
]


def parsed(text):
    """The element, entities of HTML being those of characters."""
    markup = re.sub(r"&(?!amp;|lt;|gt;|quot;|#)(\w+;)", lambda m: html.unescape(m[0]), equation(text))
    return ElementTree.fromstring(markup)


def letters(text):
    """What must survive: letters and digits in their order, Greek by name."""
    greek = {"α": "alpha", "β": "beta", "γ": "gamma", "ε": "eps", "σ": "sigma", "λ": "lambda", "μ": "mu"}  # noqa: RUF001
    spelt = "".join(greek.get(c, c) for c in text).replace("epsilon", "eps")
    return re.sub(r"[\W_]|sqrt", "", spelt)


@pytest.mark.parametrize("text", dict.fromkeys(TEXTS))
def test_every_equation_is_well_formed_and_complete(text):
    element = parsed(text)
    assert element.get("title") == text
    assert letters("".join(element.itertext())) == letters(text)


@settings(max_examples=300)
@given(st.text(max_size=60) | st.text("()[]{}^_/|'\"-+*=,. aZdW1nsqrt", max_size=60))
@example("A\uabf0")  # a digit of another script
@example("AA0a[0")  # a word with an index that is left open
def test_any_text_is_shown_and_escaped(text):
    text = "".join(c for c in text if c.isprintable())
    element = parsed(text)
    assert element.tag == "span"
    assert letters("".join(element.itertext())) == letters(text)


def test_the_notes_forms_are_recognised():
    for text, piece in (
        ("Z[l]", "<msup><mi>Z</mi>"),
        ("A[l-1]^T", "<mi>T</mi></mrow></msup>"),
        ("(A[L] - Y)/n", "<mfrac>"),
        ("sqrt(2/n)", "<msqrt>"),
        ("dW", "<mi mathvariant='normal'>d</mi><mi>W</mi>"),
        ("W1", "<msub><mi>W</mi><mn>1</mn></msub>"),
        ("n_in", "<msub><mi>n</mi><mi>in</mi></msub>"),
        ("x <= 0", "&le;"),
    ):
        assert piece in equation(text), text
    prose = equation("row sums of dZ[l], a heading")
    assert prose.count("<math>") == 2
    assert "row sums of" in prose
    assert "<script>" not in equation("<script>alert(1)</script>")
