"""The verdict against fixed tolerances, on random correct and random wrong derivations.

    python -m tests.benchmarks.verdict [--seed N] [--cases N] [--operations N] [--cells N]

prints the table: networks, operations derived here, and with the extra `benchmarks` the gradients of autograd and JAX.
The seed is fresh unless given, and printed. Exit 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import secrets
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial, reduce
from importlib.util import find_spec
from operator import add
from statistics import median
from typing import Any

import numpy as np
import torch
from tabulate import tabulate

import handgrad.manual.network
from handgrad import Report, check_gradients, mlp
from handgrad.compare.experiment.data import load
from handgrad.compare.experiment.run import Experiment, run
from handgrad.compare.experiment.sides import epoch_orders, in_torch, initial_parameters
from handgrad.compare.facts.failures import Overflow
from handgrad.compare.names import is_updated
from handgrad.compare.pipeline import judged
from handgrad.compare.results import Finding
from handgrad.torchref.exchange import to_array
from tests.benchmarks.engines import PAIRS, Counts, engines_table, right_counts, wrong_counts
from tests.benchmarks.networks import (
    POOR,
    VARIANTS,
    Case,
    Mistake,
    random_case,
    random_mistake,
)
from tests.benchmarks.peers import PEERS, Steps
from tests.benchmarks.targets import Target, at_least, at_most, cost, none, share, table_of
from tests.benchmarks.verdict_costs import extra_costs
from tests.corpus.cancelling import listed, stationary_point
from tests.corpus.engines import ENGINES, REGIMES
from tests.corpus.operations import BUILDERS
from tests.support import NO_CAUSES

MOVED = 1e-12  # a mistake counts if it moves a gradient or an update by more, relative to its maximum


def network_counts(seed: int, index: int) -> Counter[str]:
    """One random network: one correct variant, one structural and one subtle mistake, by every rule."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rng = np.random.default_rng([seed, index])
    case = random_case(rng)
    counts: Counter[str] = Counter()
    with case.running():
        base, twin = _both(case.by_hand), _both(partial(_in_torch, case))
    for edits in [*VARIANTS.values()][index % len(VARIANTS) :]:
        with case.running(edits):
            hand = _both(case.by_hand)
            if _differs(hand["float32"], base["float32"]) or _differs(hand["float64"], base["float64"]):
                _count(counts, "right", case, hand, twin)
                break
        counts["variants that equal the base in bits, replaced"] += 1
    for kind in ("structural", "subtle"):
        for _ in range(10):
            title, mistake = random_mistake(case, rng, kind)
            with case.running(mistake.edits):
                hand = _both(case.by_hand)
            if _moves(hand["float64"], base["float64"]):
                with case.running(mistake.edits):
                    _count(counts, kind, case, hand, twin, mistake, f"{index} {title}")
                break
            counts["mistakes that move nothing, drawn again"] += 1
    return counts


def _count(
    counts: Counter[str],
    kind: str,
    case: Case,
    hand: Mapping[str, Steps],
    twin: Mapping[str, Steps],
    mistake: Mistake | None = None,
    title: str = "",
) -> None:
    """Judge one run by every rule."""
    report = run(case.experiment, (case.X, case.y))
    if mistake is None and report.first is not None and isinstance(report.first.cause, Overflow):
        counts["correct runs that overflow on both sides, left out"] += 1  # said, rightly; there is nothing to judge
        return
    counts[kind] += 1
    counts[f"ours {kind}"] += bool(report.findings)
    for name, rule in PEERS.items():
        counts[f"{name} {kind}"] += rule(hand, twin)
    if mistake is None:
        counts["rho above 1"] += _largest_rho(report) > 1
        counts[f"max rho {_largest_rho(report):.3f}"] += 1
        if report.findings:
            counts[f"note: false alarm {case.experiment} {_said(report.first)}"] += 1
    elif report.findings:
        counts[f"FAULT {kind}"] += report.findings[0].verdict != "WEAK"
        counts[f"first {kind}"] += report.findings[0].equation == mistake.equation
        counts[f"equations {kind}"] += len({finding.equation for finding in report.findings})
        if report.findings[0].equation != mistake.equation:
            counts[f"note: {title}: first finding {report.findings[0].where.name} {report.findings[0].equation}"] += 1
    else:
        counts[f"note: missed {title} in {case.experiment}"] += 1


def _both(run: Callable[[str], Steps]) -> dict[str, Steps]:
    return {dtype: run(dtype) for dtype in ("float32", "float64")}


