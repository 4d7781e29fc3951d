"""Points per equation: what is right earns them, also from wrong inputs, in whatever form and style."""

import pytest

from tests.compare.grading.conftest import states
from tests.compare.grading.course import KEY, MEAN, RIGHT, SCALE, TANH, TENSORS, THIRD, mistaken

EQUAL = 100 / len(TENSORS)
CASES = {
    "tanh": ([TANH], {"dZ1": "activation-derivative"}, {"dW1", "db1"}),
    "the bias": ([MEAN], {"db2": "bias-sum"}, set()),
    "the scale": ([SCALE], {"dZ2": "scale"}, {"db2", "dW2", "dA1", "dZ1", "db1", "dW1"}),
    "three": ([SCALE, TANH, THIRD], {"dZ2": "scale", "dZ1": "activation-derivative", "dW1": "sign"}, None),
    "the first value": ([('params["W1"] @ X +', 'params["W1"] @ X -')], {"Z1": "sign"}, None),
}


@pytest.mark.parametrize(("edits", "wrong", "carried"), CASES.values(), ids=CASES)
def test_a_mistake_costs_its_own_equation_and_nothing_that_follows(edits, wrong, carried, graded):
    grade = graded(mistaken(*edits))
    assert {mark.name: mark.cause.code for mark in grade.marks if mark.state == "wrong"} == wrong
    assert carried is None or {name for name, state in states(grade).items() if state == "carried"} == carried
    assert grade.score == pytest.approx(EQUAL * (len(TENSORS) - len(wrong)))
    assert grade.most == pytest.approx(100)


ALTERNATIVES = {
    "cosh": mistaken(("(1 - A1**2)", "/ np.cosh(Z1) ** 2")).replace("dA1 * /", "dA1 /"),
    "the value": mistaken(("(1 - A1**2)", "(1 - np.tanh(Z1) ** 2)")),
    "the 1/n later": mistaken(
        SCALE,
        ("dW2 = dZ2 @ A1.T", "dW2 = dZ2 @ A1.T / n"),
        MEAN,
        ("dW1 = dZ1 @ X.T", "dW1 = dZ1 @ X.T / n"),
        ("dZ1.sum(axis=1, keepdims=True)", "dZ1.mean(axis=1, keepdims=True)"),
    ),
    "einsum": mistaken(("dZ1 @ X.T", "np.einsum('in,jn->ij', dZ1, X)"), ("dZ2 @ A1.T", "np.inner(dZ2, A1)")),
    "one example at a time": """
import numpy as np

def derivation(params, X, Y):
    n = X.shape[1]
    kept = {k: [] for k in ("Z1", "A1", "Z2", "dZ2", "dA1", "dZ1")}
    J = 0.0
    grads = {k: np.zeros_like(v) for k, v in params.items()}
    for i in range(n):
        x, y = X[:, i:i + 1], Y[:, i:i + 1]
        z1 = params["W1"] @ x + params["b1"]
        a1 = np.tanh(z1)
        z2 = params["W2"] @ a1 + params["b2"]
        J += float(((z2 - y) ** 2).sum()) / 2 / n
        dz2 = (z2 - y) / n
        da1 = params["W2"].T @ dz2
        dz1 = da1 * (1 - a1 * a1)
        grads["W2"] += dz2 @ a1.T
        grads["b2"] += dz2
        grads["W1"] += dz1 @ x.T
        grads["b1"] += dz1
        for name, value in zip(kept, (z1, a1, z2, dz2, da1, dz1)):
            kept[name].append(value)
    return {"J": J, **{k: np.hstack(v) for k, v in kept.items()}, **{f"d{k}": v for k, v in grads.items()}}
""",
    "a class": """
import numpy as np

class Net:
    def __call__(self, params, X, Y):
        self.__dict__.update(params)
        self.X, self.Y, self.n = X, Y, X.shape[1]
        self.forward()
        return self.backward()

    def forward(self):
        self.Z1 = self.W1 @ self.X + self.b1
        self.A1 = np.tanh(self.Z1)
        self.Z2 = self.W2 @ self.A1 + self.b2
        self.J = np.sum((self.Z2 - self.Y) ** 2) / (2 * self.n)

    def backward(self):
        dZ2 = (self.Z2 - self.Y) / self.n
        dA1 = self.W2.T @ dZ2
        dZ1 = dA1 * (1 - self.A1 ** 2)
        grads = {"dW2": dZ2 @ self.A1.T, "db2": dZ2.sum(1)[:, None], "dW1": dZ1 @ self.X.T, "db1": dZ1.sum(1)[:, None]}
        return grads | {"dZ2": dZ2, "dA1": dA1, "dZ1": dZ1, "Z1": self.Z1, "A1": self.A1, "Z2": self.Z2, "J": self.J}

derivation = Net()
""",
    "gradients and a cache": RIGHT.replace(
        "return dict(Z1=Z1, A1=A1, Z2=Z2, J=J, ", "cache = dict(Z1=Z1, A1=A1, Z2=Z2)\n    return J, cache, dict("
    ),
    "per_example": """
import numpy as np
from handgrad import per_example

def one(params, x, y):
    x, y = x[:, None], y[:, None]
    Z1 = params["W1"] @ x + params["b1"]
    A1 = np.tanh(Z1)
    Z2 = params["W2"] @ A1 + params["b2"]
    dZ2 = Z2 - y
    dA1 = params["W2"].T @ dZ2
    dZ1 = dA1 * (1 - A1**2)
    J = ((Z2 - y) ** 2).sum() / 2
    values = {k: v[:, 0] for k, v in dict(Z1=Z1, A1=A1, Z2=Z2, dZ2=dZ2, dA1=dA1, dZ1=dZ1).items()}
    return {**values, "J": J, "dW2": dZ2 @ A1.T, "db2": dZ2, "dW1": dZ1 @ x.T, "db1": dZ1}

derivation = per_example(one, axis=1)
""",
    "torch tensors": "import numpy as np\nimport torch\n"
    + RIGHT.partition("\n")[2].replace("J=J,", "J=torch.tensor(J),"),
}


