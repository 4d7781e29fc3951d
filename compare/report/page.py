"""What a page shows of a report, as one value that the templates read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from handgrad.compare.report.graph import graph
from handgrad.compare.report.summary import closing, deciding, setting, shown
from handgrad.compare.report.words import Words, printable, words
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
    said: Words
    hint: str
    listings: tuple[Listing, ...]
    entries: Entries | None


class Tensor(NamedTuple):
    """A tensor at its worst step: what computes it on both sides, and the numbers."""

    row: Row
    state: str
    by_hand: tuple[str, ...]
    torch: tuple[str, ...]


class Page:
    """A report as its page shows it, from top to bottom.

    `id` begins the names that its plots give to their parts; it must differ from those of other reports on the page.
    `strips` hold the state of a tensor over the steps, cell by cell, with the steps that each cell stands for; what
    agrees everywhere is `agreeing` and `steady`, which the page folds.
    """

    def __init__(self, results: Results, id: str = "p") -> None:
        """All that the templates read and that the results do not hold."""
        state = states(results)
        self.id, self.results, self.subject = id, results, subject(results)
        self.state = state_of(results)
        self.outcome, self.not_shown = closing(results)
        self.look_at = _look_at(results)
        self.setting = setting(results)
        self.cards = _cards(results)
        self.graph = graph(results)
        self.tensors = [_tensor(row, state, results) for row in shown(results.rows)]
        self.differing = [tensor for tensor in self.tensors if tensor.state != "agrees"]
        self.agreeing = [tensor for tensor in self.tensors if tensor.state == "agrees"]
        self.strips = _strips(state)
        agrees = {name: {kind for kind, _ in cells} <= {"agrees", "absent"} for name, cells in self.strips.items()}
        self.unsteady = {name: cells for name, cells in self.strips.items() if not agrees[name]}
        self.steady = {name: cells for name, cells in self.strips.items() if agrees[name]}
        self.plots = _plots(results)
        self.code = _code(results)


def subject(results: Results) -> str:
    """What is checked: network 30-16-1, or the file of the side by hand, or the check where no code is known."""
    codes = [] if "setting" in results.environment else [code.file for code in results.details.by_hand.values()]
    said = results.environment.get("setting", results.environment.get("check", "one check"))
    return printable((codes or re.split("[,:]", str(said)))[0])


def state_of(results: Results) -> str:
    """The state of a whole report: agrees, weak or culprit."""
    return "culprit" if not results.ok else "weak" if results.findings else "agrees"


# --- findings


def _cards(results: Results) -> tuple[Card, ...]:
    """Every finding, the first first; code that the one before shows as well is not shown again."""
    excerpts = {excerpt.name: excerpt for excerpt in results.details.excerpts}
    near = [_near(finding, results) for finding in results.findings]
    return tuple(
        Card(
            finding,
            words(finding),
            _hint(results.details.suspects.get(finding.where.name, Suspects())),
            () if near[i] in near[:i] else near[i],
            _entries(finding, excerpts.get(finding.where.name), results),
        )
        for i, finding in enumerate(results.findings)
    )


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
    for position, numbers in suspects.lines.items():
        lines.setdefault(results.details.by_hand[position].file, []).extend(numbers)
    places = " and ".join(f"{file}, {_lines_in_words(numbers)}" for file, numbers in lines.items())
    return places if suspects.sure else f"{places}, or at what is computed before it and was not returned"


def _lines_in_words(lines: Iterable[int]) -> str:
    """line 4, lines 4 and 7, lines 4 to 7."""
    numbers = sorted({*lines})
    if numbers[-1] - numbers[0] == len(numbers) - 1:
        return _in_words("line", numbers)
    return f"lines {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def _in_words(noun: str, numbers: Sequence[int]) -> str:
    """step 3, steps 3 to 5."""
    return f"{noun} {numbers[0]}" if len(numbers) == 1 else f"{noun}s {numbers[0]} to {numbers[-1]}"


# --- code


def _in_torch(results: Results) -> list[Code]:
    return [code for code in results.details.code if code.side != "by hand"]


def _near(finding: Finding, results: Results) -> tuple[Listing, ...]:
    """The code by hand around the lines to look at, and torch's around those that compute the tensor."""
    name, by_hand = finding.where.name, results.details.by_hand
    suspects = results.details.suspects.get(name, Suspects())
    listings = (
        _around(by_hand[position], lines, read_on(by_hand[position], lines).values(), sure=suspects.sure)
        for position, lines in suspects.lines.items()
    )
    torch = (_around(code, code.tensors[name], (), sure=False) for code in _in_torch(results) if name in code.tensors)
    return (*listings, *torch)


