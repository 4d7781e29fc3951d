"""Which line made an array is seen where reading cannot tell."""

import inspect
import sys
import textwrap

import numpy as np
import pytest
import torch

from handgrad import check_gradients, check_training, check_updates
from handgrad.compare.source.tracing import seen
from tests.compare.source.written import module

SHAPE = (3, 4)
WAYS = {
    "a name used again": ("""
        out = {}
        d = X * 2
        out["dW"] = d
        d = X * 3
        out["other"] = d
        return out
        """, "d = X * 2"),
    "a branch": ("""
        if X.size > 100:
            dW = X * 1
        else:
            dW = X * 2
        return {"dW": dW}
        """, "dW = X * 2"),
    "an early return": ("""
        if X.size < 100:
            return {"dW": X * 2}
        return {"dW": X * 1}
        """, 'return {"dW": X * 2}'),
    "changed in a loop over a tuple": ("""
        dW, db = X * 1, X * 3
        for g in (dW, db):
            g *= 2
        return {"dW": dW}
        """, "g *= 2"),
    "changed by another name": ("""
        dW = X * 1
        alias = dW
        alias *= 2
        return {"dW": dW}
        """, "alias *= 2"),
    "filled": ("""
        dW = np.empty_like(X)
        np.multiply(X, 2, out=dW)
        return {"dW": dW}
        """, "np.multiply(X, 2, out=dW)"),
    "a walrus": ("""
        db = (dW := X * 2) + 1
        return {"dW": dW, "db": db}
        """, "db = (dW := X * 2) + 1"),
    "several lines": ("""
        dW = (
            X
            * 2
        )
        return {"dW": dW}
        """, "dW = ("),
    "a helper found in a table": ("""
        table = {"twice": twice}
        return {"dW": table["twice"](X)}
        """, "return 2 * a"),
    "a comprehension over another result": ("""
        good = {"dW": X * 1}
        return {name: 2 * g for name, g in good.items()}
        """, "return {name: 2 * g for name, g in good.items()}"),
    "an object": ("""
        layer = Layer()
        layer.backward(X)
        return {"dW": layer.dW}
        """, "self.dW = X * 2"),
}  # fmt: skip
HELPERS = """
import numpy as np

class Layer:
    def backward(self, X):
        self.dW = X * 2

def twice(a):
    return 2 * a

def packed(Z, A, dZ, dW, db, dv): return dict(Z=Z, A=A, dZ=dZ, dW=dW, db=db, dv=dv)

def derivation(P, X):
"""


def written(body):
    """The derivation of a body, in a file of its own, and the file's lines."""
    names, lines = module(HELPERS.lstrip("\n") + textwrap.indent(textwrap.dedent(body).strip("\n"), "    ") + "\n")
    return names["derivation"], lines


@pytest.mark.parametrize("way", WAYS)
def test_the_line_that_made_an_array_is_seen_and_marked(way):
    body, line = WAYS[way]
    derivation, lines = written(body)
    X = np.arange(1.0, 13.0).reshape(SHAPE)
    made = seen(lambda: derivation({}, X))
    assert lines[made["dW"][1] - 1].strip() == line

    def reference(p, X):
        return (p["W"] * X).sum()

    report = check_gradients(lambda P, X: derivation(P, X), reference, {"W": X}, (X,))
    marked = {n for c in report.details.code if c.side == "by hand" for n in c.tensors.get("dW", ())}
    assert line in {lines[n - 1].strip() for n in marked}
    assert not {lines[n - 1].strip() for n in marked} & {"dW = X * 1", "d = X * 3", 'return {"dW": X * 1}'}


@pytest.mark.parametrize("make", ["np.empty_like(X)", "np.empty(X.shape)"])
def test_a_line_that_writes_what_stood_there_by_chance_is_seen(make):
    derivation, lines = written(f"""
        dW = {make}
        np.multiply(X, 2, out=dW)
        return {{"dW": dW}}
        """)
    X = np.arange(1.0, 13.0).reshape(SHAPE)
    before = np.empty, np.empty_like
    for _ in range(20):
        derivation({}, X)  # NumPy hands out again the memory that it leaves
        made = seen(lambda: derivation({}, X))
        assert lines[made["dW"][1] - 1].strip() == "np.multiply(X, 2, out=dW)"
    assert (np.empty, np.empty_like) == before


def test_code_that_raises_tells_nothing_and_a_trace_is_taken_away_again():
    before = sys.gettrace()
    assert seen(lambda: 1 / 0) == {}
    assert sys.gettrace() is before

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seen(interrupted)
    assert sys.gettrace() is before
    assert seen(lambda: None) == {}
    assert seen(lambda: {"a": 1.0, "b": [1.0]}) == {}


def test_a_mapping_that_raises_when_it_is_read_tells_nothing():
    class Broken(dict):
        def items(self):
            raise RuntimeError("not ready")

    assert seen(lambda: Broken(Z=np.ones(2))) == {}


def test_a_run_that_is_too_long_to_watch_tells_nothing():
    derivation, _ = written("""
        dW = X * 1
        for _ in range(12000):
            pass
        dW *= 2
        return {"dW": dW}
        """)
    assert seen(lambda: derivation({}, np.ones(SHAPE))) == {}


RNG = np.random.default_rng(1)
PARAMS = {"W": RNG.standard_normal((4, 3)), "b": RNG.standard_normal((4, 1)), "v": RNG.standard_normal((1, 4))}
BATCH = (RNG.standard_normal((3, 7)),)


def reference(p, X):
    return (p["v"] @ torch.tanh(p["W"] @ X + p["b"])).sum()


def line_of(function, text):
    lines, first = inspect.getsourcelines(function)
    return next(first + i for i, line in enumerate(lines) if text in line)


def test_an_update_and_a_trainer_are_watched_too():
    def update(params, grads, state):
        moved = {}
        for name, w in params.items():
            step = 0.2 * grads[f"d{name}"]
            moved[name] = w - step
        return moved, state

    def sgd(tensors):
        return torch.optim.SGD(tensors, lr=0.1)

    found = check_updates(update, sgd, PARAMS)
    assert line_of(update, "moved[name] = ") in found.details.code[0].tensors["W_next"]

    def trainer(params, batches):
        W, b, v = params["W"], params["b"], params["v"]
        for step, (X,) in enumerate(batches):
            if step < 1:  # noqa: SIM108  # two lines, one of which runs
                W = W * X.size / X.size
            else:
                W = W + 1.0
            yield {"W": W, "b": b, "v": v}

    training = check_training(trainer, lambda p, X: 0 * reference(p, X), sgd, PARAMS, [BATCH, BATCH])
    assert training.first.where.step == 2
    assert training.details.code[0].tensors["W_next"] == (line_of(trainer, "W = W + 1.0"),)
