"""Other people's code against torch: an adapter of a few lines each, right forms left in peace, wrong ones found."""

import ast
import inspect
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import handgrad
from handgrad import check_gradients, from_module, per_example, tap
from tests.corpus.operations import BUILDERS
from tests.support import ROOT

pytestmark = pytest.mark.usefixtures("no_causes")
CODE = ROOT / "tests" / "compare" / "their_code"
SEED = 20
RNG = np.random.default_rng(SEED)


def their(module, *edits):
    """Somebody's module, with pieces of its source replaced; each must stand there exactly once."""
    source = (CODE / f"{module}.py").read_text(encoding="utf-8")
    for old, new in edits:
        assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in {module}.py"
        source = source.replace(old, new)
    namespace = {"__name__": module}
    exec(compile(source, f"{module}.py", "exec"), namespace)
    return SimpleNamespace(**namespace)


# --- the adapters, each of at most ten lines


def columns(code):
    def derivation(P, X, Y):
        Z1, A1, Z2, A2 = code.forward(P, X)
        return {"Z1": Z1, "A1": A1, "Z2": Z2, "J": code.loss(A2, Y), **code.backward(P, X, Y, A1, A2)}

    return derivation


def layers(code):
    def derivation(P, X, Y):
        first, relu, last = code.Dense(P["W1"], P["b1"]), code.Relu(), code.Dense(P["W2"], P["b2"])
        error = code.MeanSquaredError()
        J = error.forward(last.forward(relu.forward(first.forward(X))), Y)
        first.backward(relu.backward(last.backward(error.backward())))
        return {"J": J, "dW1": first.dW, "db1": first.db, "dW2": last.dW, "db2": last.db}

    return derivation


def one_example(code):
    def derivation(P, x, y):
        W, b, V, c = (P[name].tolist() for name in "WbVc")
        z, h, o = code.forward(W, b, V, c, x)
        do, dV, dc, dh, dz, dW, db = code.backward(W, V, x, y, h, o)
        J = sum((oi - yi) ** 2 for oi, yi in zip(o, y, strict=True)) / 2
        return {"z": z, "J": J, "do": do, "dV": dV, "dc": dc, "dh": dh, "dz": dz, "dW": dW, "db": db}

    return per_example(derivation, axis=0)


def trainer(code):
    def train(params, batches):
        theirs = code.Trainer(params["w"], params["b"])
        for x, y in batches:
            theirs.fit_batch(x, y)
            yield {"w": theirs.w, "b": theirs.b}

    return train


def momentum(code):
    def update(params, grads, velocity):
        velocity = velocity or {name: np.zeros_like(w) for name, w in params.items()}
        return code.momentum(params, grads, velocity)

    return update


def adam(code):
    def update(params, grads, optimizer):
        optimizer = optimizer or code.Adam()
        optimizer.step(params, grads)
        return params, optimizer

    return update


@pytest.mark.parametrize("adapter", [columns, layers, one_example, trainer, momentum, adam], ids=lambda f: f.__name__)
def test_an_adapter_takes_at_most_ten_lines(adapter):
    assert len(inspect.getsource(adapter).strip().splitlines()) <= 10


# --- the torch side


def normal(*shape):
    return RNG.standard_normal(shape)


def columns_reference(P, X, Y):
    A1 = tap("A1", torch.tanh(tap("Z1", P["W1"] @ X + P["b1"])))
    Z2 = tap("Z2", P["W2"] @ A1 + P["b2"])
    return F.binary_cross_entropy_with_logits(Z2, Y, reduction="sum") / Y.shape[1]


def one_reference(P, X, Y):
    h = tap("h", torch.tanh(tap("z", X @ P["W"].T + P["b"])))
    return ((tap("o", h @ P["V"].T + P["c"]) - Y) ** 2).sum() / 2 / len(X)


MODULE = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
NAMES = {"0.weight": "V1", "0.bias": "b1", "2.weight": "V2", "2.bias": "b2"}


def in_out(derivation):
    """nn.Linear keeps weights as (out, in), the layer objects as (in, out)."""

    def turned(P, X, Y):
        records = derivation({"W1": P["V1"].T, "b1": P["b1"], "W2": P["V2"].T, "b2": P["b2"]}, X, Y)
        turned = {"dV1": records["dW1"].T, "dV2": records["dW2"].T}
        return {name: records[name] for name in ("J", "db1", "db2")} | turned

    return turned


def layers_reference(P, X, Y):
    return F.mse_loss(torch.relu(X @ P["W1"] + P["b1"]) @ P["W2"] + P["b2"], Y)


def line(p, x, y):
    return ((x @ p["w"] + p["b"] - y) ** 2).sum() / 2 / len(x)


