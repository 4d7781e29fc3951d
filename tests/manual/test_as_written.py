import numpy as np
import pytest

from handgrad.manual import as_written, initializers


def test_l2_the_literal_loss_is_negative_where_y_is_0():
    written = as_written.binary_cross_entropy(np.array([[0.9]]), np.array([[0.0]]))
    assert written[0, 0] == pytest.approx(-2.303, abs=5e-4)


def test_a3_the_literal_tanh_is_nan_where_the_exponential_overflows():
    with np.errstate(over="ignore", invalid="ignore"):
        assert np.isnan(as_written.tanh(np.array([710.0]))).all()
        assert np.isnan(as_written.tanh(np.array([89.0], dtype=np.float32))).all()
    np.testing.assert_allclose(as_written.tanh(np.array([0.3])), np.tanh(0.3), rtol=1e-12)


def test_c2_the_literal_bias_is_not_even_conformable():
    rng = np.random.default_rng(8)
    W1, W2, W3 = (rng.standard_normal(shape) for shape in ((4, 5), (3, 4), (1, 3)))
    b1, b2, b3 = (rng.standard_normal((n, 1)) for n in (4, 3, 1))
    with pytest.raises(ValueError, match="matmul"):
        as_written.collapsed_bias(W2, W1, b1, W2, b2, b3)
    X = rng.standard_normal((5, 6))
    collapsed = W3 @ W2 @ W1 @ X + (W3 @ W2 @ b1 + W3 @ b2 + b3)
    np.testing.assert_allclose(W3 @ (W2 @ (W1 @ X + b1) + b2) + b3, collapsed, atol=1e-13)


def test_i1_and_i5_differ_from_the_formulas_they_are_named_after():
    assert as_written.standard_deviation(10, 2500) == 1 / 2500
    assert initializers.lecun(10, 2500) == 1 / 50
    assert as_written.he(10, 40) == initializers.glorot(10, 40) != initializers.he(10, 40)
