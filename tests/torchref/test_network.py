"""mlp: the notes' network as a reference, and what it says of arguments that do not fit."""

import pytest
import torch

from handgrad import mlp

BAD = {
    "one layer": (lambda: mlp((3,), (), "squared-error"), r"layers is \(3,\); it must hold two or more"),
    "negative": (lambda: mlp((3, -4, 2), ("tanh", "tanh"), "squared-error"), "positive whole numbers"),
    "too few activations": (lambda: mlp((3, 4, 2), ("tanh",), "squared-error"), "it must name 2, one a layer"),
    "unknown activation": (lambda: mlp((3, 4), ("foo",), "squared-error"), "of .*sigmoid"),
    "unknown loss": (lambda: mlp((3, 4), ("tanh",), "mse"), "loss is 'mse'; it must be one of"),
    "tanh last": (lambda: mlp((3, 4), ("tanh",), "binary-cross-entropy"), "binary-cross-entropy needs sigmoid there"),
    "l2": (lambda: mlp((3, 4), ("tanh",), "squared-error", l2=-1), "l2 is -1"),
}


@pytest.mark.parametrize(("act", "words"), BAD.values(), ids=BAD)
def test_misuse_is_one_sentence(act, words):
    with pytest.raises(ValueError, match=words):
        act()


def test_params_of_other_sizes_are_refused():
    reference = mlp((3, 5, 2), ("tanh", "sigmoid"), "binary-cross-entropy")
    params = {"W1": torch.ones(4, 3), "b1": torch.ones(4, 1), "W2": torch.ones(2, 4), "b2": torch.ones(2, 1)}
    with pytest.raises(ValueError, match=r"W1 is \(4, 3\); layers \(3, 5, 2\) need \(5, 3\)"):
        reference(params, torch.ones(3, 6), torch.ones(2, 6))
    with pytest.raises(ValueError, match="W1 is missing"):
        reference({}, torch.ones(3, 6), torch.ones(2, 6))
