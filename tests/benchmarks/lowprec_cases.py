"""One check of one kernel: drawn at random, right or with a mistake, judged by handgrad and by what people use."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
import torch._dynamo  # torch does at its first operation under a mode: two seconds that are no check's
from torch import Tensor

import handgrad
from tests.benchmarks.lowprec_peers import PEERS
from tests.benchmarks.lowprec_torch import CALLS, SCALES, roundings
from tests.corpus.kernels import KERNELS, mistakes_of
from tests.corpus.kernels_arithmetic import EXACT, PRECISIONS, TF32, Arithmetic, Precision, poor, variants
from tests.corpus.kernels_bugs import BUGS, function_of_bug, inputs_of_bug
from tests.corpus.kernels_planted import (
    Function,
    Kernel,
    Slip,
    Tensors,
    cotangents_of,
    doubled,
    function_of,
    gradients_of,
    inputs_of,
    outputs_of,
    size_of,
)
from tests.corpus.kernels_slips import FACTORS, factor
from tests.corpus.planted import Mistake

REGIMES = {
    "ordinary": (1.0, 1.0),
    "large inputs": (30.0, 1.0),
    "small inputs": (1e-2, 1.0),
    "small upstream": (1.0, 2.0**-17),
}
"""What inputs and outputs are multiplied with: the last is what a mean over 1e5 tokens does to gradients."""

SUMS = "Sums are kept in 16 bits."
ON_LOSSES = 1 - 1e-6  # a factor that float32 tells on softmax cross-entropy


@dataclass(frozen=True)
class Outcome:
    """What became of one check: what was judged, the size of the mistake (0 where right), the verdict, alarms of peers.

    Alarms are (rule, cotangent) with a cotangent of "random" or "ones". For torch's own kernels the size is the largest
    error in roundings of what is stored.
    """

    corpus: str
    subject: str
    shape: str
    precision: str
    regime: str
    arithmetic: str
    what: str
    size: float
    verdict: str
    seconds: float
    elements: int
    alarms: frozenset[tuple[str, str]] = frozenset()

    def __str__(self) -> str:
        where = (self.corpus, self.subject, self.shape, self.precision, self.regime, self.arithmetic, self.what)
        return f"{self.verdict}: {', '.join(filter(None, where))} ({self.size:.2g})"


def judged(function: Function, reference: Function, inputs: Sequence[Tensor]) -> str:
    """The verdict of the check: OK, UNTOLD (nothing fails, something is not told) or FAULT."""
    report = handgrad.check_function(function, reference, tuple(inputs))
    return "FAULT" if not report.ok else "UNTOLD" if report.findings else "OK"


@contextmanager
def multiplying_in(precision: Precision) -> Iterator[None]:
    """Torch told that float32 matmuls may use TF32, where that is what kernels do."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision is TF32 else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


# --- kernels


@dataclass(frozen=True)
class Case:
    """A kernel, one of its shapes, a precision and a regime; inputs, a random cotangent, and an arithmetic."""

    kernel: Kernel
    shape: str
    precision: Precision
    regime: str
    inputs: Tensors
    cotangents: Tensors
    a: Arithmetic

    def function(self, mistake: Mistake | Slip | None = None, number: int = 0) -> Function:
        """The kernel in its arithmetic, with a mistake."""
        return _scaled(function_of(self.kernel, self.a, mistake, number), self.regime)

    def reference(self) -> Function:
        """What it is compared with."""
        return _scaled(self.kernel.reference, self.regime)

    def size(self, mistake: Mistake | Slip, number: int) -> float:
        """How large a mistake is in exact arithmetic."""
        exact = doubled(self.inputs), doubled(self.cotangents)
        wrong, right = (function_of(self.kernel, EXACT, planted, number) for planted in (mistake, None))
        return size_of(gradients_of(wrong, *exact), gradients_of(right, *exact))


def _scaled(function: Function, regime: str) -> Function:
    by = REGIMES[regime][1]
    return function if by == 1 else lambda *inputs: tuple(y * by for y in outputs_of(function, inputs))


