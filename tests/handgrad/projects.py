"""Projects that pytest's `pytester` makes: a derivation with its checks, right, wrong and WEAK."""

import re

__all__ = ["MINE", "PASSING", "WEAK", "WRONG", "summary"]

MINE = """
import numpy as np
import torch

params = {"w": np.array([1.0, 2.0, 3.0])}
batch = (np.array([0.3, -0.7, 0.2]),)
weak = lambda a: np.float32(a).astype(float)


def derivation(p, x):
    return {"J": (p["w"] ** 2 * x).sum(), "dw": 2 * p["w"] * x}


def wrong(p, x):
    return derivation(p, x) | {"dw": -2 * p["w"] * x}


def lossy(p, x):
    dw = 2 * p["w"] * x
    return derivation(p, x) | {"dw": dw.astype(np.float32).astype(dw.dtype)}


def reference(p, x):
    return (p["w"] ** 2 * x).sum()


def update(p, grads, state):
    return {"w": p["w"] - 0.1 * grads["dw"]}, state


def ascent(p, grads, state):
    return {"w": p["w"] + 0.1 * grads["dw"]}, state


def sgd(tensors):
    return torch.optim.SGD(tensors, lr=0.1)


def trainer(params, batches):
    w = params["w"]
    for (x,) in batches:
        w = w - 0.1 * 2 * w * x
        yield {"w": w}


def initializer(shape, rng):
    return rng.standard_normal(shape)
"""
PASSING = """
import torch
from mine import *

def test_gradients(parity):
    report = parity.check_gradients(derivation, reference, params, batch)
    assert report.ok and len(report.rows) == 2

def test_updates(parity):
    assert parity.check_updates(update, sgd, params, steps=5).ok

def test_training(parity):
    assert parity.check_training(trainer, reference, sgd, params, [batch, batch]).ok

def test_initializer(parity):
    assert parity.check_initializer(initializer, torch.nn.init.normal_, (4, 6), seed=1).ok

def test_function(parity):
    assert parity.check_function(torch.exp, torch.exp, (torch.ones(3, 2).bfloat16(),)).ok

def test_experiment(parity):
    from handgrad import Experiment
    assert parity.check_experiment(Experiment(steps=2), "synthetic").ok
"""
WRONG = """
import torch
from mine import *

def test_gradients(parity):
    parity.check_gradients(wrong, reference, params, batch)

def test_updates(parity):
    parity.check_updates(ascent, sgd, params)

def test_training(parity):
    larger = lambda p, b: ({"w": 1.1 * new["w"]} for new in trainer(p, b))
    parity.check_training(larger, reference, sgd, params, [batch])

def test_initializer(parity):
    parity.check_initializer(lambda shape, rng: 2 * rng.standard_normal(shape), torch.nn.init.normal_, (4, 6))
"""
WEAK = """
from mine import *

def test_weak(parity):
    parity.check_gradients(lossy, reference, params, batch)
"""


def summary(result):
    """The lines between the heading of the summary and the next one."""
    text = re.sub(r"\x1b\[\d*m", "", result.stdout.str())
    section = re.search(r"^=+ parity =+\n(.*?)^=+ ", text, flags=re.DOTALL | re.MULTILINE)
    return section[1].strip().splitlines() if section else None
