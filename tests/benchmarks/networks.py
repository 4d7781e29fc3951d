"""Random runs of the notes' network: correct code in many roundings, and code with one planted mistake.

A case is an Experiment with data. A variant or a mistake is a list of edits of `manual`'s source, in force while the
case runs, so that what is measured is the whole command and not a model of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType

import numpy as np

import handgrad.manual.activations
import handgrad.manual.initializers
import handgrad.manual.losses
import handgrad.manual.network
import handgrad.manual.optimizers
import handgrad.manual.training
from handgrad.compare.experiment.data import load
from handgrad.compare.experiment.run import Experiment
from handgrad.compare.experiment.sides import by_hand, epoch_orders, initial_parameters
from tests.support import edited, network_of

Edit = tuple[ModuleType, str, str]
NETWORK, LOSSES, OPTIMIZERS, ACTIVATIONS = (
    handgrad.manual.network,
    handgrad.manual.losses,
    handgrad.manual.optimizers,
    handgrad.manual.activations,
)


@contextmanager
def editing(edits: Iterable[Edit]) -> Iterator[None]:
    """While entered, `manual` runs with the edits, of whichever of its modules."""
    by_module: dict[ModuleType, list[tuple[str, str]]] = {}
    for module, old, new in edits:
        by_module.setdefault(module, []).append((old, new))
    with ExitStack() as stack:
        for module, pairs in by_module.items():
            stack.enter_context(edited(module, *pairs))
        yield


@dataclass(frozen=True)
class Case:
    """One experiment with its data and the scale of its initial weights."""

    experiment: Experiment
    X: np.ndarray
    y: np.ndarray
    weight_scale: float

    @contextmanager
    def running(self, edits: Sequence[Edit] = ()) -> Iterator[None]:
        """While entered, `manual` draws weights of this case's scale and runs with the edits."""
        scale = (
            handgrad.manual.initializers,
            "return unit * standard",
            f"return {self.weight_scale!r} * unit * standard",
        )
        with editing((scale, *edits)):
            yield

    def derivation(self) -> Callable[..., dict[str, np.ndarray]]:
        """Forward, cost and backward as a function of (params, X, Y), as a user would hand it over."""
        network, _ = network_of(self.experiment)

        def derive(params: dict[str, np.ndarray], X: np.ndarray, Y: np.ndarray) -> dict[str, np.ndarray]:
            cache = NETWORK.forward(network, params, X)
            costs, gradients = NETWORK.cost(network, params, cache, Y), NETWORK.backward(network, params, cache, X, Y)
            return {**cache, **costs, **gradients}

        return derive

    def by_hand(self, dtype: str) -> list[dict[str, np.ndarray]]:
        """What the hand-written side records, step by step, without any comparison."""
        experiment = Experiment(**{**self.experiment.as_dict(), "dtype": dtype})
        data = load((self.X, self.y))
        orders = epoch_orders(experiment, len(self.X))
        steps: list[dict[str, np.ndarray]] = []
        with np.errstate(all="ignore"):
            for step, _, values in by_hand(experiment, data, initial_parameters(experiment), orders):
                steps += [{}] * (step - len(steps))
                steps[step - 1] = steps[step - 1] | {name: np.array(value) for name, value in values.items()}
        return steps


