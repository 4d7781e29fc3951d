"""Functions of tensors in one low precision: false alarms and mistakes found, beside the rules that people use today.

    python -m tests.benchmarks.lowprec [--seed N] [--corpus NAME] [--right N] [--wrong N] [--poor N] [--factors N]
        [--torch N]

prints what became of right kernels, of planted mistakes by their size, of factors on one gradient, of torch's own
kernels, of eight public bugs, and the cost of a check. The seed is fresh unless given, and printed. Exit 1 if a target
is missed.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import median, quantiles

from tabulate import tabulate

from tests.benchmarks.lowprec_cases import ON_LOSSES, Outcome, measures
from tests.benchmarks.lowprec_peers import PEERS
from tests.benchmarks.processes import in_order
from tests.benchmarks.targets import Target, at_least, at_most, none, table_of

SHAPES = ("tiny", "small", "mid", "long", "wide")
NARROW = ("bfloat16", "float16")
SIZES = {">= 2 %": 2e-2, "0.5 to 2 %": 5e-3, "0.1 to 0.5 %": 1e-3, "0.01 to 0.1 %": 1e-4}
GROUPS: dict[str, Callable[[Outcome], bool]] = {
    "16 bits, ordinary": lambda each: each.precision in NARROW and each.regime == "ordinary",
    "16 bits, large or small inputs": lambda each: each.precision in NARROW and each.regime.endswith("inputs"),
    "16 bits, small upstream": lambda each: each.precision in NARROW and each.regime == "small upstream",
    "TF32": lambda each: each.precision == "TF32",
    "float32": lambda each: each.precision == "float32",
}
POOREST = 3.0  # roundings: a kernel of torch's that is further off does not compute in float32 inside
SLOWEST, LARGEST = 5.0, 1e5  # seconds that a check may take, of so many elements


# --- tables


def column_of(outcome: Outcome) -> str:
    """The column of a mistake."""
    return next((title for title, least in SIZES.items() if outcome.size >= least), "smaller")


def rules_table(outcomes: Sequence[Outcome]) -> str:
    """False alarms and mistakes found by every rule, of peers with random cotangents / with ones, in percent."""
    right, wrong = of(outcomes, "right"), of(outcomes, "wrong")
    columns = [right, *([each for each in wrong if column_of(each) == size] for size in SIZES)]
    rows = [["number", *map(len, columns)], ["handgrad", *map(_handgrad, columns)]]
    rows += [[name, *(_peer(name, column) for column in columns)] for name in PEERS]
    return tabulate(rows, headers=["", "false alarms", *SIZES], disable_numparse=True)


def _handgrad(outcomes: Sequence[Outcome]) -> str:
    untold = percent(each.verdict == "UNTOLD" for each in outcomes)
    return f"{percent(each.verdict == 'FAULT' for each in outcomes)} (+ {untold} UNTOLD)"


def _peer(name: str, outcomes: Sequence[Outcome]) -> str:
    return " / ".join(percent((name, how) in each.alarms for each in outcomes) for how in ("random", "ones"))


def percent(told: Iterable[bool]) -> str:
    """A share of all."""
    told = [*told]
    return f"{100 * sum(told) / len(told):.1f}" if told else "-"


def verdicts_table(outcomes: Sequence[Outcome], row: Callable[[Outcome], str], column: Callable[[Outcome], str]) -> str:
    """FAULT + UNTOLD of all in every cell."""
    cells: dict[tuple[str, str], Counter[str]] = {}
    for each in outcomes:
        cells.setdefault((row(each), column(each)), Counter())[each.verdict] += 1
    rows, columns = (dict.fromkeys(key[i] for key in cells) for i in (0, 1))
    shown = [[title, *(_cell(cells.get((title, name), Counter())) for name in columns)] for title in rows]
    return tabulate(shown, headers=["FAULT + UNTOLD of all", *columns], disable_numparse=True)


def _cell(verdicts: Counter[str]) -> str:
    return f"{verdicts['FAULT']} + {verdicts['UNTOLD']} of {verdicts.total()}" if verdicts else ""


def of(outcomes: Iterable[Outcome], *corpora: str) -> list[Outcome]:
    """The outcomes of some corpora."""
    return [each for each in outcomes if each.corpus in corpora]


# --- targets


def targets(outcomes: Sequence[Outcome]) -> list[Target]:
    """What is wanted of what was run."""
    right, wrong = of(outcomes, "right"), of(outcomes, "wrong")
    rows = []
    if right:
        rows += [_rare(f"right, {p}: FAULT", right, p) for p in (*NARROW, "TF32", "float32")]
        untold = sum(each.verdict == "UNTOLD" for each in right)
        rows.append(at_most("right: UNTOLD", untold, len(right), 0.01))
    if wrong:
        narrow = [each for each in wrong if each.precision in NARROW and each.size >= 2e-2]
        float32 = [each for each in wrong if each.precision == "float32" and each.size >= 1e-3]
        rows += [
            _found("mistakes >= 2 % in 16 bits", narrow, 0.995),
            _found("mistakes >= 0.1 % in float32", float32, 1),
        ]
    if any(each.corpus == "factors" for each in outcomes):
        rows += _factor_targets(outcomes)
    if any(each.corpus == "torch" for each in outcomes):
        rows += _torch_targets(of(outcomes, "torch"))
    if bugs := of(outcomes, "bugs"):
        mended = [each for each in bugs if not each.what]
        rows.append(_found("public bugs: FAULT", [each for each in bugs if each.what], 1))
        rows.append(at_least("mended: OK", sum(each.verdict == "OK" for each in mended), len(mended), 1))
    slowest = max((each.seconds for each in outcomes if each.elements <= LARGEST), default=0.0)
    shown = f"{slowest:.1f} s (median {median(each.seconds for each in outcomes):.1f} s)"
    return [*rows, ("a check of at most 1e5 elements", shown, f"<= {SLOWEST:g} s", slowest <= SLOWEST)]


def _rare(title: str, outcomes: Sequence[Outcome], precision: str) -> Target:
    here = [each for each in outcomes if each.precision == precision]
    return none(title, sum(each.verdict == "FAULT" for each in here), len(here))


def _found(title: str, outcomes: Sequence[Outcome], least: float) -> Target:
    return at_least(title, sum(each.verdict == "FAULT" for each in outcomes), len(outcomes), least)


def _factor_targets(outcomes: Sequence[Outcome]) -> list[Target]:
    wanted = (
        ("bfloat16", 0.98, 0.99),
        ("float16", 0.99, 0.96),
        ("TF32", 0.995, 1),
        ("float32", 0.999, 1),
        ("float32", ON_LOSSES, 1),
    )
    factors = {(each.precision, each.what): [] for each in outcomes}
    for each in of(outcomes, "factors"):
        factors[each.precision, each.what].append(each)
    rows = [
        _found(f"factor {value:.10g} in {precision}", factors.get((precision, f"{value:.10g}"), []), least)
        for precision, value, least in wanted
    ]
    one, two = of(outcomes, "one unit"), of(outcomes, "two units")
    rows.append(at_least("one rounded constant: OK", sum(each.verdict == "OK" for each in one), len(one), 1))
    return [*rows, none("two rounded constants: FAULT", sum(each.verdict == "FAULT" for each in two), len(two))]


def _torch_targets(outcomes: Sequence[Outcome]) -> list[Target]:
    narrow = [each for each in outcomes if each.precision in NARROW and each.size <= POOREST]
    large = [each for each in outcomes if each.subject == "layer_norm, 4096 rows" and each.precision == "bfloat16"]
    return [
        _rare("torch in bfloat16, at most 3 roundings: FAULT", narrow, "bfloat16"),
        _rare("torch in float16, at most 3 roundings: FAULT", narrow, "float16"),
        _rare("torch in float32: FAULT", outcomes, "float32"),
        _found("torch's layer norm of 4096 rows in bfloat16: FAULT", large, 1),
    ]


# --- all of it

CORPORA = ("right", "wrong", "poor", "factors", "torch", "bugs")


def is_note(outcome: Outcome) -> bool:
    """Whether an outcome is worth a line: right code that is not OK, and a large mistake that is not FAULT."""
    if not outcome.what:
        return outcome.verdict != "OK"
    is_large = outcome.corpus == "bugs" or (outcome.corpus == "wrong" and outcome.size >= 2e-2)
    return is_large and outcome.verdict != "FAULT"


def shown(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """All tables of what was run."""
    if of(outcomes, "right", "wrong"):
        for title, belongs in GROUPS.items():
            yield f"{title}, percent (peers: random cotangent / of ones)\n{rules_table([*filter(belongs, outcomes)])}"
    if right := of(outcomes, "right"):
        yield "right kernels\n" + verdicts_table(right, lambda each: each.precision, lambda each: each.regime)
    if factors := of(outcomes, "factors", "one unit", "two units"):
        yield "a factor on one gradient\n" + verdicts_table(factors, lambda each: each.precision, _factor)
    if poor := of(outcomes, "poor"):
        poor.sort(key=lambda each: SHAPES.index(each.shape))
        yield "sums kept in 16 bits\n" + verdicts_table(poor, lambda each: each.precision, lambda each: each.shape)
    if own := of(outcomes, "torch"):
        yield "torch's own kernels\n" + verdicts_table(own, lambda each: each.precision, lambda each: each.regime)
    if bugs := of(outcomes, "bugs"):
        yield "public bugs\n" + verdicts_table(bugs, lambda each: each.subject, _of_bug)
    seconds = [each.seconds for each in outcomes]
    if len(seconds) > 1:
        most = quantiles(seconds, n=10)[-1]
        yield f"seconds of a check: {median(seconds):.2f} in the median, {most:.2f} for one in ten"


def _factor(outcome: Outcome) -> str:
    return outcome.what if outcome.corpus == "factors" else outcome.corpus


def _of_bug(outcome: Outcome) -> str:
    return f"{outcome.precision}, {'bug' if outcome.what else 'mended'}"


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31), help="fresh unless given")
    parser.add_argument("--corpus", action="append", choices=CORPORA, help="all unless given")
    parser.add_argument("--right", type=int, default=520, help="right kernels")
    parser.add_argument("--wrong", type=int, default=1040, help="kernels with a mistake")
    parser.add_argument("--poor", type=int, default=104, help="kernels whose sums are kept in 16 bits")
    parser.add_argument("--factors", type=int, default=12, help="kernels for each factor in each precision")
    parser.add_argument("--torch", type=int, default=540, help="calls of torch's own kernels, of 540")
    arguments = parser.parse_args(argv)
    wanted = arguments.corpus or CORPORA
    numbers = {corpus: getattr(arguments, corpus, 1) if corpus in wanted else 0 for corpus in CORPORA}
    started = time.perf_counter()
    print(f"seed {arguments.seed}", flush=True)
    outcomes = []
    for each in in_order(measures(arguments.seed, numbers)):
        outcomes.append(each)
        if is_note(each):
            print(each, flush=True)
    print("", *shown(outcomes), sep="\n\n")
    rows = targets(outcomes)
    print(f"\n{table_of(rows)}")
    print(f"{time.perf_counter() - started:.0f} s")
    return 0 if all(row[3] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
