"""How well mistakes are named: the catalogue, random edits, random wrong answers, equivalent forms.

    .venv/bin/python -m tests.benchmarks.diagnosis

Prints each target beside what was measured and exits 1 if one is missed. The seed is fresh unless given.
"""

from __future__ import annotations

import argparse
import ast
import secrets
from collections import Counter
from collections.abc import Callable

import numpy as np

from handgrad.compare.diagnosis import INFORMATIVE
from handgrad.compare.faults.catalogue import Fault, catalogue
from handgrad.compare.faults.trial import check, expected_first, fixture
from handgrad.compare.report import Report
from tests.benchmarks.networks import ACTIVATIONS, SUBTLE, VARIANTS, editing
from tests.support import edited, rewritten
from tests.test_mutants import EQUIVALENT, MODULES, labelled_lines, mutants

ANY = Fault("", "handgrad.manual.network", (), "", "", "", "", "", "")
SMALL = ("shape", "missing", "exception", "zero", "mutated-input", "not-repeatable", "not-finite")


def informative(report: Report) -> bool:
    """Whether the first finding's tensor has enough entries to name a cause."""
    first = report.first
    if first is None or (first.phase == "forward" and first.name in ("family", "mean", "spread")):
        return True
    rows = [row for row in report.rows if (row.step, row.name) == (first.step, first.name)]
    return first.cause in SMALL or not rows or int(np.prod(rows[0].shape)) >= INFORMATIVE


def catalogue_counts(seed: int, index: int) -> Counter[str]:
    """One entry of the catalogue in one random fixture."""
    entries = [*catalogue().values()]
    fault = entries[index % len(entries)]
    report, made = check(fault, np.random.default_rng([seed, index]))
    right, _ = check(fault, np.random.default_rng([seed, index]), right=True)
    first = report.first
    counts = Counter({"catalogue": 1, "catalogue: right code flagged": int(bool(right.findings))})
    culprit = first is not None and first.name == expected_first(fault, made[0] if made else None)
    counts["catalogue: culprit"] += culprit
    if culprit and informative(report):
        counts["catalogue: named"] += 1
        counts["catalogue: cause"] += first.cause == fault.cause
        if first.cause != fault.cause:
            print(f"  seed {seed} index {index}: {fault.name} is named {first.cause}: {first.explanation[:120]}")
    elif not culprit:
        print(f"  seed {seed} index {index}: {fault.name} is found at {first and first.name}")
    return counts


def edit_counts(seed: int, index: int) -> Counter[str]:
    """One or two random syntax-tree edits of labelled lines of the hand-written code, in one random fixture."""
    rng = np.random.default_rng([seed, index, 1])
    experiment, data = fixture(ANY, rng)
    module = MODULES[int(rng.integers(len(MODULES)))]
    lines = labelled_lines(module)
    chosen = [lines[i] for i in rng.permutation(len(lines))[: int(rng.integers(1, 3))]]
    tree, labels = None, []
    for label, line in chosen:
        made = [*mutants(module, line)]
        text, mutated = made[int(rng.integers(len(made)))]
        if text in EQUIVALENT:
            continue
        labels.append(label)
        tree = mutated if tree is None else _merged(tree, mutated, line)
    if tree is None:
        return Counter()
    with rewritten(module, tree):
        report = experiment.run(data)
    if report.first is None:
        return Counter({"edits without effect": 1})
    counts = Counter({"edits": 1, "edits: culprit": int(report.first.equation in labels)})
    counts[f"edits: {'unknown' if report.first.cause == 'unknown' else 'named'}"] += 1
    if report.first.equation not in labels:
        print(f"  seed {seed} index {index}: {labels} edited, {report.first.name} ({report.first.equation}) found")
    return counts


def _merged(first: ast.Module, second: ast.Module, line: int) -> ast.Module:
    """The first tree with the statement at a line taken from the second."""

    class Take(ast.NodeTransformer):
        def generic_visit(self, node: ast.AST) -> ast.AST:
            if isinstance(node, ast.stmt) and node.lineno == node.end_lineno == line:
                return found
            return super().generic_visit(node)

    found = next(n for n in ast.walk(second) if isinstance(n, ast.stmt) and n.lineno == n.end_lineno == line)
    return ast.fix_missing_locations(Take().visit(first))