@pytest.mark.parametrize("text", ALTERNATIVES.values(), ids=ALTERNATIVES)
def test_what_is_right_in_another_form_has_all_points(text, graded):
    grade = graded(text)
    assert {*states(grade).values()} == {"right"}, (grade.ended, states(grade))
    assert grade.score == pytest.approx(100)
    assert not grade.remarks


def test_zeros_follow_from_zeros_by_any_formula_and_earn_nothing(graded):
    zeros = "import numpy as np\nzero = lambda *shape: np.zeros(shape)\ndef derivation(params, X, Y):\n    return {}\n"
    shapes = {"Z1": (4, 7), "A1": (4, 7), "Z2": (2, 7), "dZ2": (2, 7), "dW2": (2, 4), "db2": (2, 1), "dA1": (4, 7)}
    shapes |= {"dZ1": (4, 7), "dW1": (4, 3), "db1": (4, 1), "J": ()}
    entries = ", ".join(f"'{name}': zero{tuple(shape)}" for name, shape in shapes.items())
    assert graded(zeros.replace("{}", f"{{{entries}}}")).score == 0


def test_what_is_not_returned_has_no_points_and_the_rest_has(graded):
    grade = graded(mistaken((", dA1=dA1, dZ1=dZ1", "")))
    assert {name for name, state in states(grade).items() if state != "right"} == {"dA1", "dZ1"}
    assert {states(grade)["dA1"], states(grade)["dZ1"]} == {"missing"}


def test_the_key_says_what_equations_are_worth(graded):
    key = KEY + "\npoints = {'dZ1': 3, 'dW1': 2, 'db1': 1}\n"
    assert [(mark.name, mark.points) for mark in graded(RIGHT, key).marks] == [("dZ1", 3), ("db1", 1), ("dW1", 2)]
    assert graded(mistaken(TANH), key).score == 3


def test_without_a_solution_the_key_asks_for_what_the_reference_taps(graded):
    key = KEY[: KEY.index("def derivation")] + KEY[KEY.index("def reference") :]
    grade = graded(RIGHT, key)
    assert [*states(grade)] == ["Z1", "A1", "Z2", "J", "dW1", "db1", "dW2", "db2"]
    assert grade.score == pytest.approx(100)


CHEATS = {
    "autograd": """
import torch

def derivation(params, X, Y):
    leaves = {k: torch.tensor(v, requires_grad=True) for k, v in params.items()}
    X, Y = torch.tensor(X), torch.tensor(Y)
    Z1 = leaves["W1"] @ X + leaves["b1"]
    A1 = torch.tanh(Z1)
    Z2 = leaves["W2"] @ A1 + leaves["b2"]
    J = ((Z2 - Y) ** 2).sum() / (2 * X.shape[1])
    J.backward()
    return {"Z1": Z1, "A1": A1, "Z2": Z2, "J": J, **{f"d{k}": v.grad for k, v in leaves.items()}}
""",
    "differences": RIGHT.replace("def derivation", "def honest")
    + """

def derivation(params, X, Y):
    def loss(moved):
        return honest(moved, X, Y)["J"]

    found = honest(params, X, Y)
    h = 1e-6
    for name, w in params.items():
        g = np.zeros_like(w)
        for i in np.ndindex(w.shape):
            up, down = w.copy(), w.copy()
            up[i] += h
            down[i] -= h
            g[i] = (loss({**params, name: up}) - loss({**params, name: down})) / (2 * h)
        found[f"n{name}"] = g
    return found
""",
    "ignored-arguments": RIGHT.replace("def derivation", "def honest")
    + """

kept = {}

def derivation(params, X, Y):
    if not kept:
        kept.update(honest(params, X, Y))
    return kept
""",
    "mutated-input": mistaken(("    n = X.shape[1]", "    n = X.shape[1]\n    Y *= 1.0 + 1e-3")),
    "not-repeatable": mistaken(("dZ1 @ X.T", "dZ1 @ X.T + np.random.default_rng().random()")),
}


@pytest.mark.parametrize("code", CHEATS)
def test_what_is_no_derivation_is_remarked_and_may_cost_points(code, graded):
    key = KEY + f"\ncosts = {{'{code}': 30}}\n"
    free, costly = graded(CHEATS[code]), graded(CHEATS[code], key)
    assert [remark.code for remark in free.remarks] == [code]
    assert [remark.cost for remark in costly.remarks] == [30]
    assert costly.score == pytest.approx(max(0, free.score - 30))


def test_answers_that_do_not_follow_the_arguments_earn_nothing(graded):
    constants = """
import numpy as np

def derivation(params, X, Y):
    return {"J": %s, "dW2": np.array(%s).astype(X.dtype)}
"""
    names = {}
    exec(KEY, names)
    right = names["derivation"](names["params"], *names["batch"])
    grade = graded(constants % (float(right["J"]), right["dW2"].tolist()))
    assert (grade.score, states(grade)["dW2"]) == (0, "wrong")
    assert [remark.code for remark in grade.remarks] == ["ignored-arguments"]
