"""The settings of a run of the notes' network."""

import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from handgrad.compare.errors import InputError
from handgrad.compare.experiment.settings import LARGEST, Settings, printed_first

BAD = {
    "no layers": ({"layers": ()}, "layers is ()"),
    "one layer": ({"layers": (3,)}, "input and an output width"),
    "zero width": ({"layers": (30, 0, 1)}, "layers[1] is 0"),
    "negative width": ({"layers": (30, -4, 1)}, "layers[1] is -4"),
    "fractional width": ({"layers": (30, 2.5, 1)}, "layers[1] is 2.5"),
    "layers a string": ({"layers": "30"}, "must be a sequence"),
    "unknown activation": ({"activations": ("tahn", "sigmoid")}, "did you mean 'tanh'"),
    "too few activations": ({"layers": (30, 4, 4, 1)}, "2 names for 3 layers"),
    "cross-entropy without sigmoid": ({"activations": ("tanh", "tanh")}, "needs sigmoid"),
    "unknown loss": ({"loss": "binary-crossentropy"}, "did you mean 'binary-cross-entropy'"),
    "softmax inside": (
        {"activations": ("softmax", "softmax"), "loss": "cross-entropy"},
        "the activation of layer 1 is softmax; it may stand only last, before cross-entropy",
    ),
    "softmax before another loss": (
        {"activations": ("tanh", "softmax"), "loss": "squared-error"},
        "the activation of layer 2 is softmax; it may stand only last, before cross-entropy",
    ),
    "cross-entropy without softmax": ({"loss": "cross-entropy"}, "cross-entropy needs softmax there"),
    "unknown initializer": ({"initializer": "xavier"}, "known are lecun"),
    "unknown distribution": ({"distribution": "gauss"}, "known are normal, uniform"),
    "unknown optimizer": ({"optimizer": "momentun"}, "did you mean 'momentum'"),
    "unknown dtype": ({"dtype": "float16"}, "known are float64, float32"),
    "rate 0": ({"learning_rate": 0}, "must be above 0"),
    "rate nan": ({"learning_rate": float("nan")}, "must be finite"),
    "rate a word": ({"learning_rate": "fast"}, "must be a number"),
    "beta 1": ({"beta": 1}, "from 0 to below 1"),
    "beta negative": ({"beta": -0.1}, "from 0 to below 1"),
    "l2 negative": ({"l2": -1}, "at least 0"),
    "batch 0": ({"batch_size": 0}, "at least 1"),
    "batch fractional": ({"batch_size": 1.5}, "whole number"),
    "epochs 0": ({"epochs": 0}, "at least 1"),
    "steps 0": ({"steps": 0}, "at least 1"),
    "seed negative": ({"seed": -1}, "at least 0"),
    "bias scale infinite": ({"bias_scale": float("inf")}, "must be finite"),
    "bias scale negative": ({"bias_scale": -1}, "at least 0"),
    "too many weights": ({"layers": (30, LARGEST, 1)}, "narrow a layer"),
    "too many epochs": ({"epochs": LARGEST + 1}, f"at most {LARGEST}"),
    "too many steps": ({"steps": LARGEST + 1}, f"at most {LARGEST}"),
}


@pytest.mark.parametrize(("fields", "words"), BAD.values(), ids=BAD)
def test_bad_fields_are_one_sentence_and_a_value_error(fields, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the words are checked below
        Settings(**fields)
    message = str(caught.value)
    assert isinstance(caught.value, InputError)
    assert words in message
    assert "\n" not in message


def test_settings_are_frozen_hashable_and_picklable():
    settings = Settings(layers=[3, np.int64(4), 1], learning_rate=np.float64(0.5))
    assert settings.layers == (3, 4, 1)
    assert type(settings.layers[1]) is int
    assert type(settings.learning_rate) is float
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert len({settings, Settings(layers=(3, 4, 1), learning_rate=0.5)}) == 1
    with pytest.raises(FrozenInstanceError):
        settings.seed = 1


def test_settings_are_plain_values():
    settings = Settings(steps=3)
    assert (settings.depth, settings.as_dict()["steps"]) == (2, 3)
    assert Settings(**settings.as_dict()) == settings


def test_the_precision_asked_for_is_printed_first():
    assert printed_first("float32") == ("float32", "float64")
