"""What every rendering of a report says: its two closing lines, and one row per tensor."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from handgrad.compare.facts.fact import counted
from handgrad.compare.facts.failures import Overflow
from handgrad.compare.report.words import printable
from handgrad.compare.results import FAILING, UNSURE, Finding, Results, Row

R = TypeVar("R", bound=Results)
COLUMNS = ("eq.", "tensor", "shape", "step", "x rounding", "max |diff|", "at", "by hand", "torch", "verdict")


def closing(results: Results) -> tuple[str, str]:
    """Two lines: what agreed, how closely, over how many tensors and steps; and what the run could not show."""
    hidden = "; ".join(map(str, results.blind_spots)) or "nothing on the list of known blind spots"
    return ": ".join(headline(results)), printable(f"Not shown by this run: {hidden}.")


def headline(results: Results) -> tuple[str, str]:
    """The verdict on the whole, and how it came about."""
    culprit = deciding(results)
    if culprit is None:
        return "OK", printable(_agreement(results))
    if results.ok:
        return f"OK, but {culprit.verdict}", printable(_unsure(results, culprit))
    return culprit.verdict, printable(_failure(results, culprit))


def _agreement(results: Results) -> str:
    near = closest(results)
    if near is None:
        return "nothing was compared."
    judged = results.environment.get("precisions", ())
    precisions = f", in {' and '.join(judged)}" if judged else ""
    return (
        f"by hand and torch agree on {_every(len(results.rows))} of {_steps(results)}{precisions}; "
        f"the largest difference is {closeness(near)} ({near.name} at step {near.step})."
    )


def _every(count: int) -> str:
    return "the one tensor" if count == 1 else f"all {count} tensors"


def _unsure(results: Results, culprit: Finding) -> str:
    alike = sum(finding.verdict == culprit.verdict for finding in results.findings)
    among = f"{counted(alike, 'tensor')} among {len(results.rows)} of {_steps(results)}, first {culprit.where}"
    if culprit.verdict == "UNTOLD":
        return f"nothing is told of {among}: rounding moves torch's own result by as much as the difference."
    return f"{among}, {'is' if alike == 1 else 'are'} off by more than rounding explains; nothing is shown wrong."


def _failure(results: Results, culprit: Finding) -> str:
    where, compared = culprit.where, len(results.rows)
    label = f" ({culprit.equation})" if culprit.equation else ""
    among = f" among {counted(compared, 'compared tensor')} of {_steps(results)}" if compared else "; none was compared"
    if culprit.cause.code == "exception":
        return f"an exception ends step {where.step} in its {where.phase} phase{label}{among}."
    first = f"{where.name}{label} is the first tensor that"
    if isinstance(culprit.cause, Overflow):
        return f"{first} overflows on both sides, at step {where.step}{among}."
    is_wrong = "is missing" if culprit.verdict == "MISSING" else "differs"
    if where.phase != "update" and results.details.is_untapped:
        differ = counted(len(results.findings), "tensor differs", "tensors differ")
        untold = "which is wrong by itself cannot be told: the reference taps nothing"
        return f"{first} {is_wrong}, at step {where.step}; {differ}{among}, and {untold}."
    return f"{first} {is_wrong}, at step {where.step}; {_by_themselves(results.findings)}{among}."


def _steps(results: Results) -> str:
    return counted(len({row.step for row in results.rows}), "step")


def _by_themselves(findings: Sequence[Finding]) -> str:
    by_verdict = Counter(finding.verdict for finding in findings)
    missing, number = by_verdict["MISSING"], sum(by_verdict[verdict] for verdict in FAILING) - by_verdict["MISSING"]
    wrong = [counted(number, "tensor wrong by itself", "tensors wrong by themselves")] if number else []
    absent = [counted(missing, "tensor missing", "tensors missing")] if missing else []
    return " and ".join([*wrong, *absent, *(f"{n} {verdict}" for verdict in UNSURE if (n := by_verdict[verdict]))])


def deciding(results: Results) -> Finding | None:
    """The finding that decides the verdict on a report: the first that fails, or else is UNTOLD, or else WEAK."""
    ranks = ((*FAILING,), ("UNTOLD",), ("WEAK",))
    found = (next((f for f in results.findings if f.verdict in verdicts), None) for verdicts in ranks)
    return next((finding for finding in found if finding is not None), None)


def closest(results: Results) -> Row | None:
    """The row that came closest to being flagged, of those that were not."""
    return max((row for row in results.rows if row.verdict == "OK"), key=lambda row: row.rho or 0.0, default=None)


def closeness(row: Row) -> str:
    """How close a row came to being flagged, in words: 0.4 of what rounding explains, or more where that is excused."""
    if row.rho is None:
        return f"{row.max_abs_diff:.2g}"
    explained = "what rounding can drift to" if row.rho_basis == "twins" else "what rounding explains"
    return f"{row.rho:.2g} {'of' if row.rho <= 1 else 'times'} {explained}"


def setting(results: Results) -> list[str]:
    """What was checked, in a line or two."""
    return [printable(str(results.environment[key])) for key in ("check", "setting") if key in results.environment]


def shown(rows: Iterable[Row]) -> list[Row]:
    """One row per tensor, in dataflow order: its first failing step, or the step where it came closest to that."""
    by_name: dict[str, Row] = {}
    for row in rows:
        best = by_name.get(row.name)
        if best is None or (best.verdict == "OK" and (row.verdict != "OK" or (row.rho or 0) > (best.rho or 0))):
            by_name[row.name] = row
    return list(by_name.values())


def table(results: Results) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The headings and the rows shown, as text; without a column for equations where none is known."""
    rows = [tuple(map(printable, _cells(row))) for row in shown(results.rows)]
    first = 0 if any(row[0] for row in rows) else 1
    return COLUMNS[first:], [row[first:] for row in rows]


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.equation,
        row.name,
        "x".join(map(str, row.shape)) or "scalar",
        str(row.step),
        "" if row.rho is None else f"{row.rho:.2g}",
        f"{row.max_abs_diff:.2g}",
        "" if row.index is None else ",".join(map(str, row.index)),
        "" if row.by_hand is None else f"{row.by_hand:.7g}",
        "" if row.torch is None else f"{row.torch:.7g}",
        row.verdict,
    )