def _around(code: Code, at: Sequence[int], defining: Iterable[int], *, sure: bool) -> Listing:
    """The lines of a piece of code near some, and what is read there; a gap is a line without text."""
    kept = {n for number in at for n in range(number - AROUND, number + AROUND + 1)} | {*defining}
    lines = [line for line in _numbered(code, at) if line.number in kept]
    gaps = [second.number for first, second in pairwise(lines) if first.number < second.number - 1]
    with_gaps = (part for line in lines for part in ([CodeLine(0, "", False)] * (line.number in gaps) + [line]))
    return Listing(code.side, code.file, tuple(with_gaps), sure)


def _code(results: Results) -> tuple[Listing, ...]:
    """All the code of both sides, with the lines to look at marked."""
    suspects = results.details.suspects.values()
    sure = all(one.sure for one in suspects)
    pieces = [*results.details.by_hand.items(), *(("", code) for code in _in_torch(results))]
    return tuple(
        Listing(code.side, code.file, _numbered(code, [n for one in suspects for n in one.lines.get(i, ())]), sure)
        for i, code in pieces
    )


def _numbered(code: Code, marked: Sequence[int]) -> tuple[CodeLine, ...]:
    return tuple(CodeLine(number, text.expandtabs(4), number in marked) for number, text in code.lines.items())


# --- entries


def _entries(finding: Finding, excerpt: Excerpt | None, results: Results) -> Entries | None:
    """The entries of a wrong tensor, shaded by their difference."""
    if excerpt is None:
        return None
    sides = [[*zip(*row, strict=True)] for row in zip(excerpt.by_hand, excerpt.torch, strict=True)]
    entries = [[(a, b, 0.0 if a == b else abs(a - b)) for a, b in row] for row in sides]
    largest = max((d for row in entries for _, _, d in row if math.isfinite(d)), default=0.0)
    axes, worst = len(excerpt.start), finding.worst.index if finding.worst is not None and excerpt.start else None
    *front, top, left = (*(0,) * (2 - axes), *excerpt.start)
    rows = []
    for i, row in enumerate(entries, start=top):
        cells = (
            Cell(f"{a:.5g}", f"{b:.5g}", f"{d:.1e}" if d else "0", _shade(d, largest), (*front, i, j)[-axes:] == worst)
            for j, (a, b, d) in enumerate(row, start=left)
        )
        rows.append((str(i) if axes > 1 else "", tuple(cells)))
    shape = next((row.shape for row in results.rows if row.name == excerpt.name and row.step == excerpt.step), ())
    part = "all of it" if math.prod(shape) == sum(map(len, entries)) else f"a part of {'x'.join(map(str, shape))}"
    still = f", at {', '.join(map(str, front))} of the axes before" if front else ""
    columns = tuple(range(left, left + len(entries[0])))
    return Entries(f"{excerpt.name} at step {excerpt.step}, {part}{still}", columns, tuple(rows))


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
    return Tensor(row, state.get((row.step, row.name), "agrees"), by_hand, torch)


def _lines(codes: Iterable[Code], side: str, name: str) -> tuple[str, ...]:
    """The lines that compute a tensor on one side, without their comments."""
    of_side = ((code.lines, code.tensors.get(name, ())) for code in codes if code.side == side)
    texts = (lines[number].partition("  #")[0].strip() for lines, numbers in of_side for number in numbers)
    return tuple(dict.fromkeys(texts))[:3]


def _strips(state: Mapping[tuple[int, str], str]) -> dict[str, tuple[tuple[str, str], ...]]:
    """The state of every tensor step by step; empty for a single step."""
    steps = sorted({step for step, _ in state})
    if len(steps) < 2:
        return {}
    size = math.ceil(len(steps) / BINS)
    bins = [steps[i : i + size] for i in range(0, len(steps), size)]
    return {
        name: tuple(
            (gravest(state[step, name] for step in several if (step, name) in state), _in_words("step", several))
            for several in bins
        )
        for name in dict.fromkeys(name for _, name in state)
    }


def _plots(results: Results) -> tuple[Plot, ...]:
    """J of both sides over the steps, as far as it was recorded, or the plots that the report brings."""
    drawn = [
        (float(row.step), row.by_hand, row.torch)
        for row in results.rows
        if row.name == "J" and row.by_hand is not None and row.torch is not None
    ]
    if len(drawn) < 2 or results.details.plots:
        return results.details.plots
    steps, by_hand, torch = zip(*drawn, strict=True)
    text = "Torch starts each step from the weights by hand." if results.ok else ""
    return (Plot("Loss", "step", "J", (Curve("by hand", steps, by_hand), Curve("torch", steps, torch)), text=text),)
