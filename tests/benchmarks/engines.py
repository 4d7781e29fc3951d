"""The verdict on derivations that nobody here wrote: the gradients of autograd and JAX, right and with planted errors.

    python -m tests.benchmarks.engines [--seed N] [--cells N]

prints the tables: in each regime N right derivations, and a thirtieth of them with every planted error. It needs the
extra `benchmarks`. Cells of odd seeds are set aside: look at even ones while you work on the rule. A seed gives seed,
seed + 2 and so on where there are more cells than operations.
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
import torch
from tabulate import tabulate

from handgrad import InputError, Report, check_gradients
from handgrad.compare.checks import gradients
from handgrad.compare.pipeline.judged import findings_of
from tests.benchmarks.targets import Target, at_least, at_most, bounded, none, within_runs
from tests.corpus.engine_operations import OPERATIONS
from tests.corpus.engines import ENGINES, REGIMES, Cell, cell_of

SIZES = (1e-2, 1e-5, 1e-7, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13)
IN_FLOAT32 = (1e-2, 1e-3, 1e-4, 1e-5)
LARGE = (1e-2, 1e-5)  # each miss of such an error is told
VERDICTS = ("FAULT", "NONFINITE", "MISSING", "UNTOLD", "WEAK", "OK")
PAIRS = [(name, by) for name, operation in OPERATIONS.items() for by in operation.engines]

Array = np.ndarray
Records = dict[str, Array]


@dataclass(frozen=True)
class Drawn:
    """A cell and where it is from, so that it can be drawn again."""

    regime: str
    operation: str
    by: str
    seed: int
    tapped: bool
    cell: Cell


@dataclass(frozen=True)
class Outcome:
    """The worst verdict of a check, its report unless the input could not be used, and the runs of both sides.

    `before_the_name` are those until causes are sought.
    """

    verdict: str
    report: Report | None
    by_hand: int
    in_torch: int
    before_the_name: tuple[int, int] = (0, 0)


@dataclass
class Counts:
    """What was counted: verdicts by row and column of a table, and runs by kind of check; and what is worth a look."""

    verdicts: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    runs: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, row: str, column: str, outcome: Outcome) -> None:
        self.verdicts.setdefault((row, column), Counter())[outcome.verdict] += 1

    def __add__(self, other: Counts) -> Counts:
        verdicts = {
            key: self.verdicts.get(key, Counter()) + other.verdicts.get(key, Counter())
            for key in {**self.verdicts, **other.verdicts}
        }
        runs = {kind: self.runs.get(kind, []) + other.runs.get(kind, []) for kind in {**self.runs, **other.runs}}
        return Counts(verdicts, runs, self.notes + other.notes)

    def add_runs(self, kind: str, outcome: Outcome) -> None:
        self.runs.setdefault(kind, []).append((outcome.by_hand, outcome.in_torch))
        if kind != "right":
            self.runs.setdefault(f"{kind}, before the name", []).append(outcome.before_the_name)


def drawn(seed: int, cells: int, regimes: Iterable[str] = REGIMES) -> Iterator[Drawn]:
    """So many cells in each regime, over operations and engines in turn; with and without taps alternate."""
    for regime in regimes:
        at = REGIMES.index(regime)
        for number in range(cells):
            around, index = divmod(number, len(PAIRS))
            used = seed + 2 * around
            pair = int(np.random.default_rng([used, at]).permutation(len(PAIRS))[index])
            (name, by), tapped = PAIRS[pair], bool((number + around) % 2)
            rng = np.random.default_rng([used, at, pair])
            yield Drawn(regime, name, by, used, tapped, cell_of(OPERATIONS[name], by, regime, rng, tapped=tapped))


def checked(cell: Cell) -> Outcome:
    """The verdict by handgrad's own entry, and how often it called both sides."""
    calls: Counter[str] = Counter()

    def counted(side: str, function: Callable[..., Any], *args: Any) -> Any:
        calls[side] += 1
        return function(*args)

    def named(*args: Any, **kwargs: Any) -> Any:
        calls.update({"by hand, judged": calls["by hand"], "torch, judged": calls["torch"]})
        return findings_of(*args, **kwargs)

    def outcome(verdict: str, report: Report | None) -> Outcome:
        before = calls["by hand, judged"], calls["torch, judged"]
        return Outcome(verdict, report, calls["by hand"], calls["torch"], before)

    by_hand, in_torch = partial(counted, "by hand", cell.derivation), partial(counted, "torch", cell.reference)
    try:
        with mock.patch.object(gradients, "findings_of", named):
            report = check_gradients(by_hand, in_torch, cell.params, cell.batch)
    except InputError as error:
        return outcome("all zero" if _is_zero(cell) else f"refused: {str(error)[:100]}", None)
    found = {finding.verdict for finding in report.findings} | {"OK"}
    return outcome(next(each for each in VERDICTS if each in found), report)


