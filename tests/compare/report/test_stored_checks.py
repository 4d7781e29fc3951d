"""The reports of real checks, stored and read back: as the schema says, with the same facts and renderings."""

import jsonschema
import numpy as np
import pytest
import torch

import handgrad
from handgrad.compare.report import stored
from tests.compare.report.test_json import SCHEMA
from tests.support import parsed

P, BATCH = {"w": np.array([1.0, 2.0, 3.0])}, (np.array([0.3, -0.7, 0.2]),)


def derivation(p, x):
    return {"J": (p["w"] ** 2 * x).sum(), "dw": 2 * p["w"] * x}


def wrong(p, x):
    return derivation(p, x) | {"dw": -2 * p["w"] * x}


def infinite(p, x):
    return derivation(p, x) | {"dw": np.array([np.nan, np.inf, -np.inf])}


def raising(p, x):
    raise ValueError("mine")


def reference(p, x):
    return (p["w"] ** 2 * x).sum()


def update(p, grads, state):
    return {"w": p["w"] - 0.1 * grads["dw"]}, state


def trainer(params, batches):
    w = params["w"]
    for (x,) in batches:
        w = w - 0.1 * 2 * w * x
        yield {"w": w}


def sgd(tensors):
    return torch.optim.SGD(tensors, lr=0.1)


MADE = {
    "gradients": lambda: handgrad.check_gradients(derivation, reference, P, BATCH),
    "a finding": lambda: handgrad.check_gradients(wrong, reference, P, BATCH),
    "not finite": lambda: handgrad.check_gradients(infinite, reference, P, BATCH),
    "an exception": lambda: handgrad.check_gradients(raising, reference, P, BATCH),
    "nothing returned": lambda: handgrad.check_gradients(lambda p, x: {}, reference, P, BATCH),
    "one precision": lambda: handgrad.check_gradients(derivation, reference, P, BATCH, precisions=("float32",)),
    "updates": lambda: handgrad.check_updates(update, sgd, P),
    "training": lambda: handgrad.check_training(trainer, reference, sgd, P, [BATCH, BATCH]),
    "initializer": lambda: handgrad.check_initializer(
        lambda s, rng: rng.random(s), torch.nn.init.normal_, (40, 60), seed=2
    ),
    "a function": lambda: handgrad.check_function(torch.exp, torch.exp, torch.ones(3, 2).bfloat16()),
    "a wrong function": lambda: handgrad.check_function(lambda x: x * 1.1, torch.clone, torch.ones(3, 2).half()),
    "the notes' network": lambda: handgrad.Experiment(steps=2).run("synthetic"),
    "free running": lambda: handgrad.Experiment(steps=2, free_running=True).run("synthetic"),
}


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_the_report_of_a_check_is_as_the_schema_says_and_comes_back_the_same(made):
    report = made()
    jsonschema.validate(parsed(report.to_json()), SCHEMA)
    (again,) = stored.read(report.to_json(), "it").values()
    assert again.to_json() == report.to_json()
    assert str(again) == str(report)
    assert again.to_markdown() == report.to_markdown()
    assert again.ok == report.ok
    environment = report.environment
    assert environment["torch"] == torch.__version__
    assert environment["numpy"] == np.__version__
    assert environment["threads"] == torch.get_num_threads()
    assert environment["dtype"] == environment["precisions"][0]
    assert "seed" in environment
