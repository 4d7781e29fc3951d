"""What a check found, as plain values, and its renderings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from handgrad.compare.errors import ParityError
from handgrad.compare.report.details import Details

__all__ = ["ALONE", "DIVERGED", "FAILING", "UNSTABLE", "VERDICTS", "Finding", "Report", "Row"]

FAILING = ("FAULT", "NONFINITE", "MISSING")
VERDICTS = ("OK", "WEAK", *FAILING)
DIVERGED = "both sides overflow, so nothing can be compared; lower the learning rate or rescale the data"
UNSTABLE = (
    "roundings change torch's own result by 1 % or more here, so nothing is told of the formula; "
    "choose parameters and a batch where it is less sensitive"
)
ALONE = "report"  # the name of a single report where reports have names


class Row(NamedTuple):
    """One tensor of one step: where it stands, how far the two sides are apart and where, and the verdict.

    `rho` is the difference in units of what rounding explains; None as long as no such bound was computed.
    """

    step: int
    phase: str
    name: str
    equation: str
    shape: tuple[int, ...]
    max_abs_diff: float
    index: tuple[int, ...] | None = None  # type: ignore[assignment]  # a tuple's own index() is not missed
    by_hand: float | None = None
    torch: float | None = None
    rho: float | None = None
    rho_basis: str | None = None
    verdict: str = "OK"


@dataclass(frozen=True)
class Finding:
    """A culprit: a tensor that is wrong by itself, not by what it was computed from.

    `equation` is the label of the equation that computes it, `cause` a stable code, `factor` the ratio of the two sides
    where the cause is one, `index` the worst entry.
    """

    step: int
    phase: str
    name: str
    equation: str
    verdict: str
    cause: str
    explanation: str
    factor: float | None = None
    index: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Report:
    """The outcome of a check: every tensor compared, culprits in dataflow order, and what could not be seen."""

    rows: tuple[Row, ...]
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    blind_spots: tuple[str, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    details: Details = field(default_factory=Details)

    @property
    def ok(self) -> bool:
        """True if no finding is FAULT, NONFINITE or MISSING."""
        return not any(finding.verdict in FAILING for finding in self.findings)

    @property
    def first(self) -> Finding | None:
        """The first culprit in dataflow order, or None."""
        return self.findings[0] if self.findings else None

    def raise_if_failed(self, strict: bool = False) -> None:
        """Raise ParityError, an AssertionError, if the report is not ok; with `strict`, any finding raises.

        Its message is the outcome in a line, then the report.
        """
        __tracebackhide__ = True
        from handgrad.compare.report.summary import closing, fails

        if not fails(self, strict):
            return

        because = " WEAK fails because of strict." if self.ok else ""
        raise ParityError(f"{closing(self)[0]}{because}\n\n{self}")

    def __str__(self) -> str:
        """The report as a person reads it on a terminal."""
        from handgrad.compare.report.text import render

        return render(self)

    def to_json(self) -> str:
        """The report as JSON, schema handgrad.report/1; the same run gives the same bytes."""
        from handgrad.compare.report.json import render

        return render(self)

    def to_markdown(self) -> str:
        """The report as Markdown, for a pull request or a job summary."""
        from handgrad.compare.report.markdown import render

        return render(self)

    def to_html(self) -> str:
        """The report as one page that needs no other file; InputError where the extra `report` is not installed."""
        from handgrad.compare.report.html import render

        return render(self)

    def _repr_html_(self) -> str | None:
        """The report as notebooks show it; None, so that they show its text, without the extra `report`."""
        from handgrad.compare.errors import InputError
        from handgrad.compare.report.html import fragment

        try:
            return fragment(self)
        except InputError:
            return None
