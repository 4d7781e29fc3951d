"""Two stored runs of the same checks: which tensors changed verdict or rho, and what about the environment differs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from handgrad.compare.facts.fact import counted
from handgrad.compare.report.json import text
from handgrad.compare.report.summary import aligned
from handgrad.compare.report.words import place, printable
from handgrad.compare.results import ALONE, Finding, Results, Row

SCHEMA = "handgrad.diff/1"
Judged = tuple[str | None, float | None]  # verdict and rho of a tensor in a run
Step = tuple[int, Judged, Judged]  # its number, and a tensor before and after
ABSENT: Judged = (None, None)


@dataclass(frozen=True)
class Change:
    """A tensor that changed: at how many of its steps, and before and after at the step that shows it best.

    Verdict and rho are None where the tensor is not in that run.
    """

    check: str
    name: str
    step: int
    verdict: tuple[str | None, str | None]
    rho: tuple[float | None, float | None]
    changed: int
    steps: int


@dataclass(frozen=True)
class Difference:
    """What differs between two runs; `environment` holds the value in each, None where it has none.

    `compared` counts the tensors of all steps that either run has. `outcomes` are sentences on checks whose findings
    changed, or that one run alone has.
    """

    changes: tuple[Change, ...]
    outcomes: tuple[str, ...]
    environment: dict[str, tuple[Any, Any]]
    compared: int

    @property
    def equal(self) -> bool:
        """Whether findings are the same, and every tensor's verdict and rho; the environment may differ."""
        return not self.changes and not self.outcomes


def difference(
    first: Mapping[str, Results], second: Mapping[str, Results], called: tuple[str, str] = ("the first", "the second")
) -> Difference:
    """Compare two runs, each a mapping from the names of checks to their reports, and what the runs are called."""
    shared = [name for name in first if name in second]
    changes, outcomes, environment, compared = list[Change](), list[str](), dict[str, tuple[Any, Any]](), 0
    for check in shared:
        if _facts(first[check]) != _facts(second[check]):
            outcomes.append(_outcome(check, first[check], second[check]))
        steps = _steps(first[check].rows, second[check].rows)
        compared += sum(map(len, steps.values()))
        changes += [change for name in steps if (change := _change(check, name, steps[name])) is not None]
        a, b = (dict(_flat(run[check].environment)) for run in (first, second))
        for field in dict.fromkeys([*a, *b]):
            if a.get(field) != b.get(field):
                environment.setdefault(field, (a.get(field), b.get(field)))
    for run, name in zip((first, second), called, strict=True):
        outcomes += [f"Only {name} has {check}." for check in run if check not in shared]
    changes.sort(key=lambda change: change.verdict[0] == change.verdict[1])
    return Difference(tuple(changes), tuple(outcomes), environment, compared)


def _facts(results: Results) -> list[tuple[object, ...]]:
    """Where each finding stands, and which mistake explains it."""
    return [(f.where, f.verdict, f.cause.code, repr(f.factor)) for f in results.findings]


def _outcome(check: str, before: Results, after: Results) -> str:
    """A sentence on a check whose findings changed."""
    first, second = _named(before.first), _named(after.first)
    more = f" ({len(before.findings)} and {len(after.findings)} findings)" if first == second else ""
    return f"{'' if check == ALONE else f'{check}: '}found first {first}, now {second}{more}."


def _named(finding: Finding | None) -> str:
    if finding is None:
        return "nothing"
    factor = "" if finding.factor is None else f" {finding.factor:.12g}"
    return f"{finding.verdict} {place(finding)}, {finding.cause.code}{factor}"


def _flat(environment: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every field by name, those of a mapping in it as experiment.seed."""
    for name, value in environment.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _steps(first: Iterable[Row], second: Iterable[Row]) -> dict[str, list[Step]]:
    """Every tensor's steps, with its verdict and rho there in both runs."""
    before, after = (
        {(row.name, row.step, row.phase): (row.verdict, row.rho) for row in rows} for rows in (first, second)
    )
    steps: dict[str, list[Step]] = {}
    for key in dict.fromkeys([*before, *after]):
        steps.setdefault(key[0], []).append((key[1], before.get(key, ABSENT), after.get(key, ABSENT)))
    return steps


def _change(check: str, name: str, steps: list[Step]) -> Change | None:
    """How a tensor changed over its steps: shown where its verdict first did, or else where rho did most."""
    changed = [(step, before, after) for step, before, after in steps if repr(before) != repr(after)]  # nan is nan
    if not changed:
        return None
    step, before, after = max(changed, key=_weight)
    return Change(check, name, step, (before[0], after[0]), (before[1], after[1]), len(changed), len(steps))


def _weight(step: Step) -> tuple[bool, float]:
    _, before, after = step
    return (True, 0.0) if before[0] != after[0] else (False, abs((before[1] or 0.0) - (after[1] or 0.0)))


def render(runs: Difference, form: str) -> str:
    """The difference as text, markdown or json."""
    if form == "json":
        return text({"schema": SCHEMA, "equal": runs.equal, **asdict(runs)})
    if form == "markdown":
        from handgrad.compare.report.markdown import escaped as show
        from handgrad.compare.report.markdown import grid as table
    else:
        show, table = printable, _table
    columns, rows = _rows(runs)
    fields = [(name, *map(str, values)) for name, values in runs.environment.items()]
    parts = [
        table(columns, rows) if rows else "",
        table(("environment", "first", "second"), fields) if fields else "",
        ("\n\n" if form == "markdown" else "\n").join(map(show, runs.outcomes)),
        _closing(runs),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _rows(runs: Difference) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The headings and a row for every tensor that changed; with a column for the checks where there are several."""
    rows = [
        (
            change.check,
            change.name,
            str(change.step),
            _arrow(change.verdict, *(verdict or "absent" for verdict in change.verdict)),
            _arrow(change.rho, *("" if rho is None else f"{rho:.2g}" for rho in change.rho)),
            f"{change.changed} of {counted(change.steps, 'step')}",
        )
        for change in runs.changes
    ]
    first = 0 if len({change.check for change in runs.changes}) > 1 else 1
    return ("check", "tensor", "step", "verdict", "x rounding", "changed at")[first:], [row[first:] for row in rows]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(aligned(columns, [tuple(map(printable, row)) for row in rows], "<" * len(columns)))


def _closing(runs: Difference) -> str:
    verdicts = sum(change.verdict[0] != change.verdict[1] for change in runs.changes)
    other = len(runs.changes) - verdicts
    fields = f"; the environment differs in {', '.join(runs.environment)}" if runs.environment else ""
    if runs.equal:
        return f"Equal: {counted(runs.compared, 'tensor')} with the same verdicts and rho{fields}."
    changed = f", {counted(len(runs.outcomes), 'check')} changed or missing" if runs.outcomes else ""
    return f"{counted(verdicts, 'tensor')} changed verdict, {other} rho alone{changed}{fields}."


def _arrow(values: tuple[object, object], before: str, after: str) -> str:
    return before if values[0] == values[1] else f"{before} -> {after}"