def _is_zero(cell: Cell) -> bool:
    """Whether every gradient is 0, which is refused, rightly: there is nothing to judge."""
    with np.errstate(all="ignore"):
        records = cell.derivation(cell.params, *cell.batch)
    return not any(records[f"d{name}"].any() for name in cell.params)


# --- planted errors


@dataclass(frozen=True)
class Planted:
    """A relative error in a gradient: of which tensor, where in it, how large, and in which precisions."""

    tensor: str
    at: tuple[Any, ...]
    size: float
    dtypes: tuple[str, ...] = ("float64", "float32")


def with_error(cell: Cell, planted: Planted) -> Cell:
    """The same cell, whose derivation makes the error."""

    def derivation(params: Mapping[str, Array], *batch: Array) -> Records:
        records = cell.derivation(params, *batch)
        gradient = np.array(records[planted.tensor])
        if batch[0].dtype.name in planted.dtypes:
            gradient[planted.at] *= gradient.dtype.type(1 + planted.size)
        return {**records, planted.tensor: gradient}

    return replace(cell, derivation=derivation)


def as_port(cell: Cell) -> Cell:
    """The same cell, whose derivation computes in float32 whatever it is handed, and returns float64."""

    def derivation(params: Mapping[str, Array], *batch: Array) -> Records:
        single = {name: array.astype(np.float32) for name, array in params.items()}
        records = cell.derivation(single, *(array.astype(np.float32) for array in batch))
        return {name: array.astype(np.float32).astype(np.float64) for name, array in records.items()}

    return replace(cell, derivation=derivation)


def places(cell: Cell, rng: np.random.Generator) -> tuple[str, dict[str, tuple[Any, ...]]]:
    """A gradient to plant an error in, and an index for each place; none where every gradient is 0 or not finite."""
    with np.errstate(all="ignore"):
        records = cell.derivation(cell.params, *cell.batch)
    names = [f"d{name}" for name in cell.params]
    usable = [name for name in names if records[name].any() and np.isfinite(records[name]).all()]
    if not usable:
        return "", {}
    tensor = usable[rng.integers(len(usable))]
    entries = np.argwhere(records[tensor] != 0)
    entry = tuple(int(i) for i in entries[rng.integers(len(entries))])
    rows = {"one row": entry[:1]} if len(entry) > 1 else {}
    return tensor, {"all entries": (...,), "one entry": entry, **rows}


# --- counting


def right_counts(seed: int, cells: int, regimes: Iterable[str] = REGIMES) -> Counts:
    """The verdicts on right derivations, by regime."""
    counts = Counts()
    for each in drawn(seed, cells, regimes):
        outcome = checked(each.cell)
        counts.add(each.regime, "right", outcome)
        counts.add_runs("right", outcome)
        if outcome.verdict not in ("OK", "all zero"):
            counts.notes.append(_described(each, outcome))
    return counts