def random_case(rng: np.random.Generator, *, largest: float = 4e6) -> Case:
    """A case of depth 1-8, width 1-512, batch 1-1024, any activation, loss, initialisation, optimiser and input scale.

    Sizes are drawn again while a step would cost more than `largest` multiplications.
    """
    while True:
        depth, n = int(rng.integers(1, 9)), _log_integer(rng, 1024)
        layers = (*(_log_integer(rng, 512) for _ in range(depth)), _log_integer(rng, 10))
        if n * sum(a * b for a, b in pairwise(layers)) <= largest:
            break
    loss = str(rng.choice(["binary-cross-entropy", "squared-error"]))
    hidden = tuple(str(name) for name in rng.choice(["tanh", "relu", "sigmoid"], depth - 1))
    last = "sigmoid" if loss == "binary-cross-entropy" else str(rng.choice(["identity", "sigmoid", "tanh"]))
    batches = int(rng.integers(1, 3))
    N = n * batches + int(rng.integers(0, n)) if batches > 1 else n
    X = rng.standard_normal((N, layers[0])) * 10 ** (rng.uniform(-6, 6) if rng.random() < 0.5 else 0)
    _make_awkward(X, rng)
    y = rng.integers(0, 2, (N, layers[-1])).astype(float)
    experiment = Experiment(
        layers=layers,
        activations=(*hidden, last),
        loss=loss,
        initializer=str(rng.choice(["lecun", "glorot", "he"])),
        distribution=str(rng.choice(["normal", "uniform"])),
        bias_scale=float(rng.choice([0.0, 0.1, 1.0])),
        optimizer=str(rng.choice(["gradient-descent", "momentum"])),
        learning_rate=float(10 ** rng.uniform(-3, 0)),
        beta=float(rng.choice([0.5, 0.9, 0.99])),
        l2=float(rng.choice([0.0, 10 ** rng.uniform(-4, 0)])),
        batch_size=n,
        steps=int(rng.choice([1, 2, 3])) if rng.random() < 0.8 or n * len(layers) > 2000 else 12,
        seed=int(rng.integers(2**31)),
    )
    return Case(experiment, X, y, weight_scale=float(rng.choice([1.0, 1.0, 1.0, 30.0, 1e-3])))


def _log_integer(rng: np.random.Generator, largest: int) -> int:
    return int(np.exp(rng.uniform(0, np.log(largest + 0.999))))


