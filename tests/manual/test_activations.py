import numpy as np
import pytest
import torch

from handgrad.compare.operations import names, operation

ACTIVATIONS = [name for name in names("activation") if len(operation("activation", name).by_hand) == 2]


def hands(name):
    """An activation and its derivative by hand, both as functions of Z."""
    row = operation("activation", name)
    value, derivative = row.hands()
    return value, derivative if row.reads == "Z" else lambda Z: derivative(value(Z))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_value_and_derivative_equal_torch_and_keep_the_dtype(name, dtype):
    row = operation("activation", name)
    value, derivative = hands(name)
    Z = (4 * np.random.default_rng(1).standard_normal((5, 7))).astype(dtype)
    z = torch.tensor(Z, requires_grad=True)
    a = row.twin()()(z)
    a.backward(torch.ones_like(a))
    A, dZ = value(Z), derivative(Z)
    operands = {"Z": Z, "A": A, "dA": np.ones_like(Z), "dZ": dZ}
    for tensor, ours, theirs in (("A", A, a.detach().numpy()), ("dZ", dZ, z.grad.numpy())):
        units = row.units.get(tensor, lambda m: 0)(lambda operand: np.abs(operands[operand]))
        assert (np.abs(ours - theirs) <= units * np.finfo(dtype).eps).all(), tensor  # both sides round, by u = eps/2
    assert A.dtype == dtype
    assert derivative(Z).dtype == dtype


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivative_equals_central_differences(name):
    value, derivative = hands(name)
    Z = 3 * np.random.default_rng(2).standard_normal((4, 6))
    Z[np.abs(Z) < 0.1] += 0.2  # away from the kink of ReLU
    h = 1e-6
    np.testing.assert_allclose(derivative(Z), (value(Z + h) - value(Z - h)) / (2 * h), atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nothing_overflows_up_to_ten_thousand(name, dtype):
    value, derivative = hands(name)
    Z = np.array([[-1e4, -800.0, -90.0, 0.0, 90.0, 800.0, 1e4]], dtype=dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        A = value(Z)
        assert np.isfinite(A).all()
        assert np.isfinite(derivative(Z)).all()


def test_sigmoid_reaches_its_ends_and_keeps_small_values():
    sigmoid, _ = hands("sigmoid")
    np.testing.assert_array_equal(sigmoid(np.array([-1e4, 0.0, 1e4])), [0.0, 0.5, 1.0])
    np.testing.assert_allclose(sigmoid(np.array([-700.0])), [np.exp(-700.0)], rtol=1e-15)


def test_relu_has_slope_0_at_0_as_in_torch():
    _, derivative = hands("relu")
    Z = np.array([[-1.0, 0.0, 2.0]])
    np.testing.assert_array_equal(derivative(Z), [[0.0, 0.0, 1.0]])


def test_identity_returns_an_array_of_its_own():
    identity, _ = hands("identity")
    Z = np.ones((2, 3))
    assert not np.shares_memory(identity(Z), Z)
