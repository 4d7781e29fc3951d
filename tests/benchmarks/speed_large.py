"""Large derivations, right and with one mistake: what a check of them costs, counted in runs, seconds and bytes."""

import gc
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from handgrad import check_gradients, check_training, tap
from handgrad.compare.trace import in_precision
from tests.benchmarks.speed_subjects import derivation_of, fixture

__all__ = ["LARGE", "SMALL", "Subject", "bare", "beyond_records", "checked", "training"]

Arrays = dict[str, np.ndarray]


@dataclass
class Counted:
    """A function, and how often it was called."""

    function: Callable[..., Any]
    calls: int = field(default=0, init=False)

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        self.calls += 1
        return self.function(*arguments)


@dataclass(frozen=True)
class Subject:
    """A derivation with its reference, params and batch, and how one of its tensors becomes wrong."""

    derivation: Callable[..., Arrays]
    reference: Callable[..., torch.Tensor]
    params: Arrays
    batch: tuple[np.ndarray, ...]
    mistake: Callable[..., Arrays]

    def wrong(self, params: Arrays, *batch: np.ndarray) -> Arrays:
        """What the derivation returns with the mistake."""
        return self.mistake(self.derivation(params, *batch), params, *batch)


def linear() -> Subject:
    """A linear layer of 512 examples, 1024 inputs and 4096 outputs under half a squared error; dW lacks its 1/n."""
    rng = np.random.default_rng(1)
    params = {"W": rng.standard_normal((1024, 4096)) / 32, "b": rng.standard_normal(4096)}

    def derivation(p, X, Y):
        Z = X @ p["W"] + p["b"]
        dZ = (Z - Y) / len(X)
        return {"Z": Z, "J": np.sum((Z - Y) ** 2) / (2 * len(X)), "dZ": dZ, "dW": X.T @ dZ, "db": dZ.sum(0)}

    def reference(p, X, Y):
        Z = tap("Z", X @ p["W"] + p["b"])
        return ((Z - Y) ** 2).sum() / (2 * len(X))

    batch = (rng.standard_normal((512, 1024)), rng.standard_normal((512, 4096)))
    return Subject(derivation, reference, params, batch, lambda made, p, X, Y: made | {"dW": made["dW"] * len(X)})


def layer_norm() -> Subject:
    """Layer normalisation of 2048 x 2048 numbers; dX lacks the mean of dn * n."""
    rng = np.random.default_rng(2)
    params = {"X": rng.standard_normal((2048, 2048)), "g": rng.standard_normal(2048)}

    def derivation(p, M):
        c = p["X"] - p["X"].mean(1, keepdims=True)
        r = 1 / np.sqrt((c * c).mean(1, keepdims=True) + 1e-5)
        n = c * r
        dn = M * p["g"]
        dX = r * (dn - dn.mean(1, keepdims=True) - n * (dn * n).mean(1, keepdims=True))
        return {"n": n, "J": (n * dn).sum(), "dn": dn, "dg": (M * n).sum(0), "dX": dX}

    def mistaken(made, p, M):
        c = p["X"] - p["X"].mean(1, keepdims=True)
        r = 1 / np.sqrt((c * c).mean(1, keepdims=True) + 1e-5)
        return made | {"dX": r * (made["dn"] - made["dn"].mean(1, keepdims=True))}

    def reference(p, M):
        return (tap("n", torch.nn.functional.layer_norm(p["X"], (2048,))) * p["g"] * M).sum()

    return Subject(derivation, reference, params, (rng.standard_normal((2048, 2048)),), mistaken)


def network(layers: tuple[int, ...], n: int) -> Subject:
    """The notes' network of these widths, whose dZ1 lacks the derivative of its activation."""
    derivation, params, batch, reference = derivation_of(*fixture(layers, n))

    def mistaken(made, p, X, Y):
        wrong = {"dZ1": made["dA1"], "dW1": made["dA1"] @ X.T, "db1": made["dA1"].sum(1, keepdims=True)}
        return made | wrong

    return Subject(derivation, reference, params, batch, mistaken)


LARGE: dict[str, Callable[[], Subject]] = {
    "linear, 512 x 1024 x 4096": linear,
    "layer norm, 2048 x 2048": layer_norm,
    "a network of 1e7 parameters": lambda: network((2236, 2236, 2236, 10), 32),
}
SMALL: dict[str, Callable[[], Subject]] = {
    "64-64-12": lambda: network((64, 64, 12), 32),
    "30-16-1": lambda: network((30, 16, 1), 32),
    "six layers": lambda: network((30, 30, 30, 30, 30, 30, 4), 32),
}


def checked(subject: Subject, derivation: Callable[..., Arrays]) -> tuple[int, int, tuple[Any, ...]]:
    """How often a check called the derivation and the reference, and what it found."""
    hand, torch_side = Counted(derivation), Counted(subject.reference)
    report = check_gradients(hand, torch_side, subject.params, subject.batch)
    return hand.calls, torch_side.calls, report.findings


def bare(subject: Subject) -> None:
    """Two runs of each side: the derivation in both precisions, and torch forward and backward twice."""
    for dtype in ("float64", "float32"):
        handed = in_precision(dict(enumerate(subject.batch)), dtype)
        subject.derivation(in_precision(subject.params, dtype), *handed.values())
        leaves = {name: torch.tensor(array, requires_grad=True) for name, array in subject.params.items()}
        subject.reference(leaves, *map(torch.tensor, subject.batch)).backward()


def training() -> tuple[Callable[[], Any], Counted]:
    """A check of five steps by hand of 784-100-10, whose gradient of W1 nothing explains, and its reference."""
    derivation, params, _, reference = derivation_of(*fixture((784, 100, 10), 64))
    rng = np.random.default_rng(3)
    batches = [(rng.standard_normal((784, 64)), rng.integers(0, 2, (10, 64)).astype(float)) for _ in range(5)]
    noise = rng.standard_normal((100, 784)) / 100

    def trainer(p, given):
        for X, Y in given:
            made = derivation(p, X, Y)
            made["dW1"] = made["dW1"] + noise.astype(X.dtype)
            p = {name: w - (0.1 * made[f"d{name}"]).astype(w.dtype) for name, w in p.items()}
            yield p

    counted = Counted(reference)

    def check() -> Any:
        return check_training(trainer, counted, lambda of: torch.optim.SGD(of, lr=0.1), params, batches)

    return check, counted


def beyond_records(name: str) -> float:
    """MiB by which a check of a large subject raises the peak beyond its inputs and the records of both sides.

    In a process of its own.
    """
    code = f"from tests.benchmarks.speed_large import peak; print(peak({name!r}))"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    return float(done.stdout)


def peak(name: str) -> float:
    """The same, in this process: what the resident set rises by, less the records."""
    subject = LARGE[name]()
    small = SMALL["30-16-1"]()
    check_gradients(small.derivation, small.reference, small.params, small.batch)  # what is imported is in memory now
    records = subject.derivation(subject.params, *subject.batch)
    held = sum(array.nbytes for array in records.values()) * 2.5  # by hand in both precisions, and in torch
    del records
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    check_gradients(subject.derivation, subject.reference, subject.params, subject.batch)
    return (resident("VmHWM") - before - held) / 2**20


def resident(what: str) -> int:
    """Bytes of this process, as Linux tells them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(what))
