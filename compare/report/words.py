"""A finding in words: the parts that every rendering of a report is made of."""

from __future__ import annotations

from typing import NamedTuple

from handgrad.compare.equations import EQUATIONS
from handgrad.compare.facts.fact import counted, listed
from handgrad.compare.facts.remarks import Persists
from handgrad.compare.ownership import place as at
from handgrad.compare.results import Finding

LONGEST = 500  # characters of what a cause says; an exception of the user's may go on


class Words(NamedTuple):
    """A finding in words: what is wrong, and where both sides are furthest apart.

    `others` are further causes that fit, `circumstances` further facts, `consequences` what else is wrong by the same
    mistake or because of it; `evidence` says how sure it is that the two sides differ.
    """

    cause: str
    worst: str
    others: tuple[str, ...]
    circumstances: tuple[str, ...]
    consequences: tuple[str, ...]
    evidence: str

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is said between the cause and the evidence."""
        return tuple(filter(None, (self.worst, *self.others, *self.circumstances, *self.consequences)))

    def __str__(self) -> str:
        """All of it in one line."""
        return "; ".join(filter(None, (self.cause, *self.remarks, self.evidence)))


def words(finding: Finding) -> Words:
    """The parts of a finding, without control characters."""
    cause = printable(str(finding.cause))
    circumstances = [fact for fact in finding.circumstances if not isinstance(fact, Persists)]
    return Words(
        cause if len(cause) <= LONGEST else f"{cause[:LONGEST]} ...",
        printable(_worst(finding)),
        tuple(printable(f"or {cause.code}: {cause}") for cause in finding.others),
        tuple(printable(str(fact)) for fact in circumstances),
        tuple(map(printable, _consequences(finding))),
        _evidence(finding),
    )


def _worst(finding: Finding) -> str:
    """at (0, 4): by hand 1.0782, torch -0.010957 from the same dA1, A1."""
    worst = finding.worst
    if worst is None:
        return ""
    by_hand, torch, before = _told_apart(worst.by_hand, worst.torch, worst.before or 0.0)
    index = worst.index[0] if len(worst.index) == 1 else worst.index
    at = f"at {index}: " if worst.index else ""
    inputs = f" from the same {listed(worst.inputs, 4)}" if worst.inputs else ""
    start = "" if worst.before is None else f", both from {before}"
    return f"{at}by hand {by_hand}, torch {torch}{inputs}{start}{f' in {worst.dtype}' if worst.dtype else ''}"


def _told_apart(first: float, second: float, *others: float) -> tuple[str, ...]:
    """Numbers with 5 digits, or as many as it takes to see that the first two differ."""
    digits = next((n for n in range(5, 17) if f"{first:.{n}g}" != f"{second:.{n}g}"), 17)
    return tuple(f"{value:.{digits}g}" for value in (first, second, *others))


def _consequences(finding: Finding) -> list[str]:
    shared = "mistake" if finding.factor is None else "factor"
    later = counted(finding.affects, "later tensor differs", "later tensors differ")
    together = [f"the same {shared} is in: {listed(finding.together)}"] if finding.together else []
    return [*together, f"{later} only because of it"] if finding.affects else together


def _evidence(finding: Finding) -> str:
    """How many times what rounding explains it is off, and how it was told from rounding otherwise."""
    evidence = [str(fact) for fact in finding.circumstances if isinstance(fact, Persists)]
    rho = finding.rho
    if rho == float("inf"):  # of what copies, as ReLU does
        evidence.insert(0, "this operation is exact, so rounding explains no difference")
    elif rho is not None:
        evidence.insert(0, f"{f'{rho:.1e}' if rho >= 1000 else f'{rho:.2g}'} times what rounding explains")
    return ", and ".join(evidence)


def place(finding: Finding) -> str:
    """Where a finding stands: dW2 at step 3."""
    return printable(str(finding.where))


def location(finding: Finding) -> str:
    """The file and the line to look at, my_derivation.py:41 or cell 3, line 5, or nothing where they are not known."""
    return printable(at(finding.line.file, finding.line.number)) if finding.line is not None else ""


def equation(finding: Finding) -> str:
    """The equation that a finding is about, with its label, or nothing where it is not known."""
    return printable(f"({finding.equation}) {EQUATIONS.get(finding.equation, '')}".rstrip()) if finding.equation else ""


def printable(text: str) -> str:
    """Text without control characters, which would move the cursor or turn the line round: they become escapes."""
    return "".join(c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in text)