P_COLUMNS = {"W1": normal(4, 3), "b1": normal(4, 1), "W2": normal(2, 4), "b2": normal(2, 1)}
P_LAYERS = {"W1": normal(5, 4), "b1": normal(4), "W2": normal(4, 3), "b2": normal(3)}
P_MODULE = {"V1": normal(4, 5), "b1": normal(4), "V2": normal(3, 4), "b2": normal(3)}
P_ONE = {"W": normal(4, 3), "b": normal(4), "V": normal(2, 4), "c": normal(2)}
P_LINE = {"w": normal(5, 2), "b": normal(2)}
P_STEP = {"W1": normal(4, 3), "b1": normal(4, 1), "W2": normal(4, 3)}
B_COLUMNS = (normal(3, 7), RNG.integers(0, 2, (2, 7)).astype(float))
B_ROWS = (normal(7, 5), normal(7, 3))
B_ONE = (normal(6, 3), normal(6, 2))
BATCHES = [(normal(n, 5), normal(n, 2)) for n in (6, 6, 4, 6, 6, 4)]


def sgd(tensors):
    return torch.optim.SGD(tensors, lr=0.1, momentum=0.9)


CHECKS = {
    "columns": lambda by, code: by.check_gradients(columns(code), columns_reference, P_COLUMNS, B_COLUMNS),
    "layers": lambda by, code: by.check_gradients(layers(code), layers_reference, P_LAYERS, B_ROWS),
    "module": lambda by, code: by.check_gradients(
        in_out(layers(code)), from_module(MODULE, F.mse_loss, names=NAMES), P_MODULE, B_ROWS
    ),
    "one_example": lambda by, code: by.check_gradients(one_example(code), one_reference, P_ONE, B_ONE),
    "trainer": lambda by, code: by.check_training(trainer(code), line, sgd, P_LINE, BATCHES),
    "momentum": lambda by, code: by.check_updates(momentum(code), sgd, P_STEP),
    "adam": lambda by, code: by.check_updates(adam(code), lambda tensors: torch.optim.Adam(tensors, lr=0.001), P_STEP),
}
MODULES = {"module": "layers", "momentum": "optimizers", "adam": "optimizers"}

RIGHT = {
    "columns": [
        [],
        [("1 / (1 + np.exp(-z))", "0.5 * (1 + np.tanh(z / 2))"), ("1 - A1**2", "(1 - A1) * (1 + A1)")],
        [("(A2 - Y) / m", "A2 / m - Y / m"), ("dZ2 @ A1.T", 'np.einsum("kn,jn->kj", dZ2, A1)')],
    ],
    "layers": [
        [],
        [("dY.sum(axis=0)", "np.ones(len(dY)) @ dY"), ("np.mean(self.D**2)", "np.vdot(self.D, self.D) / self.D.size")],
        [
            ("self.X.T @ dY", "sum(np.outer(x, d) for x, d in zip(self.X[::-1], dY[::-1]))"),
            ("2 * self.D / self.D.size", "self.D * (2 / self.D.size)"),
        ],
        [("return X @ self.W + self.b", "return np.einsum('ni,io->no', X, self.W) + self.b")],
        [("np.where(self.mask, X, 0)", "np.maximum(X, 0)"), ("X > 0", "np.maximum(X, 0) > 0")],
    ],
    "one_example": [
        [],
        [("zip(row, x)) + bi", "zip(row[::-1], x[::-1])) + bi"), ("1 - hi * hi", "(1 - hi) * (1 + hi)")],
        [("math.tanh(zi)", "(math.exp(2 * zi) - 1) / (math.exp(2 * zi) + 1)")],
    ],
    "trainer": [
        [],
        [("(p - y) / len(x)", "(p - y) * (1 / len(x))"), ("x.T @ e", "(e.T @ x).T")],
        [
            (
                "self.w - self.rate * self.vw",
                "self.w - self.rate * self.beta * (self.vw - gw) / self.beta - self.rate * gw",
            )
        ],
        [("x.T @ e", "sum(np.outer(xi, ei) for xi, ei in zip(x[::-1], e[::-1]))")],
    ],
    "momentum": [
        [],
        [("w - lr * v", 'w - lr * mu * velocity[name] - lr * grads["d" + name]')],
        [("w - lr * v", "w - v / (1 / lr)"), ("mu * velocity[name]", "velocity[name] - (1 - mu) * velocity[name]")],
    ],
    "adam": [
        [],
        [("self.lr * m / (np.sqrt(v) + self.eps)", "m * (self.lr / (self.eps + v**0.5))")],
        [("(1 - self.b1) * g\n", "g - self.b1 * g\n"), ("* g * g", "* g**2")],
    ],
}
RIGHT["module"] = RIGHT["layers"]

