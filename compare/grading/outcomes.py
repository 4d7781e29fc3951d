"""Grades as a table, CSV, JSON, and as Gradescope's results.json; all say what the level allows and no more."""

from __future__ import annotations

import csv
import io
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from handgrad.compare.errors import InputError
from handgrad.compare.facts.fact import counted
from handgrad.compare.faults.explanations import explanations
from handgrad.compare.grading.feedback import ending, number, remarked, told
from handgrad.compare.grading.marks import DECIMALS, EARNING, STATES, Grade
from handgrad.compare.report import json
from handgrad.compare.report.words import printable

SCHEMA = "handgrad.grades/1"
WIDTH = 80
NOT_CONFINED = {
    "files": "read files of yours by their paths, the key among them",
    "network": "use the network",
    "signals": "end other processes of yours",
}
"""What a submission's process can do where the system forbids it less: each a word of confinement.py."""


def as_text(grades: Sequence[Grade], level: str) -> str:
    """A line for each submission, what each is told, and which mistakes occurred how often."""
    rows = [(g.name, _score(g), *(sum(m.state == state for m in g.marks) for state in STATES)) for g in grades]
    parts = [tabulate(rows, ("submission", "points", *STATES), disable_numparse=True)]
    parts += ["\n".join([f"{g.name}: {_score(g)}", *_lines(g, level)]) for g in grades]
    parts += [_occurrences(grades)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _score(grade: Grade) -> str:
    return f"{number(grade.score)} of {number(grade.most)}"


def _lines(grade: Grade, level: str) -> list[str]:
    """What one submission is told, where it is not all right."""
    said = [ending(grade, level)] if grade.ended is not None else []
    said += [f"{t.name}  {number(t.earned)}/{number(t.points)}  {t.text}" for t in told(grade, level) if t.says]
    said += map(remarked, grade.remarks)
    return [
        line
        for text in said
        for line in textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False)
    ]


def mistakes(grades: Sequence[Grade]) -> list[tuple[str, str, int, tuple[str, ...]]]:
    """Which causes occurred: code, meaning, in how many submissions, and in which tensors; the most common first."""
    found = [
        {(m.cause.code, m.name) for m in g.marks if m.finding and m.cause and m.state not in EARNING} for g in grades
    ]
    counts = Counter(code for each in found for code in {code for code, _ in each})
    tensors = {code: Counter(name for each in found for other, name in each if other == code) for code in counts}
    return [
        (code, explanations()[code].line, times, tuple(name for name, _ in tensors[code].most_common(4)))
        for code, times in counts.most_common()
    ]


def _occurrences(grades: Sequence[Grade]) -> str:
    rows = [(times, code, line, ", ".join(names)) for code, line, times, names in mistakes(grades)]
    return tabulate(rows, ("submissions", "mistake", "", "in"), disable_numparse=True) if rows else ""


def not_confined(grades: Sequence[Grade]) -> str:
    """What a submission could have done on this system, as a sentence; nothing where all is forbidden."""
    ran = [set(grade.confined) for grade in grades if grade.confined or grade.ended is None]
    able = [does for word, does in NOT_CONFINED.items() if any(word not in confined for confined in ran)]
    if not able:
        return ""
    return f"on this system a submission could {' and '.join(able)}; see docs/grading.md, What a submission cannot do"


def as_csv(grades: Sequence[Grade], level: str) -> str:
    """A row for each submission: its points, those of each equation, and all that it is told."""
    names = [mark.name for mark in grades[0].marks]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["submission", "points", "of", *names, "feedback"])
    for grade in grades:
        marks = [number(mark.earned) for mark in grade.marks]
        feedback = "\n".join(line.strip() for line in _lines(grade, level))
        cells = [grade.name, number(grade.score), number(grade.most), *marks, feedback]
        writer.writerow([_harmless(cell) for cell in cells])
    return text.getvalue()


def _harmless(cell: str) -> str:
    """A cell that a spreadsheet takes for no formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t") else cell


def as_json(grades: Sequence[Grade], level: str) -> str:
    """All grades, schema handgrad.grades/1."""
    return json.text({"schema": SCHEMA, "level": level, "submissions": [_content(grade, level) for grade in grades]})


def _content(grade: Grade, level: str) -> dict[str, Any]:
    return {
        "name": grade.name,
        "file": Path(grade.path).name,
        "score": grade.score,
        "max_score": grade.most,
        "ended": ending(grade, level),
        "equations": [
            {
                "name": t.name,
                "score": round(t.earned, DECIMALS),
                "max_score": round(t.points, DECIMALS),
                "state": t.state,
                "output": t.text,
            }
            for t in told(grade, level)
        ],
        "remarks": [{"code": r.code, "cost": r.cost, "output": remarked(r)} for r in grade.remarks],
        "printed": printable(grade.printed),
    }


def as_gradescope(grades: Sequence[Grade], level: str) -> str:
    """Gradescope's results.json, of one submission: it grades one at a time."""
    if len(grades) != 1:
        raise InputError(f"Gradescope reads the results of one submission; name one, not {len(grades)}")
    (grade,) = grades
    tests = [
        {
            "name": t.name,
            "score": round(t.earned, DECIMALS),
            "max_score": round(t.points, DECIMALS),
            "status": "passed" if t.state in EARNING else "failed",
            "output": t.text or ("Right." if t.state == "right" else ""),
            "visibility": "visible",
        }
        for t in told(grade, level)
    ]
    said = [ending(grade, level), *map(remarked, grade.remarks)]
    return json.text(
        {
            "score": grade.score,
            "output": "\n".join(filter(None, said)) or f"{counted(len(tests), 'equation')} compared with torch.",
            "visibility": "visible",
            "stdout_visibility": "hidden",
            "tests": tests,
        }
    )


FORMATS = {"text": as_text, "csv": as_csv, "json": as_json, "gradescope": as_gradescope}
