"""The messages of unusable input: one line, what a value is, and the names that may have been meant."""

import numpy as np
import pytest
import torch

from handgrad.compare.errors import InputError, ParityError, did_you_mean, kind_of, nearest


def test_whatever_a_message_quotes_it_stays_one_line():
    assert str(InputError("it is\n  'a\tb'; write c")) == "it is 'a b'; write c"


def test_unusable_input_is_a_value_error_and_a_difference_an_assertion():
    assert issubclass(InputError, ValueError)
    assert issubclass(ParityError, AssertionError)


KINDS = {
    "None": None,
    "an int": 3,
    "a float": 3.0,
    "an ndarray": np.ones(2),
    "a str": "x",
    "a list": [],
    "an InputError": InputError(""),
    "a uint8": np.uint8(1),
    "a Tensor of torch.bool": torch.ones(2) > 0,
}


@pytest.mark.parametrize(("kind", "value"), KINDS.items(), ids=KINDS)
def test_what_a_value_is_has_its_article(kind, value):
    assert kind_of(value) == kind


@pytest.mark.parametrize(
    ("name", "meant"), [("dw", "dW"), ("dWW", "dW"), ("DB", "db"), ("gradient", ""), (3, "")], ids=str
)
def test_the_nearest_name_is_asked_for(name, meant):
    known = ("dW", "db", "Z1")
    question = f"did you mean {meant!r}? " if meant else ""
    assert nearest(name, known) == question
    assert did_you_mean(name, known) == f"{question}known are dW, db, Z1"
