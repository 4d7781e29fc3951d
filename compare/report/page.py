"""What a page shows of a report, as one frozen value that the templates read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from handgrad.compare.equations import EQUATIONS
from handgrad.compare.report.graph import Graph, graph
from handgrad.compare.report.summary import closing, deciding, setting, shown
from handgrad.compare.report.words import Words, location, words
from handgrad.compare.results import Code, Curve, Excerpt, Finding, Plot, Results, Row, Suspects
from handgrad.compare.source.listing import read_on
from handgrad.compare.source.states import gravest, states

AROUND = 3  # lines of code above and below the one that computes a tensor
BINS = 60  # so many cells at most in the strip of steps


class CodeLine(NamedTuple):
    """A line of code with its number, and whether it is the one to look at."""

    number: int
    text: str
    marked: bool


class Listing(NamedTuple):
    """Lines of a file of one side; `wrong` if those marked are surely wrong."""

    side: str
    file: str
    lines: tuple[CodeLine, ...]
    wrong: bool = False


class Cell(NamedTuple):
    """An entry of a wrong tensor: both sides, their difference, and how dark it is shown, from 0 to 100."""

    by_hand: str
    torch: str
    difference: str
    shade: int
    worst: bool


class Entries(NamedTuple):
    """Entries of a wrong tensor: a row of cells per row, headed by their indices."""

    caption: str
    columns: tuple[int, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Card:
    """A finding with all that helps to mend it; `hint` says where else its mistake may be."""

    finding: Finding
    line: str
    formula: str
    said: Words
    hint: str
    listings: tuple[Listing, ...]
    entries: Entries | None


class Tensor(NamedTuple):
    """A tensor at its worst step: what computes it on both sides, and the numbers."""

    row: Row
    state: str
    formula: str
    by_hand: tuple[str, ...]
    torch: tuple[str, ...]


class Strip(NamedTuple):
    """A tensor over the steps: its name and the state in each cell, with the steps that a cell stands for."""

    name: str
    cells: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Page:
    """A report as its page shows it, from top to bottom. `id` begins the names that its plots give to their parts."""

    id: str
    state: str
    outcome: str
    look_at: str
    setting: tuple[str, ...]
    cards: tuple[Card, ...]
    notes: tuple[str, ...]
    graph: Graph
    tensors: tuple[Tensor, ...]
    strips: tuple[Strip, ...]
    plots: tuple[Plot, ...]
    not_shown: str
    code: tuple[Listing, ...]
    environment: Mapping[str, object]


def page_of(results: Results, id: str = "p") -> Page:
    """The page of a report; `id` must differ from those of other reports on it."""
    state = states(results)
    outcome, not_shown = closing(results)
    return Page(
        id,
        state_of(results),
        outcome,
        _look_at(results),
        tuple(setting(results)),
        _cards(results),
        tuple(map(str, results.notes)),
        graph(results),
        tuple(_tensor(row, state, results) for row in shown(results.rows)),
        _strips(state),
        _plots(results),
        not_shown,
        _code(results),
        results.environment,
    )


def state_of(results: Results) -> str:
    """The state of a whole report: agrees, weak or culprit."""
    return "culprit" if not results.ok else "weak" if results.findings else "agrees"


# --- findings


def _cards(results: Results) -> tuple[Card, ...]:
    """Every finding, the first first; code that the one before shows as well is not shown again."""
    excerpts = {excerpt.name: excerpt for excerpt in results.details.excerpts}
    cards: list[Card] = []
    listed: set[tuple[Listing, ...]] = set()
    for finding in results.findings:
        excerpt = excerpts.get(finding.where.name)
        listings = _near(finding, results)
        card = Card(
            finding,
            location(finding),
            EQUATIONS.get(finding.equation, ""),
            words(finding, results),
            _hint(results.details.suspects.get(finding.where.name, Suspects())),
            () if listings in listed else listings,
            None if excerpt is None else _entries(finding, excerpt, results),
        )
        cards.append(card)
        listed.add(listings)
    return tuple(cards)


def _hint(suspects: Suspects) -> str:
    """Where else the mistake may be."""
    if suspects.shared:
        lines = _lines_in_words([line for numbers in suspects.lines.values() for line in numbers])
        return f"{' and '.join(suspects.shared)} are computed from what {lines} assigns."
    if suspects.doubts:
        doubts = ", ".join(f"{name} (line {line})" for name, line in suspects.doubts.items())
        return f"Or the mistake comes before it, in {doubts}: not returned and so not judged. Return it, and it is."
    return ""


def _look_at(results: Results) -> str:
    """The file and the lines to look at first, where that can be told: manual/network.py, line 59."""
    first = deciding(results)
    suspects = results.details.suspects.get(first.where.name) if first is not None else None
    if suspects is None:
        return ""
    lines: dict[str, list[int]] = {}
    for i, code in enumerate(code for code in results.details.code if code.side == "by hand"):
        if str(i) in suspects.lines:
            lines.setdefault(code.file, []).extend(suspects.lines[str(i)])
    places = " and ".join(f"{file}, {_lines_in_words(numbers)}" for file, numbers in lines.items())
    return places if suspects.sure else f"{places}, or at what is computed before it and was not returned"


def _lines_in_words(lines: Iterable[int]) -> str:
    """line 4, lines 4 and 7, lines 4 to 7."""
    numbers = sorted({*lines})
    if len(numbers) == 1:
        return f"line {numbers[0]}"
    if numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"lines {numbers[0]} to {numbers[-1]}"
    return f"lines {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


# --- code


def _pieces(results: Results) -> list[tuple[str, Code]]:
    """The code, the hand's first, each piece of it with its position as a text."""
    by_hand = [code for code in results.details.code if code.side == "by hand"]
    torch = [code for code in results.details.code if code.side != "by hand"]
    return [*((str(i), code) for i, code in enumerate(by_hand)), *(("", code) for code in torch)]