WRONG = {
    "columns": [
        ("1 - A1**2", "1 - Z1**2 if False else 1 - A1", "dZ1"),
        ("(A2 - Y) / m", "(A2 - Y)", "dZ2"),
        ("(A2 - Y) / m", "(Y - A2) / m", "dZ2"),
        ("np.sum(dZ1, axis=1", "np.mean(dZ1, axis=1", "db1"),
        ('P["W2"].T @ dZ2', '(P["W2"] - 1e-3 * dW2).T @ dZ2', "dA1"),
        ("np.sum(dZ2, axis=1, keepdims=True)", "np.sum(dZ2, axis=1)", "db2"),
        ("np.log(A2)", "np.log(A2 + 1e-6)", "J"),
        ("dZ1 @ X.T", "dZ1 @ X.T * (1 + 1e-6)", "dW1"),
    ],
    "layers": [
        ("2 * self.D / self.D.size", "self.D / self.D.size", "db2"),
        ("dY * self.mask", "dY", "db1"),
        ("dY.sum(axis=0)", "dY.mean(axis=0)", "db2"),
        ("dY @ self.W.T", "dY @ np.abs(self.W).T", "db1"),
        ("self.X.T @ dY", "np.abs(self.X.T) @ dY", "dW1"),
    ],
    "one_example": [
        ("1 - hi * hi", "1 - hi", "dz"),
        ("oi - yi for oi, yi in zip(o, y)", "yi - oi for oi, yi in zip(o, y)", "do"),
        ("d * xi for xi in x", "d * xi * 1.0001 for xi in x", "dW"),
        ("db = dz[:]", "db = dh[:]", "db"),
    ],
    "trainer": [
        ("self.beta * self.vw + gw", "self.beta * self.vw + (1 - self.beta) * gw", (1, "w_next")),
        ("/ len(x)", "/ 6", (3, "w_next")),
        ("self.vb = self.beta * self.vb + gb", "self.vb = gb", (2, "b_next")),
        ("e.sum(axis=0)", "e.mean(axis=0)", (1, "b_next")),
        ("gw, gb = x.T @ e", "self.x0 = getattr(self, 'x0', x); gw, gb = self.x0[: len(e)].T @ e", (2, "w_next")),
    ],
    "momentum": [
        ("w - lr * v", "w + lr * v", (1, "W1_next")),
        ("w - lr * v", 'w - lr * (grads["d" + name] + mu * v)', (1, "W1_next")),
        ("mu * velocity[name]", "mu * (1 + 1e-6) * velocity[name]", (2, "W1_next")),
    ],
    "adam": [
        ("np.sqrt(v) + self.eps", "np.sqrt(v + self.eps)", (1, "W1_next")),
        ("/ (1 - self.b2**self.t)", "", (1, "W1_next")),
        ("            g = ", "            self.t += 1\n            g = ", (1, "W1_next")),
        ("            w -= ", "            self.t += 1\n            w -= ", (1, "b1_next")),
        ("self.eps)", "10 * self.eps)", (1, "W1_next")),
    ],
}  # fmt: skip
WRONG["module"] = [(old, new, name.replace("dW", "dV")) for old, new, name in WRONG["layers"]]


def checked(name, *edits):
    return CHECKS[name](handgrad, their(MODULES.get(name, name), *edits))


right = cache(checked)  # the report on the code as it stands


def changed(edited, right):
    """Whether edited code gives another report in bits: it is really differently rounded, or really wrong."""
    ours, theirs = ([(r.by_hand, r.max_abs_diff, r.rho, r.verdict) for r in report.rows] for report in (edited, right))
    return ours != theirs


FORMS = [(name, edits) for name in CHECKS for edits in RIGHT[name]]


@pytest.mark.parity(strict=True)
@pytest.mark.parametrize(("name", "edits"), FORMS, ids=[f"{name}: {edits}" for name, edits in FORMS])
def test_right_code_in_several_roundings_is_left_in_peace(parity, name, edits):
    CHECKS[name](parity, their(MODULES.get(name, name), *edits))


@pytest.mark.parametrize("name", CHECKS)
def test_the_roundings_of_right_code_differ(name):
    _, *others = RIGHT[name]
    assert sum(changed(checked(name, *edits), right(name)) for edits in others) >= 2


CASES = [(name, *case) for name, cases in WRONG.items() for case in cases]


@pytest.mark.parametrize(("name", "old", "new", "culprit"), CASES, ids=[f"{c[0]}: {c[2]}" for c in CASES])
def test_wrong_code_is_found_at_its_tensor(name, old, new, culprit):
    report = checked(name, (old, new))
    assert changed(report, right(name)), "the wrong code computes what the right one does"
    assert not report.ok
    where = report.first.where
    assert (where.name if isinstance(culprit, str) else (where.step, where.name)) == culprit, f"seed {SEED}\n{report}"


@pytest.mark.parametrize("name", ["softmax cross-entropy", "layer norm", "attention"])
def test_general_operations_by_hand(name):
    """Softmax, layer norm and attention: every right form and at least three mistakes, each at its tensor."""
    build = next(build for key, build in BUILDERS.items() if name.split()[0] in key)
    case = build(np.random.default_rng(SEED))
    for variant in case.variants[:4]:
        assert check_gradients(variant, case.reference, case.params, case.batch).findings == ()
    faults = [fault for fault in case.faults if fault.kind == "structural"]
    right = case.variants[0](case.params, *case.batch)
    for fault in faults[:5]:
        wrong = fault.derivation(case.params, *case.batch)
        assert any(not np.array_equal(wrong[key], value) for key, value in right.items()), fault.name
        report = check_gradients(fault.derivation, case.reference, case.params, case.batch)
        assert report.first.where.name == fault.tensor, f"{fault.name}\n{report}"
    assert len(faults) >= 3


def test_their_code_is_python_that_knows_nothing_of_us():
    for path in CODE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            assert set(names) <= {"numpy", "math"}, path
