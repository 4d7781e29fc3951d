"""How well mistakes are named, where a name counts as right only if its formula gives what the wrong code gives.

    python -m tests.benchmarks.naming [--seed N] [--corpus NAME] [--edits N] [--answers N] [--pairs N]

prints for each corpus and operation how many planted mistakes are named, how many names are right, wrong or missing,
and what a name costs. The seed is fresh unless given, and printed. Exit 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from statistics import median
from typing import Any

from tabulate import tabulate

from tests.benchmarks.naming_corpora import (
    EDITS,
    RIGHT,
    SECOND,
    UNKNOWN,
    UNSEEN,
    WRITTEN,
    WRONG,
    Outcome,
    of_answer,
    of_edit,
    of_pair,
    of_rule,
    of_written,
    operations,
    rules,
)
from tests.benchmarks.naming_judge import Checked, checked
from tests.benchmarks.processes import in_order, on_one_thread
from tests.benchmarks.targets import Target, at_least, none, table_of
from tests.corpus.planted import made

SLOWEST = 1.5  # seconds that a name may cost


# --- what a name costs


def seconds(seed: int, corpus: str = "slips") -> list[tuple[float, str]]:
    """Seconds that a failing check takes beside a passing one, run in turn, the better of two, with its mistake."""
    found = []
    for i, operation in enumerate(operations(corpus)):
        right = checked(operation, made(operation.derivation), [seed, i])
        right.report()
        for mistake in operation.mistakes:
            wrong = checked(operation, made(mistake.planted(operation.derivation)), [seed, i])
            more = [_timed(wrong) - _timed(right) for _ in range(2)]
            found.append((min(more), f"{operation.name}: {mistake.what}"))
    return found


def _timed(code: Checked) -> float:
    started = time.perf_counter()
    code.report()
    return time.perf_counter() - started


# --- tables

COLUMNS = ("mistakes", "named", "right first", "right of two", "wrong", "unknown", "not found")


def counted(outcomes: Sequence[Outcome]) -> list[int]:
    """The columns of a row."""
    n = {how: sum(each.how == how for each in outcomes) for how in (RIGHT, SECOND, WRONG, UNKNOWN, UNSEEN)}
    right = n[RIGHT] + n[SECOND]
    return [len(outcomes), right + n[WRONG], n[RIGHT], right, n[WRONG], n[UNKNOWN], n[UNSEEN]]


def table(outcomes: Sequence[Outcome], by: Callable[[Outcome], str]) -> str:
    """One row for each group."""
    groups: dict[str, list[Outcome]] = {}
    for each in outcomes:
        groups.setdefault(by(each), []).append(each)
    return tabulate([[title, *counted(group)] for title, group in groups.items()], headers=["", *COLUMNS])


def targets(outcomes: Sequence[Outcome], costs: Sequence[tuple[float, str]]) -> list[Target]:
    """What is wanted of what was run."""
    by = {title: [each for each in outcomes if each.corpus == title] for title in {each.corpus for each in outcomes}}
    rows = []
    for title in sorted(title for title in by if title.startswith(EDITS)):
        number, named, *_ = counted(by[title])
        rows.append(at_least(f"random {title}: named", named, number, 0.75))
    if "answers" in by:
        rows.append(none("random wrong answers: named", counted(by["answers"])[1], len(by["answers"])))
    for title in sorted(title for title in by if title.startswith("two")):
        rows.append(none(f"{title}: a wrong name", counted(by[title])[4], len(by[title])))
    if costs:
        slowest = max(costs)[0]
        shown = f"{slowest:.2f} s (median {median(cost for cost, _ in costs):.2f} s)"
        rows.append(("a failing check beside a passing one", shown, f"<= {SLOWEST} s", slowest <= SLOWEST))
    return rows


# --- all of it

CORPORA = (*WRITTEN, "updates", *(f"{EDITS}{corpus}" for corpus in WRITTEN), "answers", "pairs", "cost")
Measure = tuple[Callable[[Any], list[Outcome]], Sequence[Any]]  # what is measured, and on which mistakes


def measures(arguments: argparse.Namespace, corpora: Sequence[str]) -> list[Measure]:
    """What is to be run."""
    seed, found = arguments.seed, list[Measure]()
    for corpus in corpora:
        written = corpus.removeprefix(EDITS)
        if corpus in WRITTEN:
            found.append((partial(of_written, corpus, seed), _indices(operations(corpus))))
        elif written in WRITTEN:
            found.append((partial(of_edit, written, seed), range(arguments.edits)))
        elif corpus == "updates":
            found.append((partial(of_rule, seed), _indices(rules())))
        elif corpus == "answers":
            found.append((partial(of_answer, seed), range(arguments.answers)))
        elif corpus == "pairs":
            found.append((partial(of_pair, seed), range(arguments.pairs)))
    return found


def _indices(groups: Sequence[Any]) -> list[tuple[int, int]]:
    return [(i, j) for i, group in enumerate(groups) for j in range(len(group.mistakes))]


def tasks(measured: Sequence[Measure]) -> Iterator[Callable[[], list[Outcome]]]:
    """One for each mistake."""
    return (partial(function, index) for function, indices in measured for index in indices)


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31), help="fresh unless given")
    parser.add_argument("--corpus", action="append", choices=CORPORA, help="all unless given")
    parser.add_argument("--edits", type=int, default=200, help="random edits of each written corpus")
    parser.add_argument("--answers", type=int, default=1000, help="random wrong answers")
    parser.add_argument("--pairs", type=int, default=100, help="pairs of slips")
    arguments = parser.parse_args(argv)
    wanted = arguments.corpus or CORPORA
    started = time.perf_counter()
    print(f"seed {arguments.seed}", flush=True)
    outcomes = []
    for each in chain.from_iterable(in_order(tasks(measures(arguments, wanted)))):
        outcomes.append(each)
        if each.how != (UNKNOWN if each.corpus == "answers" else RIGHT):
            print(f"{each.how}: {each.corpus}, {each.operation}, {each.tensor}: {each.what}", flush=True)
            print(f"    {each.said}", flush=True)
    on_one_thread()
    costs = seconds(arguments.seed) if "cost" in wanted else []
    for cost, what in sorted(costs, reverse=True)[:5]:
        print(f"{cost:.2f} s: {what}")
    print(f"\n{table(outcomes, lambda each: each.corpus)}\n\n{table(outcomes, lambda each: each.operation)}\n")
    rows = targets(outcomes, costs)
    print(table_of(rows))
    print(f"{time.perf_counter() - started:.0f} s")
    return 0 if all(row[3] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
