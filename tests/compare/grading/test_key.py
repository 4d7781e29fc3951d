"""Keys: what they must have, and what is said of one that cannot be used; other checks than that of gradients."""

import pytest

from handgrad.compare.errors import InputError
from handgrad.compare.grading.key import COSTS, load_key
from tests.compare.grading.conftest import states
from tests.compare.grading.course import KEY, TANH, TENSORS

REFUSED = {
    "no key": ("x = 1\n", "lacks reference, params, batch"),
    "a wrong solution": (KEY.replace(*TANH), "first in dZ1"),
    "points of nothing": (KEY + "points = {'dW7': 1}\n", "did you mean 'dW2'"),
    "points that are none": (KEY + "points = {'dW1': 'two'}\n", "must be a number"),
    "negative points": (KEY + "points = {'dW1': -1}\n", "from 0 on"),
    "no points at all": (KEY + "points = {'dW1': 0}\n", "all 0"),
    "points in a list": (KEY + "points = [1, 2]\n", "must be a dict"),
    "an unknown cost": (KEY + "costs = {'autogrd': 1}\n", "did you mean 'autograd'"),
    "no finite cost": (KEY + "costs = {'autograd': float('inf')}\n", "must be a number"),
    "a syntax error": ("def reference(:\n", "SyntaxError"),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_a_key_that_cannot_be_used_says_why(text, message, tmp_path):
    path = tmp_path / "key.py"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_key(str(path))
    assert "\n" not in str(caught.value)


def test_by_default_all_tensors_are_worth_the_same(tmp_path):
    (tmp_path / "key.py").write_text(KEY)
    key = load_key(str(tmp_path / "key.py"))
    assert (key.due, {*key.points}, {*key.points.values()}) == ("derivation", {*TENSORS}, {100 / len(TENSORS)})


def test_a_key_may_price_every_remark(tmp_path):
    (tmp_path / "key.py").write_text(f"{KEY}\ncosts = {dict.fromkeys(COSTS, 1)}\n")
    assert {*load_key(str(tmp_path / "key.py")).costs} == {*COSTS}


UPDATES = """
import numpy as np
import torch

params = {"W": np.arange(1.0, 7.0).reshape(2, 3), "b": np.ones((2, 1))}


def optimizer(tensors):
    return torch.optim.SGD(tensors, lr=0.1, momentum=0.9)


def update(params, grads, state):
    state = state or {name: np.zeros_like(w) for name, w in params.items()}
    v = {name: 0.9 * state[name] + grads[f"d{name}"] for name in params}
    return {name: w - 0.1 * v[name] for name, w in params.items()}, v
"""
IN_PLACE = """
import numpy as np

def update(params, grads, state):
    state = state or {name: np.zeros_like(w) for name, w in params.items()}
    for name, w in params.items():
        state[name] *= 0.9
        state[name] += grads[f"d{name}"]
        w -= 0.1 * state[name]
    return params, state
"""
AN_OBJECT = """
class State:
    def __init__(self, params):
        self.v = {name: 0 * w for name, w in params.items()}

def update(params, grads, state):
    state = state or State(params)
    state.v = {name: 0.9 * v + grads[f"d{name}"] for name, v in state.v.items()}
    return {name: w - 0.1 * state.v[name] for name, w in params.items()}, state
"""
TRAINING = """
import numpy as np
import torch

rng = np.random.default_rng(5)
params = {"W": rng.standard_normal((3, 2))}
batches = [(rng.standard_normal((6, 3)), rng.standard_normal((6, 2))) for _ in range(3)]


def reference(params, X, Y):
    return ((X @ params["W"] - Y) ** 2).sum() / 2 / len(X)


def optimizer(tensors):
    return torch.optim.SGD(tensors, lr=0.1)


def trainer(params, batches):
    W = params["W"]
    for X, Y in batches:
        dW = X.T @ (X @ W - Y) / len(X)
        W = W - 0.1 * dW
        yield {"W": W, "dW": dW}
"""


@pytest.mark.parametrize("text", [UPDATES, IN_PLACE, AN_OBJECT], ids=["dicts", "in place", "an object"])
def test_updates_are_graded(text, graded):
    grade = graded(text.replace("import torch\n", ""), UPDATES)
    assert {*states(grade).values()} == {"right"}, (grade.ended, states(grade))
    wrong = graded(text.replace("0.1 *", "0.2 *"), UPDATES)
    assert {name for name, state in states(wrong).items() if state == "wrong"} == {"W_next", "b_next"}


def test_training_is_graded(graded):
    own = TRAINING[TRAINING.index("def trainer") :]
    assert graded(own, TRAINING).score == pytest.approx(100)
    wrong = graded(own.replace("X.T @ (X @ W - Y)", "X.T @ (Y - X @ W)"), TRAINING)
    assert states(wrong) == {"dW": "wrong", "W_next": "carried"} or states(wrong)["dW"] == "wrong"


def test_a_trainer_that_does_not_end_is_ended(graded):
    own = TRAINING[TRAINING.index("def trainer") :]
    grade = graded(own.replace("for X, Y in batches:", "while True:\n        X, Y = batches[0]"), TRAINING)
    assert grade.score < 100
