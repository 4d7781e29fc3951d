"""Pages: one for each student, and one for the class, which says what the next lecture should be about."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from handgrad.compare.errors import InputError
from handgrad.compare.grading.feedback import ending, number, remarked, told
from handgrad.compare.grading.marks import EARNING, Grade
from handgrad.compare.grading.outcomes import mistakes
from handgrad.compare.report import html
from handgrad.compare.report.page import CodeLine, Listing
from handgrad.compare.report.words import printable


def write_pages(grades: Sequence[Grade], level: str, folder: str) -> None:
    """Write a page for each student and class.html into a folder, which is made; InputError where that cannot be."""
    html.ready()
    pages = dict(zip(_names(grades), (student(grade, level) for grade in grades), strict=True))
    pages["class.html"] = of_class(grades, [*pages])
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, text in pages.items():
            (Path(folder) / name).write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise InputError(f"--pages {folder} cannot be written ({error.strerror}); name another folder") from None


def _names(grades: Sequence[Grade]) -> Iterator[str]:
    """A file name for each grade, none twice, and none that of the class."""
    used = {"class"}
    for grade in grades:
        plain = re.sub(r"[^\w.-]+", "-", grade.name).strip(".-") or "submission"
        name = next(n for n in (plain, *(f"{plain}-{i}" for i in range(2, len(grades) + 3))) if n.lower() not in used)
        used.add(name.lower())
        yield f"{name}.html"


def student(grade: Grade, level: str) -> str:
    """The page of one student: points, what is told of each equation, and the student's own code."""
    content = html.rendered(
        "grade.html",
        name=grade.name,
        score=number(grade.score),
        most=number(grade.most),
        equations=[(t, number(t.earned), number(t.points)) for t in told(grade, level)],
        earning=EARNING,
        ending=ending(grade, level),
        remarks=[*map(remarked, grade.remarks)],
        listings=_listings(grade),
        printed=printable(grade.printed.strip()),
    )
    return html.page(grade.name, content)


def _listings(grade: Grade) -> list[Listing]:
    """The student's code, the lines to look at marked."""
    lines = {(m.finding.line.file, m.finding.line.number) for m in grade.marks if m.finding and m.finding.line}
    return [
        Listing(
            "yours",
            code.file,
            tuple(CodeLine(n, text.expandtabs(4), (code.file, n) in lines) for n, text in code.lines.items()),
            wrong=True,
        )
        for code in grade.code
    ]


def of_class(grades: Sequence[Grade], pages: Sequence[str]) -> str:
    """The page of a class: every student's points, how often each equation is right, and which mistakes occurred."""
    names = [mark.name for mark in grades[0].marks]
    right = {n: sum(m.state in EARNING for g in grades for m in g.marks if m.name == n) for n in names}
    content = html.rendered(
        "class.html",
        students=[(g.name, page, number(g.score), number(g.most)) for g, page in zip(grades, pages, strict=True)],
        equations=[(name, right[name], len(grades)) for name in names],
        mistakes=mistakes(grades),
        ended=[(g.name, str(g.ended)) for g in grades if g.ended is not None],
    )
    return html.page("grades", content)
