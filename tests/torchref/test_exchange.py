import numpy as np
import torch

from handgrad.torchref import exchange, network


def model_and_arrays():
    model = network.build((3, 4, 2), (torch.nn.Tanh, torch.nn.Sigmoid), torch.float64)
    rng = np.random.default_rng(9)
    shapes = {"W1": (4, 3), "b1": (4, 1), "W2": (2, 4), "b2": (2, 1)}
    return model, {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def test_the_reference_is_an_ordinary_sequential():
    model, _ = model_and_arrays()
    assert [type(module).__name__ for module in model] == ["Linear", "Tanh", "Linear", "Sigmoid"]
    assert type(model) is torch.nn.Sequential


def test_load_copies_weights_in_the_notes_orientation():
    model, arrays = model_and_arrays()
    exchange.load(model, arrays)
    x = np.random.default_rng(1).standard_normal((3, 5))
    z = model[0](torch.tensor(x).T).T
    np.testing.assert_allclose(z.detach().numpy(), arrays["W1"] @ x + arrays["b1"], atol=1e-14)


def test_memory_is_never_shared():
    model, arrays = model_and_arrays()
    exchange.load(model, arrays)
    for name, parameter in exchange.parameters(model).items():
        before = parameter.detach().clone()
        arrays[name] += 1.0
        assert torch.equal(parameter, before), name
        copy = exchange.to_array(parameter)
        copy += 1.0
        assert torch.equal(parameter, before), name
    array = np.zeros(3)
    tensor = exchange.to_tensor(array)
    tensor += 1
    assert not array.any()
