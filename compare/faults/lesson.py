"""An entry of the catalogue as a lesson: the equation, the code wrong and right, the numbers, and what to learn."""

import importlib
import inspect
import textwrap
from dataclasses import dataclass, replace
from difflib import SequenceMatcher, unified_diff
from typing import Any

import numpy as np
from tabulate import tabulate

from handgrad.compare.equations import EQUATIONS
from handgrad.compare.faults.catalogue import Fault, catalogue
from handgrad.compare.faults.planting import edited, file_of
from handgrad.compare.faults.trial import trial
from handgrad.compare.report import html, json, markdown
from handgrad.compare.report.page import CodeLine, Listing
from handgrad.compare.report.report import Report
from handgrad.compare.report.summary import setting
from handgrad.compare.report.text import brief

AROUND = 2  # lines of code around a change


@dataclass(frozen=True)
class Lesson:
    """A mistake, what a check says of it, and its code, right and wrong."""

    fault: Fault
    report: Report
    sides: tuple[Listing, Listing]


def prepared(fault: Fault, seed: int) -> Lesson:
    """What a class should see of one mistake, in a run that the seed draws."""
    report = trial(fault, np.random.default_rng(seed)).report
    return Lesson(fault, _as_run(report, fault) if fault.is_of_network else report, _sides(fault))


def _as_run(report: Report, fault: Fault) -> Report:
    """A report whose code by hand has the mistake in it, as it ran; the file has it right."""

    def with_mistake(piece: Any) -> Any:
        text = piece.text
        for right, wrong in fault.edits if piece.file == file_of(fault.module) else ():
            text = text.replace(right, wrong)
        return piece._replace(text=text)

    code = tuple(map(with_mistake, report.details.code))
    findings = tuple(replace(finding, line=finding.line and with_mistake(finding.line)) for finding in report.findings)
    return replace(report, details=report.details._replace(code=code), findings=findings)


def _texts(fault: Fault) -> tuple[list[str], list[str]]:
    """The lines of the code, right and wrong."""
    module = importlib.import_module(fault.module)
    return inspect.getsource(module).splitlines(), edited(module, fault.edits).splitlines()


def _sides(fault: Fault) -> tuple[Listing, Listing]:
    """The right and the wrong code around the change, line by line, with what changed marked."""
    right, wrong = _texts(fault)
    shown: tuple[list[CodeLine], list[CodeLine]] = [], []
    for group in SequenceMatcher(None, right, wrong, autojunk=False).get_grouped_opcodes(AROUND):
        for kind, a, b, c, d in group:
            for side, lines, first, last in ((0, right, a, b), (1, wrong, c, d)):
                shown[side].extend(CodeLine(n + 1, lines[n], kind != "equal") for n in range(first, last))
    file = file_of(fault.module)
    return Listing("right", file, tuple(shown[0])), Listing("wrong", file, tuple(shown[1]))


def _difference(fault: Fault) -> str:
    """The wrong code against the right one, as a unified diff."""
    path = file_of(fault.module)
    return "\n".join(unified_diff(*_texts(fault), f"{path} (right)", f"{path} (wrong)", lineterm="", n=AROUND))


def as_text(lesson: Lesson) -> str:
    """A lesson as a person reads it on a terminal."""
    fault = lesson.fault
    label = f"({fault.equation}) " if fault.equation in EQUATIONS else ""
    parts = [
        fault.name,
        f"right   {label}{_right(fault)}\nwrong   {fault.formula}",
        f"Why it happens: {fault.why}",
        _difference(fault),
        "\n".join(setting(lesson.report)),
        brief(lesson.report).rstrip(),
        f"Lesson: {fault.lesson}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def indented(title: str, content: str) -> str:
    """A text inside another, under a title."""
    return f"{title}\n\n{textwrap.indent(content.rstrip(), '  ')}"


def as_json(lesson: Lesson) -> str:
    """A lesson as JSON."""
    return json.text(content(lesson))


def content(lesson: Lesson) -> dict[str, Any]:
    """A lesson's facts and its report."""
    return {**_fields(lesson.fault), "report": json.content(lesson.report)}


def as_markdown(lesson: Lesson) -> str:
    """A lesson as Markdown: the equations, the difference in code, and the report."""
    fault, escaped = lesson.fault, markdown.escaped
    parts = [
        f"## {escaped(fault.name)}",
        f"Right: {escaped(_right(fault))}\n\nWrong: {escaped(fault.formula)}",
        f"Why it happens: {escaped(fault.why)}",
        f"```diff\n{_difference(fault)}\n```",
        markdown.render(lesson.report).rstrip(),
        f"Lesson: {escaped(fault.lesson)}",
    ]
    return "\n\n".join(parts) + "\n"


def as_page(lesson: Lesson) -> str:
    """A lesson as a page."""
    return html.page(lesson.fault.name, html.rendered("fault.html", lesson=lesson))


HEADINGS = ("name", "cause", "first", "wrong equation")


def _rows() -> list[tuple[str, ...]]:
    return [(fault.name, fault.cause, _first(fault), fault.formula) for fault in catalogue().values()]


def listed() -> str:
    """All entries in a table: name, cause, the tensor that is wrong first, and the wrong equation."""
    table = tabulate(_rows(), HEADINGS, disable_numparse=True)
    return f"{table}\n\n{len(catalogue())} mistakes; handgrad faults NAME shows one.\n"


def listed_as_json() -> str:
    """All entries with stable keys: name, cause, first, equation, formula, why, lesson."""
    return json.text([_fields(fault) for fault in catalogue().values()])


def listed_as_markdown() -> str:
    """The table of all entries as Markdown."""
    return markdown.grid(HEADINGS, _rows()) + "\n"


def listed_as_page() -> str:
    """The table of all entries as a page."""
    faults = [(fault, _first(fault)) for fault in catalogue().values()]
    return html.page("known mistakes", html.rendered("faults.html", faults=faults))


def _fields(fault: Fault) -> dict[str, str]:
    names = ("name", "cause", "first", "equation", "formula", "why", "lesson")
    return {name: getattr(fault, name) for name in names} | {"first": _first(fault)}


def _right(fault: Fault) -> str:
    """The equation that is right, written out."""
    return EQUATIONS.get(fault.equation, fault.equation)


def _first(fault: Fault) -> str:
    """The tensor that is wrong first, of any network: dW[L] for dW{L}."""
    return fault.first.format(L="[L]", H="[L-1]", R="(Z or A)")


LIST = {"text": listed, "json": listed_as_json, "markdown": listed_as_markdown, "html": listed_as_page}
ONE = {"text": as_text, "json": as_json, "markdown": as_markdown, "html": as_page}
