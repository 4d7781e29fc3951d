"""The statements as a table, one of them as its whole story, as JSON, or as a page."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from tabulate import tabulate

import handgrad.manual.as_written
from handgrad.compare.errors import InputError
from handgrad.compare.faults import Fault, catalogue
from handgrad.compare.faults.lesson import Lesson, as_text, prepared
from handgrad.compare.notes import Evidence, Statement
from handgrad.compare.notes.literal import LITERAL
from handgrad.compare.report import Report
from handgrad.compare.report.json import text
from handgrad.compare.report.markdown import escaped
from handgrad.compare.report.page import CodeLine, Listing
from handgrad.compare.report.text import culprits_and_closing
from handgrad.compare.source.labels import labelled

__all__ = ["Story", "as_json", "as_markdown", "as_page", "as_table", "story", "told"]

WIDTH = 44


@dataclass(frozen=True)
class Story:
    """One statement with its evidence, the code of both sides and of the formula as written, and exact proofs.

    `check` is what a check says of the formula as written, `mistake` a known one in the equation; None where not asked
    for or where there is none.
    """

    statement: Statement
    evidence: Evidence
    code: tuple[Listing, ...]
    literal: Listing | None
    proofs: tuple[str, ...]
    check: Report | None = None
    mistake: Lesson | None = None


def told(statement: Statement, *, whole: bool) -> Story:
    """The story of a statement; `whole` with the checks of what is written wrongly, which take a second."""
    label = statement.id
    code = (_code(package, side, label) for package, side in (("manual", "by hand"), ("torchref", "torch")))
    literal = LITERAL.get(label) if whole else None
    fault = next((fault for fault in catalogue().values() if fault.equation == label), None) if whole else None
    return Story(
        statement,
        statement.prove(),
        tuple(listing for listing in code if listing is not None),
        _literal(label),
        _proofs(label),
        literal() if literal is not None else None,
        _lesson(fault) if fault is not None else None,
    )


def _lesson(fault: Fault) -> Lesson | None:
    """A mistake planted, unless its place in manual/ was edited."""
    try:
        return prepared(fault, 0)
    except InputError:
        return None


def as_table(statements: Sequence[Statement]) -> str:
    """One row per statement, with the evidence computed now."""
    rows = [
        (s.id, *(textwrap.fill(cell, WIDTH) for cell in (s.as_written, s.corrected)), s.verdict, _wrapped(s.prove()))
        for s in statements
    ]
    return tabulate(rows, headers=HEADINGS, tablefmt="grid", disable_numparse=True) + "\n"


HEADINGS = ("id", "as written", "corrected", "verdict", "evidence, computed by this run")


def as_markdown(statements: Sequence[Statement]) -> str:
    """The same table as Markdown."""
    rows = [tuple(map(escaped, (s.id, s.as_written, s.corrected, s.verdict, s.prove().text))) for s in statements]
    return tabulate(rows, headers=HEADINGS, tablefmt="github", disable_numparse=True) + "\n"


def as_json(statements: Sequence[Statement]) -> str:
    """The same facts with stable keys: id, as_written, corrected, verdict, evidence."""
    return text([_fields(statement, statement.prove()) for statement in statements])


def _fields(statement: Statement, evidence: Evidence) -> dict[str, object]:
    figures = {figure.name: {"by_hand": figure.by_hand, "torch": figure.torch} for figure in evidence.figures}
    return {
        "id": statement.id,
        "as_written": statement.as_written,
        "corrected": statement.corrected,
        "verdict": statement.verdict,
        "evidence": {"text": evidence.text, "figures": figures},
    }


def as_page(statements: Sequence[Statement]) -> str:
    """A page: a table of the statements and the story of each; of one alone its whole story."""
    from handgrad.compare.report import html

    stories = [told(statement, whole=len(statements) == 1) for statement in statements]
    title = "The lecture notes, proved" if len(stories) > 1 else f"{stories[0].statement.id} of the lecture notes"
    return html.page(f"handgrad: {title}", html.rendered("notes.html", title=title, stories=stories))


def story(statement: Statement) -> str:
    """One statement as text: as written and corrected, the evidence, the code of both sides, and what goes wrong."""
    found = told(statement, whole=True)
    rows = [
        (f.name, *("" if side is None else f"{side:.9g}" for side in (f.by_hand, f.torch)))
        for f in found.evidence.figures
    ]
    parts = [
        f"{statement.id}  {statement.verdict}\n"
        f"  as written  {statement.as_written}\n"
        f"  corrected   {statement.corrected}",
        found.evidence.text,
        tabulate(rows, headers=("", "by hand", "torch"), disable_numparse=True) if rows else "",
        *map(_listed, found.code),
        "" if found.literal is None else f"as written, {_listed(found.literal)}",
        "\n".join(("Exactly, by sympy:", *(f"  {line}" for line in found.proofs))) if found.proofs else "",
        "" if found.check is None else _indented("A check of it as written", culprits_and_closing(found.check)),
        "" if found.mistake is None else _indented("A known mistake in it", as_text(found.mistake)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _indented(title: str, content: str) -> str:
    return f"{title}\n\n{textwrap.indent(content.rstrip(), '  ')}"


def _listed(listing: Listing) -> str:
    return "\n".join((listing.file, *(f"  {line.text}".rstrip() for line in listing.lines)))


def _code(package: str, side: str, label: str) -> Listing | None:
    """The function that computes an equation on one side, or the line alone, without its docstring."""
    at = labelled(package, label)
    if at is None:
        return None
    lines = enumerate(at.text.splitlines(), start=at.first)
    return Listing(side, at.file, _without_docstring([CodeLine(n, line, n == at.line) for n, line in lines]))


def _without_docstring(lines: list[CodeLine]) -> tuple[CodeLine, ...]:
    quotes = [i for i, line in enumerate(lines) for _ in re.findall('"""', line.text)]
    inside = range(quotes[0], quotes[1] + 1) if len(quotes) >= 2 else range(0)
    return tuple(line for i, line in enumerate(lines) if i not in inside)


def _literal(label: str) -> Listing | None:
    """The formula as written, where code of it is kept."""
    name = {"L2": "binary_cross_entropy", "A3": "tanh", "C2": "collapsed_bias", "I1": "standard_deviation", "I5": "he"}
    if label not in name:
        return None
    lines, first = inspect.getsourcelines(getattr(handgrad.manual.as_written, name[label]))
    numbered = [CodeLine(n, line.rstrip(), False) for n, line in enumerate(lines, start=first)]
    return Listing("as written", "manual/as_written.py", _without_docstring(numbered))


def _proofs(label: str) -> tuple[str, ...]:
    """The elementwise derivatives as sympy proves them."""
    try:
        from handgrad.compare.notes.exact import proofs
    except ImportError:  # torch brings it; where it does not, the numbers stand alone
        return ("not installed; run: pip install sympy",)

    return proofs().get(label, ())


def _wrapped(evidence: Evidence) -> str:
    return textwrap.fill(evidence.text, 2 * WIDTH) if evidence.text else ""
