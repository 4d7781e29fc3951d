"""from_module: any nn.Module as a reference."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from handgrad import from_module
from handgrad.torchref.tap import tapped

torch.manual_seed(0)
X, Y = torch.randn(6, 5, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)


def params_of(module, names=None):
    names = names or {}
    return {names.get(path, path): p.detach().double().requires_grad_() for path, p in module.named_parameters()}


def test_it_is_the_loss_of_the_module_at_the_parameters_handed_in():
    module = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    names = {"0.weight": "W1", "0": "Z1", "1": "A1"}
    reference, params, seen = from_module(module, F.mse_loss, names=names), params_of(module, names), {}
    with tapped(lambda name, tensor: seen.setdefault(name, tensor)):
        J = reference(params, X, Y)
    Z1 = X @ params["W1"].T + params["0.bias"]
    torch.testing.assert_close(seen["Z1"], Z1)
    torch.testing.assert_close(seen["A1"], Z1.tanh())
    torch.testing.assert_close(J, F.mse_loss(Z1.tanh() @ params["2.weight"].T + params["2.bias"], Y))
    J.backward()
    assert params["W1"].grad.shape == (4, 5)


def test_the_module_itself_is_left_alone():
    module = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    reference = from_module(module, F.mse_loss, names={"0": "Z1"})
    first, again = (float(reference(params_of(module), X, Y).detach()) for _ in range(2))
    assert first == again, "the running statistics of batch norm reached the next call"
    assert all(torch.equal(module.state_dict()[name], value) for name, value in before.items())
    assert not module[0]._forward_hooks


def test_the_mode_of_the_module_counts():
    module = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3))
    J = {}
    for mode in (True, False):
        module.train(mode)
        J[mode] = float(from_module(module, F.mse_loss)(params_of(module), X, Y).detach())
    assert J[True] != J[False]


def test_buffers_follow_the_dtype_of_the_parameters():
    module = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)).eval()
    assert from_module(module, F.mse_loss)(params_of(module), X, Y).dtype == torch.float64


def test_integer_buffers_and_several_targets():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(5, dtype=torch.float64))
            self.register_buffer("index", torch.tensor([0, 2]))

        def forward(self, x):
            return (x * self.w)[:, self.index]

    reference = from_module(Scaled(), lambda out, a, b: (out * a + b).sum())
    J = reference(params_of(Scaled()), X, torch.tensor(2.0), torch.tensor(1.0))
    torch.testing.assert_close(J, (X[:, [0, 2]] * 2 + 1).sum())


def test_a_path_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match=r"nothing at '1.weight'; known are 0.weight, 0.bias, 0"):
        from_module(nn.Sequential(nn.Linear(5, 3)), F.mse_loss, names={"1.weight": "W"})


def test_a_parameter_that_is_not_handed_in_is_an_error():
    with pytest.raises(ValueError, match=r"params has no '0.weight'; the module's parameters are 0.weight, 0.bias"):
        from_module(nn.Sequential(nn.Linear(5, 3)), F.mse_loss)({}, X, Y)


def test_only_tensors_can_be_tapped():
    reference = from_module(nn.Sequential(nn.LSTM(5, 3)), lambda out, y: out[0].sum(), names={"0": "h"})
    module = nn.Sequential(nn.LSTM(5, 3))
    with pytest.raises(ValueError, match="the submodule named 'h' returns a tuple"):
        reference(params_of(module), X, Y)


BAD = {
    "module": (lambda: from_module(nn.Linear, F.mse_loss), "module is a type; it must be an nn.Module"),
    "loss": (lambda: from_module(nn.Linear(5, 3), None), "loss is a NoneType; it must be a function"),
    "names": (lambda: from_module(nn.Linear(5, 3), F.mse_loss, names="W"), "names is 'W'; it must be a dict"),
    "number": (lambda: from_module(nn.Linear(5, 3), F.mse_loss, names={"weight": 1}), "it must be a dict of paths"),
    "twice": (
        lambda: from_module(nn.Linear(5, 5), F.mse_loss, names={"weight": "W", "bias": "W"}),
        "'W' names two things in the module",
    ),
}


@pytest.mark.parametrize(("act", "words"), BAD.values(), ids=BAD)
def test_misuse_is_one_sentence(act, words):
    with pytest.raises(ValueError, match=words):
        act()


def test_a_tied_parameter_goes_by_the_name_of_the_first():
    module = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    module[2].weight = module[0].weight
    with pytest.raises(ValueError, match=r"'2\.weight' is tied to '0\.weight', one parameter; name it by '0\.weight'"):
        from_module(module, lambda out: out.sum(), names={"2.weight": "W"})