NOISE: dict[str, Callable[[str, int], str]] = {
    "random factors": lambda e, s: f"({e}) * np.random.default_rng({s}).uniform(0.5, 1.5, np.shape({e}))",
    "small random factors": lambda e, s: (
        f"({e}) * (1 + 1e-6 * np.random.default_rng({s}).standard_normal(np.shape({e})))"
    ),
    "random values": lambda e, s: f"np.random.default_rng({s}).standard_normal(np.shape({e}))",
    "noise added": lambda e, s: f"({e}) + 1e-3 * np.random.default_rng({s}).standard_normal(np.shape({e}))",
    "a nonlinear function": lambda e, s: f"np.sin(1.3 * ({e})) + 0.1 * ({e}) ** 2 + 0.01",
}


def wrong_counts(seed: int, index: int) -> Counter[str]:
    """A random wrong answer in place of one line's result: no cause explains it, so a name is wrong."""
    rng = np.random.default_rng([seed, index, 2])
    experiment, data = fixture(ANY, rng)
    usable = [line for line in SUBTLE if line[2] not in ("U1",)]
    module, right, equation, _ = usable[int(rng.integers(len(usable)))]
    kind = list(NOISE)[index % len(NOISE)]
    start, value = right.split(" = ", 1) if " = " in right else right.split(" ", 1)
    wrong = f"{start} {'= ' * (' = ' in right)}{NOISE[kind](value, int(rng.integers(10**6)))}"
    with edited(module, (right, wrong)):
        report = experiment.run(data)
    first = report.first
    if first is None or first.equation != equation:
        print(f"  seed {seed} index {index}: {kind} in {equation} found at {first and first.name}")
        return Counter({"wrong answers": 1})
    named = first.cause != "unknown"
    if named:
        told = f"{first.name} is named {first.cause}: {first.explanation[:120]}"
        print(f"  seed {seed} index {index}: {kind} in {equation}, {told}")
    return Counter({"wrong answers": 1, "wrong answers: culprit": 1, "wrong answers: named": int(named)})


def right_counts(seed: int, index: int) -> Counter[str]:
    """Equivalent forms, a mask from A > 0 among them: nothing is found."""
    rng = np.random.default_rng([seed, index, 3])
    experiment, data = fixture(ANY, rng)
    forms = {**VARIANTS, "mask from A > 0": ((ACTIVATIONS, "(Z > 0)", "(A > 0)"),)}
    name = list(forms)[index % len(forms)]
    with editing(forms[name]):
        report = experiment.run(data)
    if report.findings:
        print(f"  seed {seed} index {index}: {name} is flagged at {report.findings[0].name}")
    return Counter({"equivalent": 1, "equivalent: flagged": int(bool(report.findings))})


TARGETS = (  # name, part, whole, comparison, target
    ("catalogue: culprit first", "catalogue: culprit", "catalogue", ">=", 0.99),
    ("catalogue: cause right, three or more entries", "catalogue: cause", "catalogue: named", ">=", 0.97),
    ("catalogue: right code flagged", "catalogue: right code flagged", "catalogue", "<=", 0.0),
    ("random edits: culprit first", "edits: culprit", "edits", ">=", 0.99),
    ("random wrong answers: culprit first", "wrong answers: culprit", "wrong answers", ">=", 0.99),
    ("random wrong answers: a wrong name", "wrong answers: named", "wrong answers", "<=", 0.01),
    ("equivalent forms flagged", "equivalent: flagged", "equivalent", "<=", 0.0),
)


def table(counts: Counter[str]) -> tuple[str, bool]:
    """The targets beside what was measured, and whether all are met."""
    lines, met = ["| | measured | target | |", "|---|---|---|---|"], True
    for title, part, whole, sign, target in TARGETS:
        share = counts[part] / max(counts[whole], 1)
        fine = share >= target if sign == ">=" else share <= target
        met &= fine and counts[whole] > 0
        shown = f"{counts[part]} of {counts[whole]} ({100 * share:.2f} %)"
        lines.append(f"| {title} | {shown} | {sign} {100 * target:g} % | {'met' if fine else 'MISSED'} |")
    return "\n".join(lines), met


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**8))
    parser.add_argument("--rounds", type=int, default=10, help="fixtures for each entry of the catalogue")
    parser.add_argument("--cases", type=int, default=600, help="random edits, wrong answers and equivalent forms each")
    arguments = parser.parse_args(argv)
    print(f"seed {arguments.seed}", flush=True)
    counts: Counter[str] = Counter()
    for measure, number in (
        (catalogue_counts, arguments.rounds * len(catalogue())),
        (edit_counts, arguments.cases),
        (wrong_counts, arguments.cases),
        (right_counts, arguments.cases),
    ):
        for index in range(number):
            counts += measure(arguments.seed, index)
    text, met = table(counts)
    print(f"\n{text}\n")
    print(f"Of {counts['edits']} random edits {counts['edits: named']} have a named cause.")
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