def drawn(rng: random.Random, kernel: Kernel, precision: Precision, regime: str) -> Case:
    """A case of a random shape, in a random one of the right variants."""
    shape, seed = rng.choice([*kernel.shapes]), rng.randrange(2**31)
    generator = torch.Generator().manual_seed(seed)
    inputs = inputs_of(kernel, generator, kernel.shapes[shape], precision.storage, REGIMES[regime][0])
    cotangents = cotangents_of(_scaled(kernel.reference, regime), inputs, generator)
    return Case(kernel, shape, precision, regime, inputs, cotangents, rng.choice(variants(precision, seed)))


def right_outcome(seed: int, index: int) -> Outcome:
    """A right kernel; kernels, precisions and regimes in turn."""
    return _outcome("right", _in_turn(random.Random(f"right {seed} {index}"), index), None, 0)


def wrong_outcome(seed: int, index: int) -> Outcome:
    """A kernel with a random mistake that moves a gradient of the case."""
    rng = random.Random(f"wrong {seed} {index}")
    while True:
        case = _in_turn(rng, index)
        mistake = rng.choice(mistakes_of(case.kernel))
        number = rng.randrange(sum(tensor.is_floating_point() for tensor in case.inputs))
        if case.size(mistake, number) > 1e-9:
            return _outcome("wrong", case, mistake, number)