def _in_torch(case: Case, dtype: str) -> Steps:
    """What torch records on its own, step by step."""
    experiment = Experiment(**{**case.experiment.as_dict(), "dtype": dtype})
    orders = epoch_orders(experiment, len(case.X))
    phases = in_torch(experiment, load((case.X, case.y)), initial_parameters(experiment), orders)
    steps: Steps = []
    for step, _, values in phases:
        steps += [{}] * (step - len(steps))
        steps[step - 1] = steps[step - 1] | {name: to_array(value) for name, value in values.items()}
    return steps


def _differs(some: Steps, other: Steps) -> bool:
    pairs = ((a[name], b[name]) for a, b in zip(some, other, strict=True) for name in b)
    return any(not np.array_equal(a, b, equal_nan=True) for a, b in pairs)


def _moves(wrong: Steps, right: Steps) -> bool:
    """Whether some gradient or update of the first steps is off by more than MOVED."""
    for a, b in zip(wrong, right, strict=True):
        for name, value in b.items():
            if name.startswith(("dW", "db")) or is_updated(name):
                scale = np.max(np.abs(value), initial=0.0)
                if not np.max(np.abs(a[name] - value), initial=0.0) <= MOVED * scale and np.isfinite(scale):
                    return True
    return False


def _said(finding: Finding) -> str:
    return f"{finding.verdict} {finding.where}: {finding.cause.code} {finding.cause}"


def _largest_rho(report: Report) -> float:
    return max((row.rho or 0.0 for row in report.rows), default=0.0)


def operation_counts(seed: int, index: int, names: Iterable[str] = BUILDERS) -> Counter[str]:
    """One random case of each operation named, whose formula the checker does not know."""
    torch.set_num_threads(1)
    counts: Counter[str] = Counter()
    for position, name in enumerate(names):
        case = BUILDERS[name](np.random.default_rng([seed, index, position]))
        check = partial(check_gradients, reference=case.reference, params=case.params, batch=case.batch)
        for number, variant in enumerate(case.variants):
            findings = check(variant).findings
            counts["generic right"] += 1
            counts["generic false"] += any(finding.verdict != "WEAK" for finding in findings)
            counts["generic weak"] += any(finding.verdict == "WEAK" for finding in findings)
            if findings:
                counts[f"note: {name} variant {number} in case {index}: {_said(findings[0])}"] += 1
        for fault in case.faults:
            findings = check(fault.derivation).findings
            counts[f"generic {fault.kind}"] += 1
            counts[f"generic {fault.kind} found"] += bool(findings)
            if findings:
                counts["generic found"] += 1
                counts["generic first"] += findings[0].where.name == fault.tensor
                counts["generic findings"] += len(findings)
                if "rounded to float32" in fault.name:
                    counts["casts"] += 1
                    counts["casts called FAULT"] += findings[0].verdict == "FAULT"
                else:
                    counts["generic named"] += 1
                    counts["generic FAULT"] += findings[0].verdict != "WEAK"
            else:
                counts[f"note: missed {fault.name} in case {index}"] += 1
    return counts


PREFIXES = {"F1": "Z", "F2": "A", "B1": "d", "B2": "dW", "B3": "db", "B4": "dA", "B5": "dZ"}


