"""`handgrad notes`: every statement, with numbers computed by both sides when asked, none stored."""

import json
import math

import pytest

from handgrad.compare.cli.commands import main
from handgrad.compare.notes.exact import proofs
from handgrad.compare.notes.show import as_json, as_table, story
from handgrad.compare.notes.statements import STATEMENTS
from tests.test_notes import ALL

BY_ID = {statement.id: statement for statement in STATEMENTS}
SAMPLED = ("Var z", "mean square", "n = 2")  # drawn by each side for itself


def figures(label):
    return {figure.name: figure for figure in BY_ID[label].prove().figures}


def test_every_statement_of_the_notes_has_a_row():
    assert [statement.id for statement in STATEMENTS] == [
        label for letter in "FLBUACGIO" for label in sorted(ALL) if label[0] == letter
    ]
    assert {statement.verdict for statement in STATEMENTS} == {"holds", "corrected", "convention", "supplied"}


@pytest.mark.parametrize("label", BY_ID)
def test_both_sides_give_the_same_figures(label):
    evidence = BY_ID[label].prove()
    assert evidence.text
    for figure in evidence.figures:
        if figure.by_hand is None or figure.torch is None:
            continue
        if label == "U1":
            assert figure.by_hand != pytest.approx(figure.torch, rel=1e-6), "the mistake is in it"
        elif any(word in figure.name for word in SAMPLED):
            assert 0.5 < figure.by_hand / figure.torch < 2, figure
        else:
            assert figure.by_hand == pytest.approx(figure.torch, rel=1e-6), figure


def test_the_figures_are_those_that_the_mathematics_has():
    assert figures("L2")["loss as written"].by_hand == pytest.approx(-math.log(10))
    assert figures("L2")["loss"].by_hand == pytest.approx(math.log(10))
    assert figures("L2")["p(y = 0) after 500 steps as written"].by_hand == 1.0
    assert math.isnan(figures("L2")["J after 500 steps as written"].by_hand)
    assert figures("A1")["largest sigmoid'"].by_hand == 0.25
    assert figures("A1")["sigmoid'(10)"].by_hand == pytest.approx(4.5e-5, rel=0.02)
    assert [figures("A2")[name].torch for name in ("ReLU'(0)", "clamp'(0)", "maximum'(0)")] == [0.0, 1.0, 0.5]
    assert figures("A3")["first z that gives nan as written, float32"].by_hand == 89
    assert figures("A3")["first z that gives nan as written, float64"].by_hand == 710
    assert figures("C1")["largest deviation"].by_hand < 1e-13
    assert "raises ValueError for 5-4-3-1" in BY_ID["C2"].prove().text
    assert figures("C3")["identity"].by_hand < 1e-13 < 1e-4 < figures("C3")["tanh"].by_hand
    assert figures("G2")["depth at which float32 is infinite"].by_hand == 219
    assert figures("G3")["depth at which float32 is zero"].by_hand == 150
    assert figures("I1")["Var z, 1/sqrt(n)"].by_hand == pytest.approx(1, abs=0.05)
    assert figures("I1")["Var z, 1/n as written"].by_hand == pytest.approx(1 / 2500, rel=0.05)
    assert figures("I5")["mean square as written"].by_hand < 1e-8 < 0.1 < figures("I5")["mean square with He's"].by_hand
    assert figures("I6")["spread, begun equal"].by_hand == 0
    assert figures("I6")["spread, drawn"].by_hand > 0.1
    assert figures("O4")["gradient descent"].by_hand == 200
    assert figures("O4")["momentum"].by_hand < 50
    assert "central differences of J give dW1[2, 3] to" in BY_ID["B2"].prove().text


def test_a_broken_equation_changes_its_row():
    """The figures are computed, not stored: with (B2) doubled its evidence is no longer one of agreement."""
    import handgrad.manual.network
    from handgrad.compare.notes import parity
    from tests.support import edited

    parity._runs.cache_clear()
    try:
        with edited(handgrad.manual.network, ("dZ @ A_prev.T", "2 * dZ @ A_prev.T")):
            text = BY_ID["B2"].prove().text
    finally:
        parity._runs.cache_clear()
    assert "tensors differ" in text


def test_sympy_proves_the_elementwise_derivatives():
    assert {"A1", "A3", "L2", "B1", "L3"} <= proofs().keys()
    assert all(line.endswith("simplifies to 0") for lines in proofs().values() for line in lines)


def test_the_story_of_one_has_both_codes_the_numbers_and_a_mistake():
    told = story(BY_ID["L2"])
    for piece in (
        "as written  loss = -y log p + (1-y) log(1-p)",
        "loss as written                      -2.30258509  -2.30258509",
        "np.maximum(Z, 0) - Z * Y",
        "binary_cross_entropy_with_logits",
        "return -Y * np.log(P) + (1 - Y) * np.log(1 - P)",
        "d/dz of the loss = p - y",
        "loss-formula: it is the notes' literal formula",
    ):
        assert piece in told, piece


@pytest.mark.parametrize("label", ["F0", "L4", "A3", "C2", "I1", "I6", "O1", "O4"])
def test_a_story_can_be_told_whatever_it_is_about(label):
    assert story(BY_ID[label]).startswith(f"{label}  {BY_ID[label].verdict}\n")


def test_json_has_stable_keys():
    found = json.loads(as_json([BY_ID["L2"], BY_ID["G2"]]))
    assert [[*each] for each in found] == [["id", "as_written", "corrected", "verdict", "evidence"]] * 2
    assert found[0]["evidence"]["figures"]["J after 500 steps as written"] == {"by_hand": "nan", "torch": None}


def test_the_table_has_a_row_for_each():
    table = as_table([BY_ID["A1"], BY_ID["O4"]])
    assert "| A1   | sigmoid, ReLU and tanh are slow" in table
    assert "gradient descent changes sign 200 times" in table


def test_the_command(capsys, tmp_path):
    assert main(["notes", "--id", "G2"]) == 0
    assert capsys.readouterr().out.startswith("G2  corrected\n")
    assert main(["notes", "--id", "g2"]) == 2
    assert "did you mean 'G2'?" in capsys.readouterr().err
    assert main(["notes", "--id", "G2", "--format", "json", "--output", str(tmp_path / "g2.json")]) == 0
    assert json.loads((tmp_path / "g2.json").read_text())[0]["id"] == "G2"


@pytest.mark.parametrize(
    ("label", "edit", "words"),
    [
        ("I4", ("2 / (n_in + n_out)", "2 / n_in"), "Glorot's, 0.07906 for the same layer, and by hand 0.08839"),
        (
            "I3",
            ("sqrt(2 / n_in)", "sqrt(1 / n_in)"),
            "sqrt(2/n) is He's: 0.08839 for a layer 256-64, and by hand 0.0625",
        ),
    ],
)
def test_an_edited_initialiser_is_not_shown_as_torchs(label, edit, words):
    import handgrad.manual.initializers
    from tests.support import edited

    assert ", and by hand" not in BY_ID[label].prove().text
    with edited(handgrad.manual.initializers, edit):
        assert words in BY_ID[label].prove().text
