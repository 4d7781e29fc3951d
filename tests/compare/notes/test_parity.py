"""The evidence on the network's equations: both sides compared now, never stored."""

import pytest

import handgrad.manual.network
from handgrad.compare.notes.parity import parity, runs
from tests.support import edited


@pytest.mark.parametrize("label", ["F1", "L4", "O3"])
def test_an_equation_of_the_network_agrees(label):
    evidence = parity(label)()
    (closest,) = evidence.figures
    assert closest.by_hand == pytest.approx(closest.torch, rel=1e-12)
    assert "tensors agree" in evidence.text


def test_a_gradient_is_compared_with_differences_too():
    closest, differences = parity("B2")().figures
    assert closest.by_hand == pytest.approx(closest.torch, rel=1e-12)
    assert differences.name == "dW1[2, 3], central differences in the torch column"
    assert differences.by_hand == pytest.approx(differences.torch, rel=1e-6)


def test_a_broken_equation_changes_its_evidence():
    runs.cache_clear()
    try:
        with edited(handgrad.manual.network, ("dZ @ A_prev.T", "2 * dZ @ A_prev.T")):
            evidence = parity("B2")()
    finally:
        runs.cache_clear()
    assert "tensors differ" in evidence.text
    assert evidence.figures[0].by_hand == pytest.approx(2 * evidence.figures[0].torch, rel=0.2)