def _near(finding: Finding, results: Results) -> tuple[Listing, ...]:
    """The code by hand around the lines to look at, and torch's around those that compute the tensor."""
    suspects, name = results.details.suspects.get(finding.where.name, Suspects()), finding.where.name
    listings = []
    for position, code in _pieces(results):
        if position in suspects.lines:
            at = suspects.lines[position]
            listings.append(_around(code, at, read_on(code, at).values(), sure=suspects.sure))
        elif code.side != "by hand" and name in code.tensors:
            listings.append(_around(code, code.tensors[name], (), sure=False))
    return tuple(listings)


def _around(code: Code, at: Sequence[int], defining: Iterable[int], *, sure: bool) -> Listing:
    """The lines of a piece of code near some, and what is read there; a gap is a line without text."""
    kept = {n for number in at for n in range(number - AROUND, number + AROUND + 1)} | {*defining}
    lines = [line for line in _numbered(code, at) if line.number in kept]
    gaps = [second.number for first, second in pairwise(lines) if first.number < second.number - 1]
    with_gaps = (part for line in lines for part in ([CodeLine(0, "", False)] * (line.number in gaps) + [line]))
    return Listing(code.side, code.file, tuple(with_gaps), sure)


def _code(results: Results) -> tuple[Listing, ...]:
    """All the code of both sides, with the lines to look at marked."""
    suspects = [*results.details.suspects.values()]
    sure = all(one.sure for one in suspects)
    return tuple(
        Listing(code.side, code.file, _numbered(code, [n for one in suspects for n in one.lines.get(i, ())]), sure)
        for i, code in _pieces(results)
    )


def _numbered(code: Code, marked: Sequence[int]) -> tuple[CodeLine, ...]:
    return tuple(
        CodeLine(number, text.expandtabs(4), number in marked)
        for number, text in enumerate(code.text.splitlines(), start=code.first)
    )


# --- entries


