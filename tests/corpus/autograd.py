"""The corpus checked against autograd: the right derivations are right, each wrong one is wrong where it says.

`python -m tests.corpus.autograd`, from the repository root, does that on 20 draws of each operation.
"""

import math
import sys
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from handgrad.torchref.tap import tapped
from tests.corpus.cases import Array, Arrays, Case, Tensors
from tests.corpus.operations import BUILDERS
from tests.corpus.variants import HOWS

__all__ = ["autograd", "complaints_about_faults", "complaints_about_records"]


def autograd(case: Case) -> Arrays:
    """Tapped intermediates in order, J and every gradient, by torch in float64."""
    seen: Tensors = {}

    def handler(name: str, tensor: Tensor) -> Tensor:
        tensor.retain_grad()
        seen[name] = tensor
        return tensor

    leaves = {name: torch.tensor(value, requires_grad=True) for name, value in case.params.items()}
    with tapped(handler):
        J = case.reference(leaves, *map(torch.tensor, case.batch))
    J.backward()
    values = {**seen, "J": J}
    gradients = {f"d{name}": tensor.grad for name, tensor in (seen | leaves).items()}
    return {name: tensor.detach().numpy() for name, tensor in (values | gradients).items()}


def difference(A: Array, B: Array) -> float:
    """The largest |A - B| relative to the largest |B|."""
    largest = float(np.abs(B).max())
    if largest == 0:
        return math.inf if np.any(A) else 0.0
    return float(np.abs(A - B).max()) / largest


def to_float32(array: Array) -> Array:
    """Float arrays in float32, others as they are."""
    return array.astype(np.float32) if array.dtype == np.float64 else array


def complaints_about_records(case: Case, truth: Arrays, bound: float = 1e-9) -> Iterator[str]:
    """What is wrong with the right derivations: names, order, shapes, types, values."""
    for how, variant in zip(HOWS, case.variants, strict=True):
        records = variant(case.params, *case.batch)
        forward = [name for name in truth if not name.startswith("d")]
        order = [*(name for name in forward if name in records), *list(records)[sum(f in records for f in forward) :]]
        if list(records) != order:
            yield f"{how.name}: order {list(records)}"
        if unknown := set(records) - set(truth):
            yield f"{how.name}: {unknown} not in the reference"
        if missing := {f"d{name}" for name in case.params} - set(records):
            yield f"{how.name}: {missing} missing"
        for name, record in records.items():
            if record.dtype != np.float64 or record.shape != truth[name].shape or not np.all(np.isfinite(record)):
                yield f"{how.name}, {name}: {record.dtype} {record.shape}"
            elif difference(record, truth[name]) > bound:
                yield f"{how.name}, {name}: off by {difference(record, truth[name]):.1e}"
    single = {name: to_float32(value) for name, value in case.params.items()}, *map(to_float32, case.batch)
    derivations = zip((h.name for h in HOWS), case.variants, strict=True)
    for name, derivation in [*derivations, *((fault.name, fault.derivation) for fault in case.faults)]:
        records = derivation(*single)
        if wrong := [key for key, record in records.items() if record.dtype != np.float32]:
            yield f"{name}: not in float32: {wrong}"


def complaints_about_faults(case: Case, smallest: dict[str, float]) -> Iterator[str]:
    """What is wrong with the wrong derivations: where the first difference is, and its size (kept in `smallest`)."""
    base = case.variants[0](case.params, *case.batch)
    for fault in case.faults:
        records = fault.derivation(case.params, *case.batch)
        if [(n, a.shape) for n, a in records.items()] != [(n, a.shape) for n, a in base.items()]:
            yield f"{fault.name}: other names or shapes"
            continue
        first = next((name for name in base if np.any(records[name] != base[name])), "none")
        if first != fault.tensor:
            yield f"{fault.name}: the first record to differ is {first}, not {fault.tensor}"
        gradients = [name for name in base if name.startswith("d")]
        change = max(difference(records[name], base[name]) for name in gradients)
        smallest[fault.name] = min(change, smallest.get(fault.name, math.inf))
        if change <= 1e-12:
            yield f"{fault.name}: changes no gradient by more than {change:.1e}"
    kinds = [fault.kind for fault in case.faults]
    if kinds.count("structural") < 5 or kinds.count("small") < 4 or len({f.name for f in case.faults}) < len(kinds):
        yield f"too few faults, or two of one name: {kinds}"


def main(seeds: int = 20) -> int:
    """Check every builder on some seeds; 1 if anything is wrong."""
    failed = False
    for index, (name, builder) in enumerate(BUILDERS.items()):
        differs = dict.fromkeys((how.name for how in HOWS[1:]), 0)
        smallest: dict[str, float] = {}
        worst = 0.0
        for seed in range(seeds):
            case = builder(np.random.default_rng([index, seed]))
            truth = autograd(case)
            base, *others = (variant(case.params, *case.batch) for variant in case.variants)
            worst = max(worst, *(difference(r[key], truth[key]) for r in (base, *others) for key in r))
            for how, records in zip(differs, others, strict=True):
                differs[how] += any(np.any(records[key] != base[key]) for key in base)
            for complaint in (*complaints_about_records(case, truth), *complaints_about_faults(case, smallest)):
                sys.stdout.write(f"WRONG {name}, seed {seed}: {complaint}\n")
                failed = True
        least = min(smallest, key=lambda fault: smallest[fault])
        sys.stdout.write(
            f"{name}: {len(case.variants)} variants, off autograd by at most {worst:.1e}; differ from the base in "
            f"{' '.join(map(str, differs.values()))} of {seeds} seeds; {len(case.faults)} faults, the smallest "
            f"{smallest[least]:.1e} ({least})\n"
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