def wrong_counts(seed: int, cells: int, regimes: Iterable[str] = REGIMES) -> Counts:
    """The verdicts on derivations with planted errors, by regime and place and by size.

    Left out are cells that are a FAULT or not finite already, and those without a gradient to plant an error in.
    """
    counts = Counts()
    for each in drawn(seed, cells, regimes):
        tensor, at = places(each.cell, np.random.default_rng([each.seed, 1]))
        if not tensor or checked(each.cell).verdict not in ("OK", "WEAK", "UNTOLD"):
            continue
        for place, index in at.items():
            for size in SIZES:
                outcome = checked(with_error(each.cell, Planted(tensor, index, size)))
                counts.add(f"{each.regime}, {place}", f"{size:.0e}", outcome)
                counts.add_runs("wrong", outcome)
                if size in LARGE and outcome.verdict != "FAULT":
                    counts.notes.append(f"{size:.0e} of {place} of {tensor} missed. {_described(each, outcome)}")
        for size in IN_FLOAT32:
            outcome = checked(with_error(each.cell, Planted(tensor, at["all entries"], size, ("float32",))))
            counts.add(f"{each.regime}, float32 alone", f"{size:.0e}", outcome)
            counts.add_runs("wrong in float32 alone", outcome)
        port = as_port(each.cell)
        right = checked(port)
        counts.add(f"{each.regime}, float32 port", "right", right)
        for size in IN_FLOAT32 if right.verdict in ("OK", "WEAK") else ():
            outcome = checked(with_error(port, Planted(tensor, at["all entries"], size)))
            counts.add(f"{each.regime}, float32 port", f"{size:.0e}", outcome)
    return counts


def _described(each: Drawn, outcome: Outcome) -> str:
    """What is needed to draw a cell again and to judge its verdict."""
    taps = "taps" if each.tapped else "no taps"
    title = f"{outcome.verdict}: {each.operation}, {each.by}, {each.regime}, seed {each.seed}, {taps}"
    if outcome.report is None:
        return title
    told = [
        f"{finding.where.name} {finding.verdict} {finding.cause.code} rho {finding.rho or 0:.3g}"
        + ("" if finding.worst is None else f" {finding.worst.by_hand:.17g} torch {finding.worst.torch:.17g}")
        + ("" if finding.worst is None or not finding.worst.dtype else f" in {finding.worst.dtype}")
        for finding in outcome.report.findings
    ]
    return f"{title}: {'; '.join(told)}"


# --- tables


def right_table(counts: Counts) -> str:
    """Verdicts on right code by regime, and their sum."""
    total = sum((counter for counter in counts.verdicts.values()), start=Counter[str]())
    rows = [(row, counter) for (row, _), counter in counts.verdicts.items()] + [("all", total)]
    headers = ["right code", "checks", *VERDICTS[:-1], "all zero", "refused"]
    return tabulate([[row, *_row_of(counter)] for row, counter in rows], headers=headers)


def _row_of(counter: Counter[str]) -> list[int]:
    told = [counter[verdict] for verdict in (*VERDICTS[:-1], "all zero")]
    return [counter.total(), *told, counter.total() - sum(told) - counter["OK"]]


def wrong_table(counts: Counts) -> str:
    """The share of planted errors that are a FAULT, in percent, by place and size."""
    sizes = ["right", *(f"{size:.0e}" for size in sorted({*SIZES, *IN_FLOAT32}, reverse=True))]
    total: dict[tuple[str, str], Counter[str]] = {}
    for (row, size), counter in counts.verdicts.items():
        everywhere = f"all, {row.rpartition(', ')[2]}", size
        total[everywhere] = total.get(everywhere, Counter()) + counter
    found = counts.verdicts | total
    rows = []
    for row in dict.fromkeys(row for row, _ in found):
        cells = [found.get((row, size), Counter[str]()) for size in sizes]
        shares = [f"{100 * each['FAULT'] / each.total():.0f}" if each else "" for each in cells]
        rows.append([row, max(each.total() for each in cells), *shares])
    return tabulate(rows, headers=["FAULT, % of wrong code", "cells", *sizes], disable_numparse=True)


