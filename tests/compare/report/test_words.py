import pytest

from handgrad.compare.facts.causes import Scaled, Unknown
from handgrad.compare.facts.failures import Raised
from handgrad.compare.facts.remarks import AsFloat32, Persists, Unrecorded
from handgrad.compare.facts.updates import Masked
from handgrad.compare.names import Key
from handgrad.compare.report.words import equation, location, place, printable, words
from handgrad.compare.results import Finding, SourceLine, Worst

KEY = Key(3, "backward", "dW2")


def said(**facts):
    cause = facts.pop("cause", Scaled(2.0))
    return words(Finding(KEY, "FAULT", cause, **facts))


@pytest.mark.parametrize(
    ("worst", "sentence"),
    [
        (Worst((0, 4), 1.07821, -0.0109574, inputs=("dA1", "A1")),
         "at (0, 4): by hand 1.0782, torch -0.010957 from the same dA1, A1"),
        (Worst((2,), 0.9, 1.1, before=1.0), "at 2: by hand 0.9, torch 1.1, both from 1"),
        (Worst((), 1.0000001234, 1.0, dtype="float32"), "by hand 1.0000001, torch 1 in float32"),
        (Worst((0,), float("nan"), 1.0), "at 0: by hand nan, torch 1"),
        (Worst((0,), 1.0, 1.0), "at 0: by hand 1, torch 1"),
        (Worst((0,), 1.0, 1.0 + 2**-52), "at 0: by hand 1, torch 1.0000000000000002"),
        (Worst((0,), 1.0, 2.0, inputs=tuple("abcdef")), "at 0: by hand 1, torch 2 from the same a, b, c, d ..."),
    ],
)  # fmt: skip
def test_the_worst_entry_has_as_many_digits_as_a_reader_needs(worst, sentence):
    assert said(worst=worst).worst == sentence


@pytest.mark.parametrize(
    ("facts", "parts"),
    [
        ({"affects": 1}, ("1 later tensor differs only because of it",)),
        ({"affects": 8}, ("8 later tensors differ only because of it",)),
        ({"together": ("dW1", "db1")}, ("the same factor is in: dW1, db1",)),
        ({"together": ("db1",), "cause": Unknown()}, ("the same mistake is in: db1",)),
        ({}, ()),
    ],
)
def test_what_else_is_wrong_by_it_is_said(facts, parts):
    assert said(**facts).consequences == parts


@pytest.mark.parametrize(
    ("rho", "circumstances", "evidence"),
    [
        (1.34e14, (), "1.3e+14 times what rounding explains"),
        (
            7.53,
            (Persists("moves"),),
            "7.5 times what rounding explains, and it stays where parameters and data move, and roundings do not",
        ),
        (float("inf"), (), "this operation is exact, so rounding explains no difference"),
        (None, (), ""),
    ],
)
def test_how_sure_it_is_stands_in_the_evidence_alone(rho, circumstances, evidence):
    parts = said(rho=rho, circumstances=circumstances)
    assert parts.evidence == evidence
    assert parts.circumstances == ()


def test_other_causes_and_circumstances_are_said_in_their_order():
    parts = said(others=(Scaled(3.0), Masked("Z", 3)), circumstances=(AsFloat32(),))
    assert parts.others == (f"or scale: {Scaled(3.0)}", f"or mask: {Masked('Z', 3)}")
    assert parts.circumstances == (str(AsFloat32()),)
    assert str(parts) == "; ".join((parts.cause, *parts.others, *parts.circumstances))
    assert parts.remarks == (*parts.others, *parts.circumstances)


def test_what_nothing_explains_says_what_to_return():
    fact = Unrecorded(("J",), "dW2", ("dZ2",))
    parts = said(cause=Unknown(), circumstances=(fact, Persists("moves")))
    assert (parts.cause, parts.circumstances) == (str(Unknown()), (str(fact),))


def test_place_line_and_equation():
    finding = Finding(KEY, "FAULT", Unknown(), SourceLine("mine.py", 41, "dW2 = 1"), equation="B2")
    assert place(finding) == "dW2 at step 3"
    assert location(finding) == "mine.py:41"
    assert equation(finding) == "(B2) dW[l] = dZ[l] A[l-1]^T"
    bare = Finding(KEY, "FAULT", Unknown())
    assert (location(bare), equation(bare)) == ("", "")


def test_control_characters_become_escapes_and_long_messages_are_cut():
    assert printable("a\x1b[31m\u202e\nb") == "a\\x1b[31m\\u202e\\nb"
    cause = said(cause=Raised("ValueError", "x\x1b" * 1000)).cause
    assert len(cause) < 510
    assert "\x1b" not in cause