def switched_off_counts(seed: int, index: int) -> Counter[str]:
    """One random network as a derivation whose formulas the checker does not know, saturated ones counted apart."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rng = np.random.default_rng([seed, index, 1])
    case = random_case(rng, largest=1e5)
    e, counts = case.experiment, Counter[str]()
    title = "saturated" if case.weight_scale > 1 else "off"
    reference = mlp(e.layers, e.activations, e.loss, l2=e.l2)
    batch = (case.X.T[:, : e.batch_size], case.y.T[:, : e.batch_size])
    with case.running(), np.errstate(all="ignore"):
        params, right = initial_parameters(e), case.derivation()
        base = right(params, *batch)
    if not any(base[f"d{name}"].any() for name in params):
        return Counter({"every gradient is zero, left out": 1})  # said, rightly; there is nothing to judge

    def findings(edits: tuple[Any, ...]) -> Any:
        with case.running(edits):
            return check_gradients(case.derivation(), reference, params, batch).findings

    found = findings([*VARIANTS.values()][index % len(VARIANTS)])
    counts[f"{title} right"] += 1
    counts[f"{title} false"] += any(finding.verdict == "FAULT" for finding in found)
    if found:
        counts[f"note: registry off, correct run {index}: {_said(found[0])}"] += 1
    for kind in ("structural", "subtle"):
        name, mistake = random_mistake(case, rng, kind, "FB")
        with case.running(mistake.edits), np.errstate(all="ignore"):
            moves = _moves([case.derivation()(params, *batch)], [base])
        if not moves:
            continue
        found = findings(mistake.edits)
        counts[f"{title} {kind}"] += 1
        counts[f"{title} {kind} found"] += bool(found)
        counts[f"{title} first"] += bool(found) and found[0].where.name.startswith(PREFIXES[mistake.equation])
        if not found:
            counts[f"note: registry off, missed {name} in run {index}"] += 1
    return counts


def poor_counts(seed: int, index: int) -> Counter[str]:
    """Right formulas in poor arithmetic on one random network; and the smallest factor on dW that fails there."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    case = random_case(np.random.default_rng([seed, index, 2]), largest=1e5)
    counts: Counter[str] = Counter()
    for name, edits in POOR.items():
        with case.running(edits):
            report = run(case.experiment, (case.X, case.y))
        counts["poor"] += 1
        counts["poor FAULT"] += any(finding.verdict == "FAULT" for finding in report.findings)
        if counts["poor FAULT"] and any(finding.verdict == "FAULT" for finding in report.findings):
            counts[f"note: {name}: {_said(next(f for f in report.findings if f.verdict == 'FAULT'))}"] += 1
    for digits in range(16, 2, -1):
        edit = (handgrad.manual.network, "dW = dZ @ A_prev.T", f"dW = (1 + 1e-{digits}) * (dZ @ A_prev.T)")
        with case.running((edit,)):
            if not run(case.experiment, (case.X, case.y)).ok:
                counts[f"smallest 1e-{digits}"] += 1
                break
    return counts


def stationary_counts(seed: int, index: int) -> Counter[str]:
    """One layer in Python lists, float64 whatever it is handed, where the gradient of the bias cancels to nothing."""
    params, batch = stationary_point(np.random.default_rng([seed, index, 4]))
    findings = check_gradients(listed, mlp((5, 2), ("identity",), "squared-error"), params, batch).findings
    return Counter({"stationary": 1, "stationary false": int(bool(findings))})


def _gathered(function: Callable[[int, int], Counter[str]], seed: int, indices: Iterable[int]) -> Counter[str]:
    total: Counter[str] = Counter()
    with ProcessPoolExecutor(max_workers=os.cpu_count(), initializer=_without_names) as pool:
        for counts in pool.map(partial(function, seed), indices):
            total += counts
    return total


