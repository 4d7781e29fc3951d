import torch

from handgrad import tap
from handgrad.torchref.tap import tapped


def test_outside_a_check_a_tap_is_the_tensor_itself():
    t = torch.ones(3)
    assert tap("t", t) is t


def test_inside_a_check_the_code_goes_on_with_what_the_handler_returns():
    seen = []

    def handler(name, tensor):
        seen.append(name)
        return tensor + 1

    with tapped(handler):
        assert float(tap("t", torch.tensor(1.0))) == 2.0
    assert float(tap("u", torch.tensor(1.0))) == 1.0
    assert seen == ["t"]


def test_taps_nest_and_end_with_an_exception():
    t = torch.tensor(1.0)
    try:
        with tapped(lambda name, tensor: tensor + 1), tapped(lambda name, tensor: tensor + 10):
            assert float(tap("t", t)) == 11.0
            raise RuntimeError
    except RuntimeError:
        pass
    assert tap("t", t) is t


def test_a_tap_in_the_middle_of_a_module_names_what_flows_through():
    class Doubled(torch.nn.Module):
        def forward(self, x):
            return tap("twice", 2 * x) + 1

    names = []
    with tapped(lambda name, tensor: names.append(name) or tensor):
        Doubled()(torch.ones(2))
    assert names == ["twice"]
