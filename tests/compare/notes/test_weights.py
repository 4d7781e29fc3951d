"""The evidence on initial weights."""

import pytest

import handgrad.manual.initializers
from handgrad.compare.notes.weights import draw, glorot_called_he, he, lecun_called_xavier, symmetry, variance
from tests.support import edited


def by_name(evidence):
    return {figure.name: figure for figure in evidence.figures}


def test_the_variance_of_z_is_1_only_with_the_root():
    figures = by_name(variance())
    assert figures["Var z, 1/sqrt(n)"].by_hand == pytest.approx(1, abs=0.05)
    assert figures["Var z, 1/n as written"].by_hand == pytest.approx(1 / 2500, rel=0.05)


def test_a_draw_has_the_deviation_of_its_fan_in():
    (deviation,) = draw().figures
    assert deviation.by_hand == pytest.approx(0.5**0.5, rel=0.01)


def test_the_he_of_the_notes_loses_the_signal():
    evidence = glorot_called_he()
    figures = by_name(evidence)
    assert figures["mean square as written"].by_hand < 1e-8
    assert figures["mean square with He's"].by_hand > 0.1
    (plot,) = evidence.plots
    assert len(plot.lines) == 5
    assert all(len(curve.y) == 31 for curve in plot.lines)


def test_equal_weights_never_separate():
    evidence = symmetry()
    figures = by_name(evidence)
    assert figures["spread, begun equal"].by_hand == 0
    assert figures["spread, drawn"].by_hand > 0.1
    assert [len(curve.y) for curve in evidence.plots[0].lines] == [200, 200]


@pytest.mark.parametrize(
    ("prove", "edit", "by_hand", "torch"),
    [
        (lecun_called_xavier, ("2 / (n_in + n_out)", "2 / n_in"), (2 / 256) ** 0.5, (2 / 320) ** 0.5),
        (he, ("sqrt(2 / n_in)", "sqrt(1 / n_in)"), (1 / 256) ** 0.5, (2 / 256) ** 0.5),
    ],
)
def test_an_edited_initialiser_is_not_shown_as_torchs(prove, edit, by_hand, torch):
    """Edited as by a student: the evidence says what it is by hand, beside what torch has."""
    before = prove()
    assert before.figures[-1].by_hand == pytest.approx(torch)
    with edited(handgrad.manual.initializers, edit):
        after = prove()
    assert after.figures[-1].by_hand == pytest.approx(by_hand)
    assert after.figures[-1].torch == pytest.approx(torch)
    assert f"by hand {by_hand:.4g}" in after.text
    assert "by hand" not in before.text