def runs_table(*counts: Counts) -> str:
    """How often both sides were called in a check, with what finding the cause takes."""
    rows = []
    for kind, runs in ((kind, runs) for each in counts for kind, runs in each.runs.items()):
        for side, numbers in zip(("derivation", "reference"), zip(*runs, strict=True), strict=True):
            middle, many = np.percentile(numbers, (50, 90))
            rows.append([kind, side, f"{middle:.0f}", f"{many:.0f}", max(numbers)])
    return tabulate(rows, headers=["check", "runs of the", "median", "90 %", "largest"])


def engines_table(right: Counts, wrong: Counts) -> tuple[list[Target], list[str]]:
    """The targets on derivations of autograd and JAX, and what is worth a look."""
    of_right = {row: counter for (row, _), counter in right.verdicts.items()}
    ordinary, total = of_right["ordinary"], sum(of_right.values(), start=Counter[str]())
    unsure = ordinary["WEAK"] + ordinary["UNTOLD"]
    two = sum(by_hand <= 2 and in_torch <= 2 for by_hand, in_torch in right.runs["right"])

    def found(title: str, row: str, size: str, target: float) -> Target:
        counter = wrong.verdicts.get((row, size), Counter[str]())
        return at_least(title, counter["FAULT"], counter.total(), target)

    def runs(kind: str, middle: tuple[int, int], most: tuple[int, int]) -> list[Target]:
        numbers = [*zip(*wrong.runs[f"{kind}, before the name"], strict=True)]
        medians, largest = ([int(of(side)) for side in numbers] for of in (median, max))
        return [
            within_runs(f"engines: {kind}, runs before the name, median", medians, middle),
            within_runs(f"engines: {kind}, runs before the name, largest", largest, most),
        ]

    small = [
        found(f"engines: {size} of {place}, ordinary", f"ordinary, {place}", size, target)
        for size in ("1e-11", "1e-12")
        for place, target in (("all entries", 1.0), ("one entry", 0.98))
    ]
    return [
        none("engines: FAULT on right code, ordinary", ordinary["FAULT"], ordinary.total()),
        bounded("engines: FAULT on right code, all regimes", total["FAULT"], total.total(), 6e-4),
        at_most("engines: WEAK or UNTOLD on right code, ordinary", unsure, ordinary.total(), 5e-3),
        *small,
        found("engines: 1e-07 of one entry, twelve decades", "twelve decades, one entry", "1e-07", 0.76),
        found("engines: 1e-11 of one entry, twelve decades", "twelve decades, one entry", "1e-11", 0.69),
        found("engines: 1e-03 in float32 alone, ordinary", "ordinary, float32 alone", "1e-03", 0.95),
        found("engines: 1e-04 in float32 alone, ordinary", "ordinary, float32 alone", "1e-04", 0.9),
        found("engines: 1e-04 in a float32 port, ordinary", "ordinary, float32 port", "1e-04", 0.95),
        at_least("engines: right in 2 + 2 runs", two, len(right.runs["right"]), 0.85),
        *runs("wrong", (8, 14), (16, 22)),
    ], [*right.notes, *wrong.notes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="odd seeds are set aside")
    parser.add_argument("--cells", type=int, default=len(PAIRS), help="right derivations in each regime")
    options = parser.parse_args()
    if not all(map(find_spec, ENGINES)):
        parser.exit(2, "autograd or JAX is not installed; pip install handgrad[benchmarks]\n")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    right = right_counts(options.seed, options.cells)
    print(f"seed {options.seed}, {len(OPERATIONS)} operations\n\n{right_table(right)}\n")
    print("\n".join(right.notes), flush=True)
    wrong = wrong_counts(options.seed, options.cells // 30)
    print(f"\n{wrong_table(wrong)}\n\n{runs_table(right, wrong)}\n")
    print("\n".join(wrong.notes))


if __name__ == "__main__":
    main()
