"""The evidence on deep linear networks."""

import pytest

from handgrad.compare.notes.depth import collapse, collapsed_bias, not_linear, powers, without_bias


def by_name(evidence):
    return {figure.name: figure for figure in evidence.figures}


def test_linear_layers_are_one_map():
    figures = by_name(collapse())
    assert figures["largest deviation"].by_hand < 1e-13
    assert figures["W[0, 0]"].by_hand == pytest.approx(figures["W[0, 0]"].torch)


def test_the_bias_as_written_does_not_even_fit():
    evidence = collapsed_bias()
    assert "raises ValueError for 5-4-3-1" in evidence.text
    (B,) = evidence.figures
    assert B.by_hand == pytest.approx(B.torch)


def test_an_activation_escapes_linearity():
    figures = by_name(not_linear())
    assert figures["identity"].by_hand < 1e-13
    assert figures["tanh"].by_hand > 1e-4


def test_without_biases_it_is_a_product():
    (y,) = without_bias().figures
    assert y.by_hand == pytest.approx(y.torch)


@pytest.mark.parametrize(("factor", "word", "depth"), [(1.5, "infinite", 219), (0.5, "zero", 150)])
def test_equal_factors_explode_or_vanish_with_depth(factor, word, depth):
    evidence = powers(factor)
    figures = by_name(evidence)
    assert figures[f"depth at which float32 is {word}"].by_hand == depth
    assert figures[f"{factor}^50, float32"].by_hand == pytest.approx(factor**50, rel=1e-5)
    (plot,) = evidence.plots
    for curve in plot.lines:
        assert len(curve.x) == len(curve.y) == depth
        assert curve.y[:3] == (1, factor, factor**2)