def _in_turn(rng: random.Random, index: int) -> Case:
    kernels, precisions, regimes = [*KERNELS.values()], [*PRECISIONS.values()], [*REGIMES]
    regime = rng.choice(["ordinary", *regimes])
    return drawn(rng, kernels[index % len(kernels)], precisions[index // len(kernels) % len(precisions)], regime)


def _outcome(corpus: str, case: Case, mistake: Mistake | Slip | None, number: int) -> Outcome:
    function, reference = case.function(mistake, number), case.reference()
    with multiplying_in(case.precision):
        verdict, seconds = timed(function, reference, case.inputs)
        alarms = alarms_of(function, reference, case)
    return Outcome(
        corpus,
        case.kernel.name,
        case.shape,
        case.precision.name,
        case.regime,
        case.a.name,
        mistake.what if mistake else "",
        case.size(mistake, number) if mistake else 0.0,
        verdict,
        seconds,
        elements_of(case.inputs),
        alarms,
    )


def timed(function: Function, reference: Function, inputs: Sequence[Tensor]) -> tuple[str, float]:
    """The verdict, and the seconds of one core that it took."""
    started = time.process_time()
    verdict = judged(function, reference, inputs)
    return verdict, time.process_time() - started


def elements_of(inputs: Sequence[Tensor]) -> int:
    """The numbers of all inputs."""
    return sum(tensor.numel() for tensor in inputs)


def alarms_of(function: Function, reference: Function, case: Case) -> frozenset[tuple[str, str]]:
    """Which peers alarm, with the case's cotangent and with ones."""
    ones = tuple(map(torch.ones_like, case.cotangents))
    found = set()
    for cotangent, dys in (("random", case.cotangents), ("ones", ones)):
        ours, eager = (gradients_of(f, case.inputs, dys) for f in (function, reference))
        exact = gradients_of(reference, doubled(case.inputs), doubled(dys))
        found |= {(name, cotangent) for name, rule in PEERS.items() if rule(ours, eager, exact)}
    return frozenset(found)


# --- sums in 16 bits, factors


def poor_outcome(seed: int, index: int) -> Outcome:
    """A kernel whose formulas are right and whose sums are kept in 16 bits; its size is what that costs."""
    rng = random.Random(f"poor {seed} {index}")
    case = _in_turn(rng, index)
    function, reference = _scaled(function_of(case.kernel, poor(case.precision)), case.regime), case.reference()
    exact = gradients_of(reference, doubled(case.inputs), doubled(case.cotangents))
    size = size_of(gradients_of(function, case.inputs, case.cotangents), exact)
    with multiplying_in(case.precision):
        verdict, seconds = timed(function, reference, case.inputs)
    held = (case.kernel.name, case.shape, case.precision.name, case.regime)
    return Outcome("poor", *held, "", SUMS, size, verdict, seconds, elements_of(case.inputs))


FactorTask = tuple[str, str, float]  # the corpus, a precision, a factor


def factor_tasks() -> list[FactorTask]:
    """Every factor in every precision; one and two units of roundoff; what float32 tells on cross-entropy."""
    factors = [("factors", name, value) for name in PRECISIONS for value in FACTORS]
    exact = [precision for precision in PRECISIONS.values() if precision is not TF32]
    units = [("one unit", each.name, 1 - each.unit) for each in exact]
    return [*factors, *units, *(("two units", each.name, (1 - each.unit) ** 2) for each in exact), _on_cross_entropy()]


def _on_cross_entropy() -> FactorTask:
    return ("factors", "float32", ON_LOSSES)


def factor_outcome(seed: int, task: FactorTask, index: int) -> Outcome:
    """A factor on one gradient of a random kernel at ordinary inputs; units of roundoff on plain arithmetic."""
    corpus, name, value = task
    rng = random.Random(f"factors {seed} {task} {index}")
    subjects = ["softmax cross-entropy"] if task == _on_cross_entropy() else [*KERNELS]
    case = drawn(rng, KERNELS[subjects[index % len(subjects)]], PRECISIONS[name], "ordinary")
    a = case.a if corpus == "factors" else variants(case.precision, 0)[0]
    number = rng.randrange(sum(tensor.is_floating_point() for tensor in case.inputs))
    with multiplying_in(case.precision):
        verdict, seconds = timed(function_of(case.kernel, a, factor(value), number), case.kernel.reference, case.inputs)
    held = (case.kernel.name, case.shape, name, case.regime, a.name)
    return Outcome(corpus, *held, f"{value:.10g}", 1 - value, verdict, seconds, elements_of(case.inputs))


# --- torch's own kernels, bugs of public ones


def torch_outcome(seed: int, task: tuple[str, str, float]) -> Outcome:
    """One of torch's own kernels in a low precision, against the same call in float64."""
    name, precision, scale = task
    call, dtype = CALLS[name], PRECISIONS[precision].storage
    generator = torch.Generator().manual_seed(random.Random(f"torch {seed} {task}").randrange(2**31))
    inputs = tuple(t.to(dtype) if t.is_floating_point() else t for t in call.draw(generator, scale))
    error = roundings(call.function, inputs, cotangents_of(call.function, inputs, generator))
    verdict, seconds = timed(call.function, call.function, inputs)
    return Outcome("torch", name, "", precision, f"x {scale:g}", "", "", error, verdict, seconds, elements_of(inputs))


def torch_tasks() -> list[tuple[str, str, float]]:
    """Every call in every type, at every scale."""
    return [(name, each, scale) for name in CALLS for each in PRECISIONS if each != TF32.name for scale in SCALES]


def bug_outcome(seed: int, task: tuple[int, str, bool]) -> Outcome:
    """A kernel that had a bug: as it was mended, or with it."""
    index, precision, is_wrong = task
    bug = BUGS[index]
    generator = torch.Generator().manual_seed(random.Random(f"bugs {seed} {index}").randrange(2**31))
    inputs = inputs_of_bug(bug, generator, PRECISIONS[precision].storage)
    mistake = bug.mistake if is_wrong else None
    verdict, seconds = timed(function_of_bug(bug, mistake), bug.reference, inputs)
    what = mistake.what if mistake else ""
    return Outcome("bugs", bug.report, "", precision, "ordinary", "", what, 0.0, verdict, seconds, elements_of(inputs))


def bug_tasks() -> list[tuple[int, str, bool]]:
    """Every bug and its mended kernel, in every type."""
    types = [name for name in PRECISIONS if name != TF32.name]
    return [(index, name, is_wrong) for index in range(len(BUGS)) for name in types for is_wrong in (False, True)]


# --- all that is run

Measure = Callable[[], Outcome]


def measures(seed: int, numbers: dict[str, int]) -> list[Measure]:
    """What is to be run: so many of each corpus, drawn; of `factors` so many of each, of `bugs` all unless 0."""
    found: list[Measure] = []
    for corpus, function in (("right", right_outcome), ("wrong", wrong_outcome), ("poor", poor_outcome)):
        found += [partial(function, seed, index) for index in range(numbers[corpus])]
    found += [partial(factor_outcome, seed, task, i) for task in factor_tasks() for i in range(numbers["factors"])]
    calls = torch_tasks()
    drawn_calls = random.Random(f"torch {seed}").sample(calls, min(numbers["torch"], len(calls)))
    found += [partial(torch_outcome, seed, task) for task in drawn_calls]
    return [*found, *(partial(bug_outcome, seed, task) for task in bug_tasks() if numbers["bugs"])]
