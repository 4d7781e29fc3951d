"""What a page shows of a report, as plain values for the template."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from handgrad.compare.equations import EQUATIONS
from handgrad.compare.report import Finding, Report, Row
from handgrad.compare.report.details import Code, Excerpt, Line, Plot
from handgrad.compare.report.states import LEGEND, states, worst
from handgrad.compare.report.summary import place, shown
from handgrad.compare.report.suspects import pieces_of, sought, where
from handgrad.compare.source.listing import read_on

__all__ = [
    "Cell",
    "CodeLine",
    "Culprit",
    "Listing",
    "Strip",
    "Tensor",
    "culprits",
    "kinds",
    "listings",
    "loss_plots",
    "strip",
    "tensors",
    "where",
]

AROUND = 3  # lines of code above and below the one that computes a tensor
LONGEST = 500  # characters of a part of an explanation
BINS = 60  # so many cells at most in the strip of steps


@dataclass(frozen=True)
class CodeLine:
    """A line of code with its number, and whether it is the one to look at."""

    number: int
    text: str
    marked: bool


@dataclass(frozen=True)
class Listing:
    """Lines of a file of one side; `wrong` if those marked are surely wrong."""

    side: str
    file: str
    lines: tuple[CodeLine, ...]
    wrong: bool = False


@dataclass(frozen=True)
class Cell:
    """An entry of a wrong tensor: both sides, their difference, and how dark it is shown, from 0 to 100."""

    by_hand: str
    torch: str
    difference: str
    shade: int
    worst: bool


@dataclass(frozen=True)
class Culprit:
    """A finding with all that helps to mend it; `entries` has a row of cells per row, headed by their indices."""

    finding: Finding
    place: str
    formula: str
    parts: tuple[str, ...]
    listings: tuple[Listing, ...]
    hint: str
    caption: str
    columns: tuple[int, ...]
    entries: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Tensor:
    """A tensor at its worst step: what computes it on both sides, and the numbers."""

    row: Row
    state: str
    formula: str
    by_hand: tuple[str, ...]
    torch: tuple[str, ...]


@dataclass(frozen=True)
class Strip:
    """A tensor over the steps: its name and the state in each cell, with the steps that a cell stands for."""

    name: str
    cells: tuple[tuple[str, str], ...]


def culprits(report: Report) -> Iterator[Culprit]:
    """Every finding, the first first."""
    excerpts = {excerpt.name: excerpt for excerpt in report.details.excerpts}
    told: set[tuple[Listing, ...]] = set()
    for finding in report.findings:
        excerpt = excerpts.get(finding.name)
        caption, columns, entries = _entries(finding, excerpt, report) if excerpt is not None else ("", (), ())
        found = sought(report, finding)
        near = tuple(
            _around(code, finding.name, found.lines.get(i, ()), sure=found.sure)
            for i, code in enumerate(pieces_of(report))
            if i in found.lines or (code.side == "torch" and finding.name in code.tensors)
        )
        yield Culprit(
            finding,
            place(finding),
            EQUATIONS.get(finding.equation, ""),
            tuple(_cut(part) for part in finding.explanation.split("; ")),
            () if near in told else near,
            found.hint,
            caption,
            columns,
            entries,
        )
        told.add(near)


def _cut(part: str) -> str:
    """A part of an explanation, without the end of what an exception of the user's may go on saying."""
    return part if len(part) <= LONGEST else f"{part[:LONGEST]} ..."


def kinds(drawn: str) -> tuple[str, ...]:
    """The states that a drawn graph shows, for its legend."""
    return tuple(kind for kind in LEGEND if f'class="node {kind}"' in drawn)


def _around(code: Code, name: str, lines: tuple[int, ...], *, sure: bool) -> Listing:
    """The lines of a piece of code near those to look at, or in torch near those that compute a tensor.

    Those by hand that compute what is read there are shown as well.
    """
    at = lines or code.tensors.get(name, ())
    defining = read_on(code, at).values() if code.side == "by hand" else ()
    shown = {n for number in at for n in range(number - AROUND, number + AROUND + 1)} | {*defining}
    kept: list[CodeLine] = []
    for line in _numbered(code, at):
        if line.number in shown:
            if kept and kept[-1].number < line.number - 1:
                kept.append(CodeLine(0, "", False))
            kept.append(line)
    return Listing(code.side, code.file, tuple(kept), sure and code.side == "by hand")


def listings(report: Report) -> tuple[Listing, ...]:
    """All the code of both sides, with the lines to look at marked."""
    found = [sought(report, finding) for finding in report.findings]
    sure = all(each.sure for each in found)
    return tuple(
        Listing(code.side, code.file, _numbered(code, [n for each in found for n in each.lines.get(i, ())]), sure)
        for i, code in enumerate(pieces_of(report))
    )


