"""Which answers have one plain reading as a mapping."""

import numpy as np
import pytest
import torch

from handgrad.compare.mapping import as_mapping

A, B = np.ones(2), np.zeros(3)
READ = {
    "a mapping": ({"dW": A}, {"dW": A}),
    "two": (({"dW": A}, {"Z": B}), {"dW": A, "Z": B}),
    "a list": ([{"dW": A}, {"Z": B}], {"dW": A, "Z": B}),
    "a number first": ((2.5, {"dW": A}), {"J": 2.5, "dW": A}),
    "a number last": (({"dW": A}, np.float32(2.5)), {"J": 2.5, "dW": A}),
    "an array of one": (({"dW": A}, np.array([[2.5]])), {"J": 2.5, "dW": A}),
    "a tensor": ((torch.tensor(2.5, requires_grad=True), {"dW": A}), {"J": 2.5, "dW": A}),
    "None": (({"dW": A}, None), {"dW": A}),
    "the same twice": (({"dW": A, "J": 2.0}, {"dW": A.copy()}, 2.0), {"dW": A, "J": 2.0}),
}
KEPT = {
    "arrays": (A, B),
    "an array of two": ({"dW": A}, B),
    "no mapping": (2.5, 3.5),
    "two numbers": (2.5, {"dW": A}, 3.5),
    "two answers": ({"dW": A}, {"dW": 2 * A}),
    "a text": ({"dW": A}, "text"),
    "nested": ({"dW": A}, ({"Z": B},)),
    "nothing": (),
    "None": None,
    "an array": A,
    "two tensors": ({"J": torch.ones(1, requires_grad=True)}, torch.ones(1, requires_grad=True)),
}


@pytest.mark.parametrize(("returned", "mapping"), READ.values(), ids=READ)
def test_what_has_one_plain_reading_is_read(returned, mapping):
    made = as_mapping(returned)
    assert made.keys() == mapping.keys()
    for name, value in mapping.items():
        np.testing.assert_array_equal(torch.as_tensor(made[name]).detach().numpy().ravel(), np.ravel(value))


@pytest.mark.parametrize("returned", KEPT.values(), ids=KEPT)
def test_what_has_none_stays_as_it_is(returned):
    assert as_mapping(returned) is returned
