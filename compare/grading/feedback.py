"""What a student is told of a grade, at a level: below `full` no code of the key, number of torch's, or formula."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from handgrad.compare.facts import failures
from handgrad.compare.facts.causes import Cause
from handgrad.compare.faults.explanations import explanations
from handgrad.compare.grading.marks import Grade, Mark, Remark
from handgrad.compare.report.words import location, printable, words

LEVELS = ("where", "kind", "hint", "full")
OPEN = (
    failures.NotComputed,
    failures.NotReal,
    failures.UnknownName,
    failures.Raised,
    failures.ReturnedInstead,
    failures.Mutates,
    failures.TwoAnswers,
    failures.IgnoresArguments,
    failures.RaisesAgain,
    failures.Aliased,
    failures.TooFewYields,
    failures.TooManyYields,
)
"""Causes that keep a tensor from being compared: what they say is of the submission alone, and told at every level."""


class Told(NamedTuple):
    """What is told of one equation: its name, points and how it came out, and the sentences."""

    name: str
    earned: float
    points: float
    state: str
    says: tuple[str, ...]

    @property
    def text(self) -> str:
        """The sentences in one line."""
        return " ".join(self.says)


def told(grade: Grade, level: str) -> list[Told]:
    """What is told of every equation of a grade."""
    return [Told(m.name, m.earned, m.points, m.state, tuple(_says(m, grade, level))) for m in grade.marks]


def _says(mark: Mark, grade: Grade, level: str) -> Iterable[str]:
    finding, cause = mark.finding, mark.cause
    if grade.ended is not None or mark.state == "right":
        return
    if mark.state == "carried":
        yield "Right from your own inputs, which differ."
        return
    if finding is not None and finding.where.name != mark.name:
        yield f"By the same mistake as {finding.where.name}."
        return
    if mark.state == "missing":
        yield "It was not returned."
    if finding is not None and finding.line is not None:
        text = printable(finding.line.text.strip())
        yield f"Look at {location(finding)}: `{text}`." if text else f"Look at {location(finding)}."
    elif mark.state == "wrong" and cause is not None:
        yield "It is wrong by itself."
    if cause is None:
        return
    if isinstance(cause, OPEN):
        yield f"{_sentence(printable(str(cause)))}"
    yield from _of_cause(cause, level)
    if level == "full" and finding is not None and not isinstance(cause, OPEN):
        yield _sentence(str(words(finding)))


def _of_cause(cause: Cause, level: str) -> Iterable[str]:
    """The family of a cause, and the question that leads to it, as far as the level goes."""
    explanation = explanations()[cause.code]
    if level != "where":
        yield f"Kind: {cause.code}, {explanation.line}."
    if level in ("hint", "full"):
        yield explanation.question


def _sentence(text: str) -> str:
    """A text as a sentence: with its full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?', '!')) else '.'}"


def remarked(remark: Remark) -> str:
    """A remark as a sentence, with what it costs."""
    costs = f" This costs {number(remark.cost)} points." if remark.cost else ""
    return f"{_sentence(printable(str(remark.fact)))}{costs}"


def ending(grade: Grade, level: str) -> str:
    """Why nothing was judged, as a sentence; what the check itself said is told at `full` alone."""
    if grade.ended is None:
        return ""
    why = getattr(grade.ended, "why", "") if level == "full" and grade.ended.code == "not-judged" else ""
    return _sentence(printable(f"{grade.ended}{': ' if why else ''}{why}"))


def number(points: float) -> str:
    """Points with at most two decimals."""
    return f"{round(points, 2):g}"
