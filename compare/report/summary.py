"""What every rendering of a report says: its two closing lines, and one row per tensor."""

from collections.abc import Iterable, Mapping, Sequence

from handgrad.compare.equations import EQUATIONS
from handgrad.compare.report import DIVERGED, FAILING, UNSTABLE, Finding, Report, Row

__all__ = [
    "COLUMNS",
    "aligned",
    "closeness",
    "closest",
    "closing",
    "counted",
    "deciding",
    "differing",
    "equation",
    "fails",
    "outcome",
    "place",
    "printable",
    "setting",
    "shared_environment",
    "shown",
    "table",
    "value",
]

COLUMNS = ("eq.", "tensor", "shape", "step", "x rounding", "max |diff|", "at", "by hand", "torch", "verdict")


def closing(report: Report) -> tuple[str, str]:
    """Two lines: what agreed, how closely, over how many tensors and steps; and what the run could not show."""
    steps = counted(len({row.step for row in report.rows}), "step")
    compared = len(report.rows)
    culprit = deciding(report)
    if culprit is not None and not report.ok:
        label = f" ({culprit.equation})" if culprit.equation else ""
        among = f" among {counted(compared, 'compared tensor')} of {steps}." if compared else "; none was compared."
        first = f"{culprit.verdict}: {culprit.name}{label} is the first tensor that"
        if culprit.explanation.startswith(DIVERGED):
            outcome = f"{first} overflows on both sides, at step {culprit.step},{among}"
        elif culprit.cause == "exception":
            outcome = (
                f"{culprit.verdict}: an exception ends step {culprit.step} in its {culprit.phase} phase{label}{among}"
            )
        else:
            outcome = f"{first} differs, at step {culprit.step}; {_by_themselves(report.findings)}{among}"
    elif culprit is not None and any(f.explanation.startswith(UNSTABLE) for f in report.findings):
        unstable = [finding for finding in report.findings if finding.explanation.startswith(UNSTABLE)]
        outcome = (
            f"OK, but WEAK: nothing is told of {counted(len(unstable), 'tensor')} among {compared} of {steps}, first "
            f"{unstable[0].name} at step {unstable[0].step}: roundings change it by 1 % or more in torch as well."
        )
    elif culprit is not None:
        outcome = (
            f"OK, but WEAK: the formulas are right on all {compared} tensors of {steps}, and the "
            f"arithmetic of {len(report.findings)} loses digits, first {culprit.name} at step {culprit.step}."
        )
    else:
        worst = closest(report)
        outcome = "OK: nothing was compared."
        if worst is not None:
            judged = report.environment.get("precisions", ())
            precisions = f", in {' and '.join(judged)}" if judged else ""
            outcome = (
                f"OK: by hand and torch agree on all {compared} tensors of {steps}{precisions}; "
                f"the largest difference is {closeness(worst)} ({worst.name} at step {worst.step})."
            )
    return (
        outcome,
        f"Not shown by this run: {'; '.join(report.blind_spots) or 'nothing on the list of known blind spots'}.",
    )


def _by_themselves(findings: Sequence[Finding]) -> str:
    number = sum(finding.verdict in FAILING for finding in findings)
    weak = f" and {len(findings) - number} WEAK" if number < len(findings) else ""
    return f"{'1 tensor wrong by itself' if number == 1 else f'{number} tensors wrong by themselves'}{weak}"


def deciding(report: Report) -> Finding | None:
    """The finding that decides the verdict on a report: the first that fails, or else the first that is WEAK."""
    return next((finding for finding in report.findings if finding.verdict in FAILING), report.first)


def closest(report: Report) -> Row | None:
    """The row that came closest to being flagged, of those that were not."""
    return max((row for row in report.rows if row.verdict == "OK"), key=lambda row: row.rho or 0.0, default=None)


def closeness(row: Row) -> str:
    """How close a row came to being flagged, in words: 0.4 of what rounding explains."""
    if row.rho is None:
        return f"{row.max_abs_diff:.2g}"
    explained = "what rounding can drift to" if row.rho_basis == "twins" else "what rounding explains"
    return f"{row.rho:.2g} of {explained}"


def setting(report: Report) -> list[str]:
    """What was checked, in a line or two."""
    return [printable(str(report.environment[key])) for key in ("check", "setting") if key in report.environment]


def shown(rows: Iterable[Row]) -> list[Row]:
    """One row per tensor, in dataflow order: its first failing step, or the step where it came closest to that."""
    found: dict[str, Row] = {}
    for row in rows:
        best = found.get(row.name)
        if best is None or (best.verdict == "OK" and (row.verdict != "OK" or (row.rho or 0) > (best.rho or 0))):
            found[row.name] = row
    return list(found.values())


def table(report: Report) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The headings and the rows shown, as text; without a column for equations where none is known."""
    rows = [tuple(map(printable, _cells(row))) for row in shown(report.rows)]
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
    widths = [max(len(head) + 2, *map(len, cells), 0) for head, *cells in zip(columns, *rows, strict=True)]
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths, strict=True)).rstrip()
        for line in (columns, ["-" * width for width in widths], *rows)
    ]


def place(finding: Finding) -> str:
    """Where a finding stands: step 3 / backward / dW2."""
    return printable(f"step {finding.step} / {finding.phase} / {finding.name}")


def equation(finding: Finding) -> str:
    """The equation that a finding is about, with its label, or nothing where it is not known."""
    return f"({finding.equation}) {EQUATIONS.get(finding.equation, '')}".rstrip() if finding.equation else ""


def differing(reports: Mapping[str, Report]) -> list[str]:
    """The names of those reports that fail: not ok, or with any finding where the check was strict."""
    return [name for name, report in reports.items() if fails(report, bool(report.environment.get("strict")))]


def fails(report: Report, strict: bool) -> bool:
    """Whether a report fails: it is not ok, or has any finding under `strict`."""
    return not report.ok or (strict and bool(report.findings))


def printable(text: str) -> str:
    """Text without control characters, which would move the cursor or turn the line round: they become escapes."""
    return "".join(c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in text)


def shared_environment(reports: Iterable[Report]) -> dict[str, object]:
    """The part of the environment that all reports have in common."""
    first, *others = (dict(report.environment) for report in reports)
    return {key: value for key, value in first.items() if all(key in o and o[key] == value for o in others)}


def outcome(reports: Mapping[str, Report], not_run: Mapping[str, str]) -> str:
    """How many of several checks differ, and how many could not run."""
    wrong, checks = len(differing(reports)), counted(len(reports), "check")
    stopped = f"{counted(len(not_run), 'check')} could not run" if not_run else ""
    if not reports:
        return stopped or "no check ran"
    told = f"{checks} {'agrees' if len(reports) == 1 else 'agree'}"
    if wrong:
        told = f"{wrong} of {checks} {'differs' if wrong == 1 else 'differ'}"
    return f"{told}, {stopped}" if stopped else told


def counted(number: int, noun: str) -> str:
    """1 step, 2 steps."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def value(item: object) -> str:
    """A field of the environment in a line."""
    if isinstance(item, Mapping):
        return ", ".join(f"{key} {value(each)}" for key, each in item.items())
    if isinstance(item, Sequence) and not isinstance(item, str):
        return ", ".join(map(value, item))
    return "none" if item is None else str(item)