def _numbered(code: Code, marked: tuple[int, ...] | list[int]) -> tuple[CodeLine, ...]:
    return tuple(
        CodeLine(number, text.expandtabs(4), number in marked)
        for number, text in enumerate(code.text.splitlines(), start=code.first)
    )


def _entries(
    finding: Finding, excerpt: Excerpt, report: Report
) -> tuple[str, tuple[int, ...], tuple[tuple[str, tuple[Cell, ...]], ...]]:
    """The entries of a wrong tensor, shaded by their difference."""
    apart = [
        [_apart(a, b) for a, b in zip(*rows, strict=True)] for rows in zip(excerpt.by_hand, excerpt.torch, strict=True)
    ]
    largest = max((d for row in apart for d in row if math.isfinite(d)), default=0.0)
    front, first, left = _corner(excerpt.start)
    table = tuple(
        (
            str(first + i) if len(excerpt.start) > 1 else "",
            tuple(
                Cell(
                    f"{a:.5g}", f"{b:.5g}", f"{d:.1e}" if d else "0", _shade(d, largest),
                    (*front, first + i, left + j)[-len(excerpt.start) :] == finding.index if excerpt.start else False,
                )
                for j, (a, b, d) in enumerate(zip(*rows, strict=True))
            ),
        )
        for i, rows in enumerate(zip(excerpt.by_hand, excerpt.torch, apart, strict=True))
    )  # fmt: skip
    shape = next((row.shape for row in report.rows if row.name == excerpt.name and row.step == excerpt.step), ())
    part = (
        "all of it" if math.prod(shape) == sum(map(len, excerpt.by_hand)) else f"a part of {'x'.join(map(str, shape))}"
    )
    still = f", at {', '.join(map(str, front))} of the axes before" if front else ""
    caption = f"{excerpt.name} at step {excerpt.step}, {part}{still}"
    return caption, tuple(range(left, left + len(excerpt.by_hand[0]))), table


def _corner(index: tuple[int, ...]) -> tuple[tuple[int, ...], int, int]:
    """The axes that stand still, the first row and the first column."""
    *front, row, column = (*(0,) * (2 - len(index)), *index)
    return tuple(front), row, column


def _apart(a: float, b: float) -> float:
    return 0.0 if a == b else abs(a - b)


def _shade(difference: float, largest: float) -> int:
    """From 0 to 100 for the largest difference, by its root, so that smaller ones are seen too."""
    if difference == 0:
        return 0
    if not math.isfinite(difference):
        return 100
    return max(4, round(100 * math.sqrt(difference / largest)))


def tensors(report: Report) -> tuple[Tensor, ...]:
    """One row per tensor, with the lines of code that compute it."""
    state = states(report)
    return tuple(
        Tensor(
            row,
            state.get((row.step, row.name), "agrees"),
            EQUATIONS.get(row.equation, ""),
            _lines(report, "by hand", row.name),
            _lines(report, "torch", row.name),
        )
        for row in shown(report.rows)
    )


def _lines(report: Report, side: str, name: str) -> tuple[str, ...]:
    """The lines that compute a tensor on one side, without their comments."""
    found = []
    for code in report.details.code:
        text = code.text.splitlines()
        if code.side == side:
            found += [text[n - code.first].partition("  #")[0].strip() for n in code.tensors.get(name, ())]
    return tuple(dict.fromkeys(found))[:3]


def strip(report: Report) -> tuple[Strip, ...]:
    """The state of every tensor step by step; empty for a single step."""
    state = states(report)
    steps = sorted({step for step, _ in state})
    if len(steps) < 2:
        return ()
    size = math.ceil(len(steps) / BINS)
    bins = [steps[i : i + size] for i in range(0, len(steps), size)]
    names = dict.fromkeys(name for _, name in state)
    return tuple(
        Strip(
            name,
            tuple((_worst_of(state, name, bin), _called(bin)) for bin in bins),
        )
        for name in names
    )


def _worst_of(state: dict[tuple[int, str], str], name: str, steps: list[int]) -> str:
    return worst(state[step, name] for step in steps if (step, name) in state)


def _called(steps: list[int]) -> str:
    return f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}"


def loss_plots(report: Report) -> tuple[Plot, ...]:
    """J of both sides over the steps, as far as it was recorded, and the plots that the report brings."""
    rows = [row for row in report.rows if row.name == "J" and row.by_hand is not None and row.torch is not None]
    if len(rows) < 2 or report.details.plots:
        return report.details.plots
    steps = tuple(float(row.step) for row in rows)
    lines = (
        Line("by hand", steps, tuple(row.by_hand or 0.0 for row in rows)),
        Line("torch", steps, tuple(row.torch or 0.0 for row in rows)),
    )
    text = "Torch starts each step from the weights by hand."
    return (Plot("Loss", "step", "J", lines, text=text if report.ok else ""),)
