"""The forward and backward graph of a report as SVG: values run down on the left, their gradients up on the right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from handgrad.compare.report import Report
from handgrad.compare.report.states import LEGEND, MARKS, states, worst

__all__ = ["ARROWS", "graph"]

WIDTH, HEIGHT, ACROSS, DOWN, EDGE = 84, 26, 26, 12, 24
HEADINGS = ("given", "forward \u2193", "backward \u2191", "gradients", "velocity", "updated")
SHOWN = 40  # so many values at most, around the first culprit
LETTERS = 8


@dataclass(frozen=True)
class _Node:
    name: str
    column: int
    line: int
    state: str


def graph(report: Report) -> str:
    """The graph as an SVG element; empty where nothing is known of what depends on what, or nothing was updated."""
    nodes = {node.name: node for node in _nodes(report)}
    if len(nodes) < 2:
        return ""
    columns = sorted({node.column for node in nodes.values()})
    place = {column: i for i, column in enumerate(columns)}
    lines = 1 + max(node.line for node in nodes.values())
    width = EDGE + len(columns) * (WIDTH + ACROSS) - ACROSS + EDGE
    height = HEIGHT + lines * (HEIGHT + DOWN)

    def corner(node: _Node) -> tuple[float, float]:
        return EDGE + place[node.column] * (WIDTH + ACROSS), HEIGHT + node.line * (HEIGHT + DOWN)

    taken = {(node.column, node.line) for node in nodes.values()}

    def is_free(a: _Node, b: _Node) -> bool:
        between = range(min(a.line, b.line) + 1, max(a.line, b.line))
        return not any((a.column, line) in taken for line in between)

    edges = [
        _edge(corner(nodes[a]), corner(nodes[b]), nodes[b].state, straight=is_free(nodes[a], nodes[b]))
        for a, b in _edges(report, nodes)
        if nodes[a] != nodes[b]
    ]
    boxes = [_box(node, *corner(node)) for node in nodes.values()]
    heads = [
        f'<text class="head" x="{EDGE + i * (WIDTH + ACROSS) + WIDTH / 2}" y="12">{HEADINGS[column]}</text>'
        for column, i in place.items()
    ]
    told = ", ".join(f"{node.name} {node.state}" for node in nodes.values() if node.state in ("culprit", "weak"))
    label = f"what is computed from what; {told or 'all that was recorded agrees'}"
    return (
        f'<svg class="graph" viewBox="0 0 {width} {height}" width="{width}" style="min-width: {0.78 * width:.0f}px" '
        f'role="img" '
        f'aria-label="{escape(label)}">{"".join(heads + edges + boxes)}</svg>'
    )


ARROWS = "".join(
    f'<marker id="arrow-{kind}" class="{kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
    'orient="auto"><path d="M0 0 L8 4 L0 8 z"/></marker>'
    for kind in ("plain", "wrong")
)


def _nodes(report: Report) -> Iterator[_Node]:
    """Every box: a value and its gradient on one line, what it reads beside it, with the gradients of that."""
    by_name: dict[str, list[str]] = {}
    for (_, name), state in states(report).items():
        by_name.setdefault(name, []).append(state)
    known = {name: worst(each) for name, each in by_name.items()}
    reads, line = report.details.reads, 0
    values = _window(report, [*reads])
    gradients = [i for i, name in enumerate(values) if f"d{name}" in known]
    last = gradients[-1] if gradients else len(values)
    placed: set[str] = set()
    for position, value in enumerate(values):
        leaves = [name for name in reads[value] if name not in reads and name not in placed]
        placed |= {*leaves}
        yield _Node(value, 1, line, known.get(value, "absent"))
        if f"d{value}" in known or (position < last and value != "J"):
            yield _Node(f"d{value}", 2, line, known.get(f"d{value}", "absent"))
        for offset, leaf in enumerate(leaves):
            yield _Node(leaf, 0, line + offset, known.get(leaf, "given"))
            yield from _of_parameter(leaf, line + offset, known)
        line += max(1, len(leaves))
    updated = (name.removesuffix("_next") for name in known if name.endswith("_next"))
    for offset, parameter in enumerate(name for name in updated if name not in placed and not reads):
        yield _Node(f"d{parameter}", 3, line + offset, known.get(f"d{parameter}", "given"))
        yield from _updates(parameter, line + offset, known)


def _window(report: Report, values: list[str]) -> list[str]:
    """The values to be shown: all, or those around the first culprit."""
    first = report.first.name if report.first is not None else ""
    about = {first, first[1:], first.removesuffix("_next")}
    read = report.details.reads
    at = next((i for i, name in enumerate(values) if name in about or not about.isdisjoint(read[name])), 0)
    start = max(0, min(at - SHOWN // 2, len(values) - SHOWN))
    return values[start : start + SHOWN]


def _of_parameter(leaf: str, line: int, known: Mapping[str, str]) -> Iterator[_Node]:
    if f"d{leaf}" in known:
        yield _Node(f"d{leaf}", 3, line, known[f"d{leaf}"])
    yield from _updates(leaf, line, known)


def _updates(parameter: str, line: int, known: Mapping[str, str]) -> Iterator[_Node]:
    for name, column in ((f"v{parameter}", 4), (f"{parameter}_next", 5)):
        if name in known:
            yield _Node(name, column, line, known[name])


def _edges(report: Report, nodes: Mapping[str, _Node]) -> Iterator[tuple[str, str]]:
    """Pairs of boxes, the second computed from the first."""
    pairs: Iterable[tuple[str, str]] = (
        pair
        for value, read in report.details.reads.items()
        for name in read
        for pair in ((name, value), (f"d{value}", f"d{name}"))
    )
    yield from (pair for pair in pairs if pair[0] in nodes and pair[1] in nodes)
    for name in nodes:
        parameter = name.removesuffix("_next")
        if parameter != name:
            chain = [part for part in (f"d{parameter}", f"v{parameter}", name) if part in nodes]
            yield from pairwise(chain)


def _edge(start: tuple[float, float], end: tuple[float, float], state: str, *, straight: bool) -> str:
    """An arrow from box to box; in a column straight if no box is between, round them otherwise."""
    (x1, y1), (x2, y2) = start, end
    kind = "wrong" if state in ("culprit", "follows") else "plain"
    if x1 == x2:
        down = y2 > y1
        a, b = (y1 + HEIGHT, y2) if down else (y1, y2 + HEIGHT)
        if straight:
            path = f"M{x1 + WIDTH / 2} {a} V{b}"
        else:
            side = x1 if down else x1 + WIDTH
            out = side + (-1 if down else 1) * min(ACROSS - 6, 8 + abs(y2 - y1) / 20)
            path = (
                f"M{side} {y1 + HEIGHT / 2} C{out} {y1 + HEIGHT / 2} {out} {y2 + HEIGHT / 2} {side} {y2 + HEIGHT / 2}"
            )
    else:
        a, b = (x1 + WIDTH, x2) if x2 > x1 else (x1, x2 + WIDTH)
        path = f"M{a} {y1 + HEIGHT / 2} L{b} {y2 + HEIGHT / 2}"
    return f'<path class="edge {kind}" d="{path}" marker-end="url(#arrow-{kind})"/>'


def _box(node: _Node, x: float, y: float) -> str:
    """A box: rounded if it agrees, cut at the corners if it is a culprit, slanted if it follows from one."""
    w, h, c = WIDTH, HEIGHT, 7
    outlines = {
        "culprit": f"M{c} 0 H{w - c} L{w} {c} V{h - c} L{w - c} {h} H{c} L0 {h - c} V{c} z",
        "follows": f"M{c} 0 H{w} L{w - c} {h} H0 z",
        "weak": f"M0 {h / 2} L{c} 0 H{w - c} L{w} {h / 2} L{w - c} {h} H{c} z",
    }
    outline = outlines.get(
        node.state, f"M5 0 H{w - 5} Q{w} 0 {w} 5 V{h - 5} Q{w} {h} {w - 5} {h} H5 Q0 {h} 0 {h - 5} V5 Q0 0 5 0 z"
    )
    name = node.name
    short = name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}\u2026"
    mark = f"{MARKS[node.state]} " if MARKS[node.state] else ""
    return (
        f'<g class="node {node.state}" transform="translate({x} {y})"><title>{escape(name)}: {LEGEND[node.state]}'
        f'</title><path d="{outline}"/><text x="{w / 2}" y="{h / 2 + 4}">{mark}{escape(short)}</text></g>'
    )
