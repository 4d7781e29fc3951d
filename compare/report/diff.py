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
    changes, environment, compared = list[Change](), dict[str, tuple[Any, Any]](), 0
    outcomes = [
        _outcome(check, first[check], second[check])
        for check in shared
        if _facts(first[check]) != _facts(second[check])
    ]
    for check in shared:
        before, after = ({(row.step, row.phase, row.name): row for row in run[check].rows} for run in (first, second))
        keys = dict.fromkeys([*before, *after])
        compared += len(keys)
        by_name: dict[str, list[tuple[Row | None, Row | None]]] = {}
        for key in keys:
            by_name.setdefault(key[2], []).append((before.get(key), after.get(key)))
        changes += [change for name, pairs in by_name.items() if (change := _change(check, name, pairs)) is not None]
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


def _change(check: str, name: str, pairs: list[tuple[Row | None, Row | None]]) -> Change | None:
    """How a tensor changed over its steps: shown where its verdict first did, or else where rho did most."""
    changed = [pair for pair in pairs if _judged(pair[0]) != _judged(pair[1])]
    if not changed:
        return None
    before, after = max(changed, key=_weight)
    some = before or after
    assert some is not None
    verdict, rho = zip(*((row.verdict, row.rho) if row else (None, None) for row in (before, after)), strict=True)
    return Change(check, name, some.step, verdict, rho, len(changed), len(pairs))


def _judged(row: Row | None) -> tuple[str, str] | None:
    return None if row is None else (row.verdict, repr(row.rho))


def _weight(pair: tuple[Row | None, Row | None]) -> tuple[bool, float]:
    before, after = pair
    if before is None or after is None or before.verdict != after.verdict:
        return True, 0.0
    return False, abs((before.rho or 0.0) - (after.rho or 0.0))


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