def _make_awkward(X: np.ndarray, rng: np.random.Generator) -> None:
    """Cancelling pairs of inputs, or exact zeros, in a third of the cases each."""
    kind = rng.integers(3)
    if kind == 0 and X.shape[1] > 1:
        X[:, 1::2] = -X[:, : X.shape[1] // 2 * 2 : 2]
    elif kind == 1:
        X[rng.random(X.shape) < 0.3] = 0.0


# Correct code, differently rounded. Every one is the same formula; `differs` is counted by the benchmark.
VARIANTS: dict[str, tuple[Edit, ...]] = {
    "einsum": (
        (NETWORK, "W @ A_prev + b", 'np.einsum("ij,jk->ik", W, A_prev) + b'),
        (NETWORK, "dZ @ A_prev.T", 'np.einsum("ik,jk->ij", dZ, A_prev)'),
        (NETWORK, "W.T @ dZ", 'np.einsum("ij,ik->jk", W, dZ)'),
    ),
    "sequential sums": (
        (NETWORK, "W @ A_prev + b", "sum((W[:, k : k + 1] * A_prev[k] for k in range(len(A_prev))), b)"),
        (NETWORK, "dZ.sum(axis=1, keepdims=True)", "np.add.accumulate(dZ, axis=1)[:, -1:]"),
    ),
    "chunked sums": (
        (NETWORK, "W @ A_prev + b", "sum(W[:, k : k + 7] @ A_prev[k : k + 7] for k in range(0, len(A_prev), 7)) + b"),
        (
            NETWORK,
            "dZ @ A_prev.T",
            "sum(dZ[:, k : k + 5] @ A_prev[:, k : k + 5].T for k in range(0, dZ.shape[1], 5))",
        ),
    ),
    "reversed and transposed": (
        (NETWORK, "W @ A_prev + b", "b + (A_prev[::-1].T @ W[:, ::-1].T).T"),
        (NETWORK, "W.T @ dZ", "(dZ[::-1].T @ W[::-1]).T"),
        (NETWORK, "dZ.sum(axis=1, keepdims=True)", "dZ[:, ::-1] @ np.ones((dZ.shape[1], 1), dZ.dtype)"),
    ),
    "other association of 1/n": (
        (LOSSES, "return derivatives / n", "return derivatives * (1 / n)"),
        (LOSSES, "losses.sum() / n + penalty", "(losses / n).sum() + penalty"),
        (LOSSES, "(A - Y) ** 2 / 2", "0.5 * (A - Y) * (A - Y)"),
    ),
    "sigmoid by tanh, other derivatives": (
        (ACTIVATIONS, "1 / (1 + np.exp(-Z))", "(1 + np.tanh(Z / 2)) / 2"),
        (ACTIVATIONS, "return A * (1 - A)", "return A - A * A"),
        (ACTIVATIONS, "return 1 - A * A", "return (1 - A) * (1 + A)"),
        (LOSSES, "np.maximum(Z, 0) - Z * Y + np.log1p(np.exp(-np.abs(Z)))", "np.logaddexp(0, Z) - Z * Y"),
    ),
    "other forms of the update": (
        (
            OPTIMIZERS,
            'beta * velocities[f"v{name}"] + (1 - beta) * gradients[f"d{name}"]',
            'velocities[f"v{name}"] - (1 - beta) * (velocities[f"v{name}"] - gradients[f"d{name}"])',
        ),
        (OPTIMIZERS, "w - learning_rate * V", "w + V * -learning_rate"),
        (OPTIMIZERS, 'w - learning_rate * gradients[f"d{name}"]', 'w + (-gradients[f"d{name}"]) * learning_rate'),
    ),
}


# Right formulas in poor arithmetic: never a FAULT, at most WEAK or NONFINITE.
POOR: dict[str, tuple[Edit, ...]] = {
    "cross-entropy on probabilities": (
        (
            LOSSES,
            "np.maximum(Z, 0) - Z * Y + np.log1p(np.exp(-np.abs(Z)))",
            "-(Y * np.log(1 / (1 + np.exp(-Z))) + (1 - Y) * np.log(1 - 1 / (1 + np.exp(-Z))))",
        ),
    ),
    "tanh by exponentials": (
        (ACTIVATIONS, "return np.tanh(Z)", "return (np.exp(Z) - np.exp(-Z)) / (np.exp(Z) + np.exp(-Z))"),
    ),
    "float64 inside": (
        (NETWORK, "W @ A_prev + b", "W.astype(float) @ A_prev.astype(float) + b"),
        (NETWORK, "dZ @ A_prev.T", "dZ.astype(float) @ A_prev.T.astype(float)"),
    ),
    "recorded casts": ((NETWORK, "A = g.value(Z)", "A = g.value(Z).astype(np.float32).astype(Z.dtype)"),),
    "float32 only": (
        (
            handgrad.manual.training,
            "X_batch, Y_batch = X.take(batch, axis=1), Y.take(batch, axis=1)",
            "params = {name: np.float32(w) for name, w in params.items()}; "
            "state = {name: np.float32(V) for name, V in state.items()}; "
            "X_batch, Y_batch = np.float32(X.take(batch, axis=1)), np.float32(Y.take(batch, axis=1))",
        ),
    ),
}


@dataclass(frozen=True)
class Mistake:
    """A planted mistake: its edits, the equation it is in, and what a case must have for it to show."""

    edits: tuple[Edit, ...]
    equation: str
    kind: str
    needs: str = "True"

    def shows_in(self, case: Case) -> bool:
        """Whether the case runs the edited line with values that tell it from the right one."""
        e = case.experiment
        facts = {"L": e.depth, "loss": e.loss, "momentum": e.optimizer == "momentum", "l2": e.l2, "steps": e.steps}
        facts |= {"n": e.batch_size, "hidden": e.activations[:-1], "every": e.activations, "beta": e.beta}
        facts["bias"] = e.bias_scale
        return bool(eval(self.needs, {}, facts))


STRUCTURAL = "structural"
MISTAKES: dict[str, Mistake] = {
    "bias unused": Mistake(((NETWORK, "W @ A_prev + b", "W @ A_prev"),), "F1", STRUCTURAL, "bias > 0"),
    "bias subtracted": Mistake(((NETWORK, "W @ A_prev + b", "W @ A_prev - b"),), "F1", STRUCTURAL, "bias > 0"),
    "activation of -z": Mistake(((NETWORK, "g.value(Z)", "g.value(-Z)"),), "F2", STRUCTURAL),
    "sign of the gradient": Mistake(((LOSSES, "derivatives / n", "-derivatives / n"),), "B1", STRUCTURAL),
    "1/n forgotten": Mistake(((LOSSES, "derivatives / n", "derivatives"),), "B1", STRUCTURAL, "n > 1 and L > 1"),
    "1/n extra in a hidden dZ": Mistake(
        ((NETWORK, "dA * derivative", "dA * derivative / X.shape[1]"),), "B5", STRUCTURAL, "n > 1 and L > 1"
    ),
    "factor 2 in dW": Mistake(((NETWORK, "dZ @ A_prev.T", "2 * dZ @ A_prev.T"),), "B2", STRUCTURAL),
    "decay with the wrong sign": Mistake(
        ((NETWORK, "+ network.l2 * W", "- network.l2 * W"),), "B2", STRUCTURAL, "l2 > 0"
    ),
    "decay forgotten": Mistake(((NETWORK, " + network.l2 * W", ""),), "B2", STRUCTURAL, "l2 > 0"),
    "mean for sum in db": Mistake(
        ((NETWORK, "dZ.sum(axis=1, keep", "dZ.mean(axis=1, keep"),), "B3", STRUCTURAL, "n > 1"
    ),
    "last column for db": Mistake(
        ((NETWORK, "dZ.sum(axis=1, keepdims=True)", "dZ[:, -1:]"),), "B3", STRUCTURAL, "n > 1"
    ),
    "derivative forgotten": Mistake(
        ((NETWORK, "dA * derivative", "dA * 1"),), "B5", STRUCTURAL, "L > 1 and set(hidden) != {'identity'}"
    ),
    "derivative twice": Mistake(
        ((NETWORK, "dA * derivative", "dA * derivative * derivative"),), "B5", STRUCTURAL, "'tanh' in hidden"
    ),
    "updated weights in backprop": Mistake(
        ((NETWORK, "dA_prev = W.T @ dZ", "dA_prev = (W - 0.01 * dW).T @ dZ"),), "B4", STRUCTURAL, "L > 1"
    ),
    "1 - beta forgotten": Mistake(((OPTIMIZERS, "(1 - beta) * grad", "grad"),), "O3", STRUCTURAL, "momentum"),
    "velocity forgotten": Mistake(
        ((OPTIMIZERS, 'beta * velocities[f"v{name}"] + ', ""),), "O3", STRUCTURAL, "momentum and steps > 1"
    ),
    "beta swapped": Mistake(
        ((OPTIMIZERS, "(1 - beta) * grad", "beta * grad"),), "O3", STRUCTURAL, "momentum and beta != 0.5"
    ),
    "ascent": Mistake(((OPTIMIZERS, "w - learning_rate * V", "w + learning_rate * V"),), "O4", STRUCTURAL, "momentum"),
    "gradient ascent": Mistake(
        ((OPTIMIZERS, "w - learning_rate * grad", "w + learning_rate * grad"),), "U1", STRUCTURAL, "not momentum"
    ),
}


def random_mistake(case: Case, rng: np.random.Generator, kind: str, equations: str = "FBOU") -> tuple[str, Mistake]:
    """A mistake of a kind, "structural" or "subtle", that can show in the case, in equations of those letters."""
    if kind == STRUCTURAL:
        shown = {name: mistake for name, mistake in MISTAKES.items() if mistake.shows_in(case)}
        names = [name for name, mistake in shown.items() if mistake.equation[0] in equations]
        name = str(rng.choice(names))
        return name, MISTAKES[name]
    lines = [line for line in SUBTLE if Mistake((), line[2], "subtle", line[3]).shows_in(case)]
    lines = [line for line in lines if line[2][0] in equations]
    module, right, equation, needs = lines[int(rng.integers(len(lines)))]
    factor = 1 + float(rng.choice([-1, 1])) * float(10 ** rng.uniform(-8, -3))
    start, value = right.split(" = ", 1) if " = " in right else right.split(" ", 1)
    wrong = f"{start} {'= ' * (' = ' in right)}{factor!r} * ({value})"
    return f"{equation} times {factor!r}", Mistake(((module, right, wrong),), equation, "subtle", needs)


# Lines whose result a subtle mistake multiplies by 1 +- 1e-8 .. 1e-3.
SUBTLE = (
    (NETWORK, "return W @ A_prev + b", "F1", "True"),
    (NETWORK, "A = g.value(Z)", "F2", "True"),
    (LOSSES, "return derivatives / n", "B1", "True"),
    (NETWORK, "dW = dZ @ A_prev.T", "B2", "True"),
    (NETWORK, "db = dZ.sum(axis=1, keepdims=True)", "B3", "True"),
    (NETWORK, "dA_prev = W.T @ dZ", "B4", "L > 1"),
    (NETWORK, "dZ = dA * derivative", "B5", "L > 1"),
    (OPTIMIZERS, 'V = beta * velocities[f"v{name}"] + (1 - beta) * gradients[f"d{name}"]', "O3", "momentum"),
    (OPTIMIZERS, "updated[name] = w - learning_rate * V", "O4", "momentum"),
    (OPTIMIZERS, 'updated[name] = w - learning_rate * gradients[f"d{name}"]', "U1", "not momentum"),
)