def _without_names() -> None:
    """In this process no cause is sought."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    vars(judged).update(NO_CAUSES)


def _of_engines(seed: int, cells: int) -> tuple[Counts, Counts]:
    """The verdicts on the engines' right code and on a twelfth of it with planted errors, by regime."""
    tasks = [(wrong_counts, cells // 12), (right_counts, cells)]
    spawned = multiprocessing.get_context("spawn")  # JAX has threads, which a fork does not copy
    with ProcessPoolExecutor(os.cpu_count(), spawned, _without_names) as pool:
        futures = [[pool.submit(count, seed, n, (regime,)) for regime in REGIMES] for count, n in tasks]
        wrong, right = (reduce(add, [future.result() for future in each]) for each in futures)
    return right, wrong


def rules_table(counts: Counter[str]) -> str:
    """False alarms and detection per rule."""
    kinds = ("right", "structural", "subtle")
    rows = [[rule, *(share(counts[f"{rule} {kind}"], counts[kind]) for kind in kinds)] for rule in ("ours", *PEERS)]
    return tabulate(rows, headers=["rule", "false alarms", "structural found", "subtle found"])


def targets_table(
    network: Counter[str],
    generic: Counter[str],
    off: Counter[str],
    poor: Counter[str],
    costs: Mapping[str, list[float]],
    engines: Sequence[Target] = (),
) -> tuple[str, bool]:
    """Every target beside what was measured, and whether all are met."""
    factors = {float(key.split()[-1]): number for key, number in poor.items() if key.startswith("smallest ")}
    smallest = median([factor for factor, number in factors.items() for _ in range(number)] or [1.0])
    found = network["ours structural"] + network["ours subtle"]
    largest = max((float(key.split()[-1]) for key in network if key.startswith("max rho")), default=0.0)
    per_fault = generic["generic findings"] / max(generic["generic found"], 1)
    rows = [
        none("network: false alarms", network["ours right"], network["right"]),
        ("network: largest rho of a correct run", f"{largest:.3f}", "< 1", largest < 1),
        at_least("network: structural found", network["ours structural"], network["structural"], 0.99),
        at_least("network: subtle found", network["ours subtle"], network["subtle"], 0.99),
        at_least("network: labelled FAULT", network["FAULT structural"] + network["FAULT subtle"], found, 0.98),
        at_least("network: culprit first", network["first structural"] + network["first subtle"], found, 0.99),
        none("generic: FAULT on correct", generic["generic false"], generic["generic right"]),
        at_least(
            "generic: structural found", generic["generic structural found"], generic["generic structural"], 0.995
        ),
        at_least("generic: small found", generic["generic small found"], generic["generic small"], 0.98),
        at_least("generic: labelled FAULT", generic["generic FAULT"], generic["generic named"], 0.98),
        at_least("generic: culprit first", generic["generic first"], generic["generic found"], 0.99),
        none("generic: recorded casts called FAULT", generic["casts called FAULT"], generic["casts"]),
        ("generic: findings per fault", f"{per_fault:.2f}", "<= 1.3", per_fault <= 1.3),
        none("registry off: FAULT on correct", off["off false"], off["off right"]),
        at_least("registry off: structural found", off["off structural found"], off["off structural"], 0.995),
        at_least("registry off: small found", off["off subtle found"], off["off subtle"], 0.98),
        at_most("registry off, weights x30: FAULT on correct", off["saturated false"], off["saturated right"], 0.003),
        none("right formulas in poor arithmetic: FAULT", poor["poor FAULT"], poor["poor"]),
        none(
            "Python lists at a stationary point of the last bias: flagged", poor["stationary false"], poor["stationary"]
        ),
        ("smallest factor on dW that is a FAULT, median", f"{smallest:.0e}", "1e-12", smallest <= 1e-12),
        cost("extra cost of the verdict, registry path, median", costs["registry"], 1),
        cost("extra cost, generic path, median", costs["generic"], 8),
        *engines,
    ]
    return table_of(rows), all(row[3] for row in rows)


def main(argv: list[str] | None = None) -> int:
    """Run both corpora and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31), help="fresh unless given")
    parser.add_argument("--cases", type=int, default=1200, help="random networks")
    parser.add_argument("--operations", type=int, default=14, help="random cases of each generic operation")
    parser.add_argument("--cells", type=int, default=len(PAIRS), help="derivations of the engines in each regime")
    arguments = parser.parse_args(argv)
    started = time.perf_counter()
    print(f"seed {arguments.seed}")
    network = _gathered(network_counts, arguments.seed, range(arguments.cases))
    print(f"\n{rules_table(network)}\n", flush=True)
    generic = _gathered(operation_counts, arguments.seed, range(arguments.operations))
    off = _gathered(switched_off_counts, arguments.seed, range(arguments.cases // 2))
    poor = _gathered(poor_counts, arguments.seed, range(arguments.cases // 20))
    poor += _gathered(stationary_counts, arguments.seed, range(60))
    costs = extra_costs(arguments.seed)
    engines, notes = list[Target](), ["autograd and JAX are not installed: pip install handgrad[benchmarks]"]
    if all(find_spec(name) for name in ENGINES):
        engines, notes = engines_table(*_of_engines(arguments.seed, arguments.cells))
    table, met = targets_table(network, generic, off, poor, costs, engines)
    whole = costs["all in"]
    print(f"{table}\n")
    print(
        "extra cost of a whole run beside both sides in one precision (second precision, replay, verdict, report): "
        f"{median(whole):.1f}x ({min(whole):.1f} to {max(whole):.1f}) a torch step"
    )
    for key, number in sorted((network + generic + off + poor).items()):
        if key.startswith("note: "):
            print(f"{key[6:]}" + (f" ({number} times)" if number > 1 else ""))
    print("\n".join(notes))
    print(f"correct runs that differ in bits from the code as it stands: {network['right']}")
    for key in (
        "variants that equal the base in bits, replaced",
        "mistakes that move nothing, drawn again",
        "correct runs that overflow on both sides, left out",
        "every gradient is zero, left out",
    ):
        print(f"{key}: {(network + off)[key]}")
    print(f"{time.perf_counter() - started:.0f} s")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
