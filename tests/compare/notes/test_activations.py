"""The evidence on saturation, the kink of ReLU, and tanh written out."""

import pytest

from handgrad.compare.notes.activations import kink, saturation, written_out


def by_name(evidence):
    return {figure.name: figure for figure in evidence.figures}


def test_a_saturated_unit_leaves_next_to_nothing_of_a_gradient():
    figures = by_name(saturation())
    assert figures["largest sigmoid'"].by_hand == 0.25
    assert figures["sigmoid'(10)"].by_hand == pytest.approx(4.5e-5, rel=0.02)
    assert figures["ReLU'(10)"].by_hand == 1
    assert figures["ReLU'(-10)"].by_hand == 0


def test_the_derivatives_are_plotted_on_a_logarithmic_axis():
    (plot,) = saturation().plots
    assert plot.log
    assert [curve.name for curve in plot.lines] == ["sigmoid'", "tanh'", "ReLU'"]
    assert all(len(curve.x) == len(curve.y) for curve in plot.lines)


def test_the_derivative_of_relu_at_0_depends_on_the_code():
    figures = by_name(kink())
    assert [figures[name].torch for name in ("ReLU'(0)", "clamp'(0)", "maximum'(0)")] == [0.0, 1.0, 0.5]
    assert figures["ReLU'(0)"].by_hand == 0.0
    assert figures["central differences at 0"].by_hand == pytest.approx(0.5)


def test_tanh_as_written_overflows():
    figures = by_name(written_out())
    assert figures["first z that gives nan as written, float32"].by_hand == 89
    assert figures["first z that gives nan as written, float64"].by_hand == 710
    assert figures["tanh(710)"].by_hand == 1
