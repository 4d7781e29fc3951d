"""Modules that are called within `untouched` are afterwards what they were."""

import pytest
import torch
from torch import nn

from handgrad.compare.oracle.modules import untouched


def called(module, *shape):
    module(torch.ones(shape).normal_()).square().sum().backward()


MODULES = {
    "batch norm": (lambda: nn.BatchNorm1d(3), (5, 3)),
    "within another": (lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), (5, 3)),
    "instance norm": (lambda: nn.InstanceNorm1d(3, affine=True, track_running_stats=True), (2, 3, 5)),
    "no buffers": (lambda: nn.Linear(3, 4), (5, 3)),
}


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize(("make", "shape"), MODULES.values(), ids=MODULES)
def test_buffers_and_gradients_are_what_they_were(make, shape, gradients):
    module = make()
    if gradients:
        called(module, *shape)
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    before = [None if p.grad is None else p.grad.clone() for p in module.parameters()]
    same = [p.grad for p in module.parameters()]
    with untouched():
        called(module, *shape)
        called(module, *shape)
    assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())
    for parameter, along, values in zip(module.parameters(), same, before, strict=True):
        assert parameter.grad is along
        assert along is None or torch.equal(along, values)


def test_also_where_the_code_raises_and_not_beyond():
    module = nn.BatchNorm1d(3)
    with pytest.raises(RuntimeError), untouched():
        nn.Sequential(module, nn.Linear(4, 4))(torch.ones(5, 3))
    assert int(module.num_batches_tracked) == 0
    called(module, 5, 3)
    assert int(module.num_batches_tracked) == 1