def aligned(columns: Sequence[str], rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """The lines of a table: headings, a rule, and the rows; a column is aligned to its side, < or >.

    It is what tabulate's "simple" prints; importing tabulate takes longer than all that shows a stored report.
    """
    widths = [max(width(head) + 2, *map(width, cells), 0) for head, *cells in zip(columns, *rows, strict=True)]
    return [
        "  ".join(map(filled, line, sides, widths)).rstrip()
        for line in (columns, ["-" * width for width in widths], *rows)
    ]


def width(text: str) -> int:
    """How many columns a text takes on a terminal: Hangul takes two a syllable."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    return int(wcswidth(text))


def filled(text: str, side: str, columns: int) -> str:
    """A text with spaces up to so many columns, aligned to a side, < or >."""
    spaces = " " * (columns - width(text))
    return text + spaces if side == "<" else spaces + text


def differing(reports: Mapping[str, Results]) -> list[str]:
    """The names of those reports that fail: not ok, or with any finding where the check was strict."""
    return [name for name, report in reports.items() if fails(report, bool(report.environment.get("strict")))]


def strictly(results: R) -> R:
    """A report that tells in its environment that it was judged strictly, which `differing` reads."""
    return replace(results, environment={**results.environment, "strict": True})


def fails(results: Results, strict: bool) -> bool:
    """Whether a report fails: it is not ok, or has any finding under `strict`."""
    return not results.ok or (strict and bool(results.findings))


def shared_environment(reports: Iterable[Results]) -> dict[str, object]:
    """The part of the environment that all reports have in common."""
    first, *others = (dict(report.environment) for report in reports)
    return {key: value for key, value in first.items() if all(key in o and o[key] == value for o in others)}


def outcome(reports: Mapping[str, Results], not_run: Mapping[str, str]) -> str:
    """How many of several checks differ, and how many could not run."""
    wrong, parts = len(differing(reports)), []
    if wrong:
        parts.append(f"{wrong} of {counted(len(reports), 'check')} {'differs' if wrong == 1 else 'differ'}")
    elif reports:
        parts.append(counted(len(reports), "check agrees", "checks agree"))
    if not_run:
        parts.append(f"{counted(len(not_run), 'check')} could not run")
    return ", ".join(parts) or "no check ran"


def value(item: object) -> str:
    """A field of the environment in a line."""
    if isinstance(item, Mapping):
        return ", ".join(f"{key} {value(inner)}" for key, inner in item.items())
    if isinstance(item, Sequence) and not isinstance(item, str):
        return ", ".join(map(value, item))
    return "none" if item is None else str(item)