def _entries(finding: Finding, excerpt: Excerpt, results: Results) -> Entries:
    """The entries of a wrong tensor, shaded by their difference."""
    apart = [
        [_apart(a, b) for a, b in zip(*rows, strict=True)] for rows in zip(excerpt.by_hand, excerpt.torch, strict=True)
    ]
    largest = max((d for row in apart for d in row if math.isfinite(d)), default=0.0)
    *front, first, left = (*(0,) * (2 - len(excerpt.start)), *excerpt.start)
    worst = None if finding.worst is None else finding.worst.index
    rows = []
    for i, (ours, theirs, differences) in enumerate(zip(excerpt.by_hand, excerpt.torch, apart, strict=True)):
        cells = []
        for j, (a, b, d) in enumerate(zip(ours, theirs, differences, strict=True)):
            index = (*front, first + i, left + j)[-len(excerpt.start) :] if excerpt.start else None
            difference = f"{d:.1e}" if d else "0"
            cells.append(Cell(f"{a:.5g}", f"{b:.5g}", difference, _shade(d, largest), index == worst is not None))
        rows.append((str(first + i) if len(excerpt.start) > 1 else "", tuple(cells)))
    shape = next((row.shape for row in results.rows if row.name == excerpt.name and row.step == excerpt.step), ())
    is_whole = math.prod(shape) == sum(map(len, excerpt.by_hand))
    part = "all of it" if is_whole else f"a part of {'x'.join(map(str, shape))}"
    still = f", at {', '.join(map(str, front))} of the axes before" if front else ""
    columns = tuple(range(left, left + len(excerpt.by_hand[0])))
    return Entries(f"{excerpt.name} at step {excerpt.step}, {part}{still}", columns, tuple(rows))


def _apart(a: float, b: float) -> float:
    return 0.0 if a == b else abs(a - b)


def _shade(difference: float, largest: float) -> int:
    """From 0 to 100 for the largest difference, by its root, so that smaller ones are seen too."""
    if difference == 0:
        return 0
    if not math.isfinite(difference):
        return 100
    return max(4, round(100 * math.sqrt(difference / largest)))


# --- tensors


def _tensor(row: Row, state: Mapping[tuple[int, str], str], results: Results) -> Tensor:
    by_hand, torch = (_lines(results.details.code, side, row.name) for side in ("by hand", "torch"))
    return Tensor(row, state.get((row.step, row.name), "agrees"), EQUATIONS.get(row.equation, ""), by_hand, torch)


def _lines(codes: Iterable[Code], side: str, name: str) -> tuple[str, ...]:
    """The lines that compute a tensor on one side, without their comments."""
    lines: dict[str, None] = {}
    for code in codes:
        text = code.text.splitlines()
        if code.side == side:
            lines |= dict.fromkeys(text[n - code.first].partition("  #")[0].strip() for n in code.tensors.get(name, ()))
    return tuple(lines)[:3]


def _strips(state: Mapping[tuple[int, str], str]) -> tuple[Strip, ...]:
    """The state of every tensor step by step; empty for a single step."""
    steps = sorted({step for step, _ in state})
    if len(steps) < 2:
        return ()
    size = math.ceil(len(steps) / BINS)
    bins = [steps[i : i + size] for i in range(0, len(steps), size)]
    strips = []
    for name in dict.fromkeys(name for _, name in state):
        cells = (gravest(state[step, name] for step in several if (step, name) in state) for several in bins)
        strips.append(Strip(name, tuple(zip(cells, map(_steps_in_words, bins), strict=True))))
    return tuple(strips)


def _steps_in_words(steps: Sequence[int]) -> str:
    return f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}"


def _plots(results: Results) -> tuple[Plot, ...]:
    """J of both sides over the steps, as far as it was recorded, or the plots that the report brings."""
    rows = [row for row in results.rows if row.name == "J" and row.by_hand is not None and row.torch is not None]
    if len(rows) < 2 or results.details.plots:
        return results.details.plots
    steps = tuple(float(row.step) for row in rows)
    curves = (
        Curve("by hand", steps, tuple(row.by_hand or 0.0 for row in rows)),
        Curve("torch", steps, tuple(row.torch or 0.0 for row in rows)),
    )
    text = "Torch starts each step from the weights by hand."
    return (Plot("Loss", "step", "J", curves, text=text if results.ok else ""),)
