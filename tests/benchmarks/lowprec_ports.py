"""Derivations in float32 alone, judged by both rules there are: that of check_gradients and that of check_function.

    python -m tests.benchmarks.lowprec_ports [--seed N] [--kernels N]

prints what each makes of the same float32 kernels, right and with a mistake, and what it costs. For check_gradients a
kernel is a derivation that is handed NumPy arrays, computes in float32 and returns the gradients of the sum of its
outputs times random numbers.
"""

from __future__ import annotations

import argparse
import random
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor

import handgrad
from tests.benchmarks.lowprec import SIZES
from tests.benchmarks.lowprec_cases import REGIMES, Case, drawn, judged
from tests.benchmarks.processes import in_order
from tests.corpus.kernels import KERNELS, mistakes_of
from tests.corpus.kernels_arithmetic import PRECISIONS
from tests.corpus.kernels_planted import Function, outputs_of

RULES = ("check_gradients", "check_function")
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Compared:
    """A kernel, the size of its mistake, 0 for none, and by rule the verdict and the seconds of a core."""

    kernel: str
    what: str
    size: float
    verdicts: tuple[str, ...]
    seconds: tuple[float, ...]

    def __str__(self) -> str:
        said = ", ".join(f"{rule} {verdict}" for rule, verdict in zip(RULES, self.verdicts, strict=True))
        return f"{self.kernel}: {self.what or 'right'} ({self.size:.2g}): {said}"


def as_derivation(case: Case, function: Function) -> tuple[Callable[..., Any], Callable[..., Any], Arrays, tuple]:
    """What check_gradients is handed for a kernel: derivation, reference, params and batch."""
    trained = [i for i, t in enumerate(case.inputs) if t.is_floating_point()]
    params = {f"p{i}": case.inputs[i].numpy() for i in trained}
    others = [t.numpy() for i, t in enumerate(case.inputs) if i not in trained]
    batch = (*others, *(c.numpy() for c in case.cotangents))

    def loss(of: Function, leaves: Sequence[Tensor], given: Sequence[Tensor]) -> Tensor:
        parts = {True: iter(leaves), False: iter(given[: len(others)])}
        outputs = outputs_of(of, [next(parts[t.is_floating_point()]) for t in case.inputs])
        pairs = zip(outputs, given[len(others) :], strict=True)
        return sum(((y * c.to(y.dtype)).sum() for y, c in pairs), torch.zeros((), dtype=outputs[0].dtype))

    def derivation(p: Arrays, *given: np.ndarray) -> Arrays:
        leaves = [torch.tensor(p[f"p{i}"]).float().requires_grad_() for i in trained]
        J = loss(function, leaves, [torch.tensor(array) for array in given])
        found = torch.autograd.grad(J, leaves)
        return {"J": J.detach().numpy(), **{f"dp{i}": g.numpy() for i, g in zip(trained, found, strict=True)}}

    def reference(p: dict[str, Tensor], *given: Tensor) -> Tensor:
        return loss(case.reference(), [p[f"p{i}"] for i in trained], given)

    return derivation, reference, params, batch


def by_gradients(case: Case, function: Function) -> str:
    """The verdict of check_gradients."""
    report = handgrad.check_gradients(*as_derivation(case, function))
    return "FAULT" if not report.ok else report.findings[0].verdict if report.findings else "OK"


def compared(seed: int, index: int, *, is_wrong: bool) -> Compared:
    """One kernel in float32, of random shape, arithmetic and regime, by both rules."""
    rng = random.Random(f"ports {seed} {index} {is_wrong}")
    mistake, number, size = None, 0, 0.0
    while True:
        kernel = [*KERNELS.values()][index % len(KERNELS)]
        case = drawn(rng, kernel, PRECISIONS["float32"], rng.choice(["ordinary", *REGIMES]))
        if is_wrong:
            mistake = rng.choice(mistakes_of(kernel))
            number = rng.randrange(sum(tensor.is_floating_point() for tensor in case.inputs))
            size = case.size(mistake, number)
        if not is_wrong or size > 1e-9:
            break
    function = case.function(mistake, number)
    verdicts, seconds = zip(
        _timed(lambda: by_gradients(case, function)),
        _timed(lambda: judged(function, case.reference(), case.inputs)),
        strict=True,
    )
    return Compared(kernel.name, mistake.what if mistake else "", size, verdicts, seconds)


def _timed(verdict: Callable[[], str]) -> tuple[str, float]:
    started = time.process_time()
    return verdict(), time.process_time() - started


def table(outcomes: Sequence[Compared]) -> str:
    """By rule: FAULT + UNTOLD or WEAK of all, right and by the size of the mistake, and the seconds."""
    groups = {"right": [each for each in outcomes if not each.what]}
    most = float("inf")
    for title, least in {**SIZES, "smaller": 0.0}.items():
        groups[title] = [each for each in outcomes if each.what and least <= each.size < most]
        most = least
    rows = []
    for i, rule in enumerate(RULES):
        seconds = [each.seconds[i] for each in outcomes]
        cells = [_cell([each.verdicts[i] for each in group]) for group in groups.values()]
        rows.append([rule, *cells, f"{median(seconds):.2f}, {max(seconds):.1f} at most"])
    return tabulate(rows, headers=["FAULT + not told of all", *groups, "seconds"], disable_numparse=True)


def _cell(verdicts: Sequence[str]) -> str:
    untold = sum(each in ("UNTOLD", "WEAK") for each in verdicts)
    return f"{verdicts.count('FAULT')} + {untold} of {len(verdicts)}"


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31), help="fresh unless given")
    parser.add_argument("--kernels", type=int, default=130, help="right ones, and as many with a mistake")
    arguments = parser.parse_args(argv)
    print(f"seed {arguments.seed}", flush=True)
    measures = [
        partial(compared, arguments.seed, i, is_wrong=is_wrong)
        for is_wrong in (False, True)
        for i in range(arguments.kernels)
    ]
    outcomes = []
    for each in in_order(measures):
        outcomes.append(each)
        if each.verdicts != (("FAULT",) * 2 if each.what else ("OK",) * 2):
            print(each, flush=True)
    print(f"\n{table(outcomes)}")


if __name__ == "__main__":
    main()
