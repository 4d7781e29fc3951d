"""The statements as a table, one of them as its whole story, as JSON, or as a page."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tabulate import tabulate

from handgrad.compare.errors import InputError
from handgrad.compare.faults.catalogue import catalogue
from handgrad.compare.faults.lesson import Lesson, as_text, indented, prepared
from handgrad.compare.notes.evidence import Evidence, Statement
from handgrad.compare.notes.language import ENGLISH, Language, Sentence, own_words
from handgrad.compare.notes.literal import LITERAL
from handgrad.compare.report import html, json, markdown
from handgrad.compare.report.page import CodeLine, Listing
from handgrad.compare.report.report import Report
from handgrad.compare.report.summary import filled, width
from handgrad.compare.report.text import brief
from handgrad.compare.source.labels import labelled
from handgrad.manual import as_written

WIDTH = 36
HEADINGS = ("id", "in the notes", "as written", "corrected", "verdict", "evidence, computed by this run")
AS_WRITTEN: dict[str, Callable[..., object]] = {
    "L2": as_written.binary_cross_entropy,
    "A3": as_written.tanh,
    "C2": as_written.collapsed_bias,
    "I1": as_written.standard_deviation,
    "I5": as_written.he,
}
"""Code of the formula as written, where it is kept."""


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


def short_story(statement: Statement) -> Story:
    """The story of a statement, without the checks of what is written wrongly."""
    label = statement.id
    places = (("by hand", labelled("manual", label)), ("torch", labelled("torchref", label)))
    code = tuple(_listing(side, at.file, at.first, at.text, at.line) for side, at in places if at is not None)
    return Story(statement, statement.prove(), code, _literal(label), _proofs(label))


def whole_story(statement: Statement) -> Story:
    """The story of a statement with the checks of what is written wrongly, which take a second."""
    label = statement.id
    check = LITERAL[label]() if label in LITERAL else None
    return replace(short_story(statement), check=check, mistake=_lesson(label))


def _lesson(label: str) -> Lesson | None:
    """A known mistake in an equation, unless there is none or its place in manual/ was edited."""
    fault = next((fault for fault in catalogue().values() if fault.equation == label), None)
    try:
        return None if fault is None else prepared(fault, 0)
    except InputError:
        return None


def as_table(statements: Sequence[Statement], language: Language = ENGLISH) -> str:
    """One row per statement, with the evidence computed now."""
    widths = [None, WIDTH, WIDTH, WIDTH, None, 2 * WIDTH]
    rows = _rows(statements, language)
    return tabulate(rows, _headings(language), "grid", maxcolwidths=widths, disable_numparse=True) + "\n"


def as_markdown(statements: Sequence[Statement], language: Language = ENGLISH) -> str:
    """The same table as Markdown."""
    return markdown.grid(_headings(language), _rows(statements, language)) + "\n"


def _headings(language: Language) -> tuple[str, ...]:
    return tuple(map(language.said, HEADINGS))


def _rows(statements: Sequence[Statement], language: Language) -> list[tuple[str, ...]]:
    return [
        (s.id, "\n".join(own_words(s.id)), *map(language.said, (s.as_written, s.corrected, s.verdict, s.prove().text)))
        for s in statements
    ]


def as_json(statements: Sequence[Statement], language: Language = ENGLISH) -> str:
    """The same facts with stable keys: id, own_words, as_written, corrected, verdict, evidence."""
    return json.text([_fields(statement, language) for statement in statements])


def _fields(statement: Statement, language: Language) -> dict[str, object]:
    evidence = _told(statement.prove(), language)
    return {
        "id": statement.id,
        "own_words": own_words(statement.id),
        "as_written": language.said(statement.as_written),
        "corrected": language.said(statement.corrected),
        "verdict": statement.verdict,
        "evidence": {
            "text": evidence.text,
            "figures": {name: {"by_hand": by_hand, "torch": torch} for name, by_hand, torch in evidence.figures},
        },
    }


def as_page(statements: Sequence[Statement], language: Language = ENGLISH) -> str:
    """A page: a table of the statements and the story of each; of one alone its whole story."""
    tell = short_story if len(statements) > 1 else whole_story
    stories = [tell(statement) for statement in statements]
    stories = [replace(story, evidence=_told(story.evidence, language)) for story in stories]
    several = "The lecture notes, proved"
    title = language.said(several if len(stories) > 1 else Sentence("{id} of the lecture notes", id=statements[0].id))
    content = html.rendered(
        "notes.html", title=title, stories=stories, language=language, headings=HEADINGS, own_words=own_words
    )
    return html.page(title, content, language.code)


def _told(evidence: Evidence, language: Language) -> Evidence:
    """The evidence in a language."""
    say = language.said
    figures = tuple(figure._replace(name=say(figure.name)) for figure in evidence.figures)
    plots = tuple(
        plot._replace(
            title=say(plot.title),
            x=say(plot.x),
            y=say(plot.y),
            lines=tuple(line._replace(name=say(line.name)) for line in plot.lines),
            text=say(plot.text),
        )
        for plot in evidence.plots
    )
    return Evidence(say(evidence.text), figures, plots)


def story(statement: Statement, language: Language = ENGLISH) -> str:
    """One statement as text: as written and corrected, the evidence, the code of both sides, and what goes wrong."""
    told, say = whole_story(statement), language.said
    evidence = _told(told.evidence, language)
    rows = [(name, *("" if side is None else f"{side:.9g}" for side in sides)) for name, *sides in evidence.figures]
    said = (*own_words(statement.id), say(statement.as_written), say(statement.corrected))
    heads = [say("in the notes"), *[""] * (len(said) - 3), say("as written"), say("corrected")][-len(said) :]
    lines = [f"  {filled(head, '<', max(map(width, heads)))}  {line}" for head, line in zip(heads, said, strict=True)]
    proofs = (say("Exactly, by sympy:"), *(f"  {line}" for line in told.proofs))
    parts = [
        "\n".join((f"{statement.id}  {say(statement.verdict)}", *lines)),
        evidence.text,
        tabulate(rows, ("", say("by hand"), say("torch")), disable_numparse=True) if rows else "",
        *map(_listed, told.code),
        "" if told.literal is None else f"{say('as written')}, {_listed(told.literal)}",
        "\n".join(proofs) if told.proofs else "",
        "" if told.check is None else indented(say("A check of it as written"), brief(told.check)),
        "" if told.mistake is None else indented(say("A known mistake in it"), as_text(told.mistake)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _listed(listing: Listing) -> str:
    return "\n".join((listing.file, *(f"  {line.text}".rstrip() for line in listing.lines)))


def _literal(label: str) -> Listing | None:
    """The formula as written, where code of it is kept."""
    if label not in AS_WRITTEN:
        return None
    lines, first = inspect.getsourcelines(AS_WRITTEN[label])
    return _listing("as written", "manual/as_written.py", first, "".join(lines))


def _listing(side: str, file: str, first: int, code: str, marked: int = 0) -> Listing:
    """A function, or the line alone, without what stands between triple quotes: its docstring."""
    lines, inside = [], False
    for number, line in enumerate(code.splitlines(), start=first):
        quotes = line.count('"""')
        if not (inside or quotes):
            lines.append(CodeLine(number, line, number == marked))
        inside ^= quotes % 2 == 1
    return Listing(side, file, tuple(lines))


def _proofs(label: str) -> tuple[str, ...]:
    """The elementwise derivatives as sympy proves them."""
    try:
        from handgrad.compare.notes.exact import proofs
    except ImportError:  # torch brings it; where it does not, the numbers stand alone
        return ("not installed; run: pip install sympy",)

    return proofs().get(label, ())
