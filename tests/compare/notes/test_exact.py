"""The elementwise derivatives as sympy proves them."""

from handgrad.compare.notes.exact import proofs


def test_sympy_proves_the_elementwise_derivatives():
    assert proofs().keys() == {"A1", "A3", "L2", "B1", "L3"}
    assert all(proof for proof in proofs().values())
