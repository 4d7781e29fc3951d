"""The forward and backward graph of a report as SVG: values run down on the left, their gradients up on the right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from itertools import pairwise
from typing import NamedTuple

from handgrad.compare.names import gradient, is_updated, of_gradient, of_updated, remembered, updated
from handgrad.compare.results import Results
from handgrad.compare.source.states import gravest, states

MARKS = {"agrees": "\u2713", "culprit": "\u2717", "follows": "\u2193", "weak": "\u2248", "absent": "?", "given": ""}
LEGEND = {
    "agrees": "agrees with torch on the same inputs",
    "culprit": "wrong by itself",
    "follows": "differs, but not by itself",
    "weak": "right, but loses digits",
    "absent": "not recorded, so not judged",
    "given": "given to both sides",
}

WIDTH, HEIGHT, ACROSS, DOWN, EDGE = 84, 26, 26, 12, 24
HEADINGS = ("given", "forward \u2193", "backward \u2191", "gradients", "velocity", "mean", "square", "updated")
SHOWN = 40  # so many values at most, around the first culprit
LETTERS = 8


class Graph(NamedTuple):
    """The graph as an SVG element, and the states that it shows; empty where there is nothing to draw."""

    svg: str = ""
    states: tuple[str, ...] = ()


class _Node(NamedTuple):
    name: str
    column: int
    line: int
    state: str

    @property
    def x(self) -> int:
        return EDGE + self.column * (WIDTH + ACROSS)

    @property
    def y(self) -> int:
        return HEIGHT + self.line * (HEIGHT + DOWN)


def graph(results: Results) -> Graph:
    """The graph; empty where nothing is known of what depends on what, or nothing was updated."""
    nodes = {node.name: node for node in _nodes(results)}
    if len(nodes) < 2:
        return Graph()
    columns = sorted({node.column for node in nodes.values()})
    nodes = {name: node._replace(column=columns.index(node.column)) for name, node in nodes.items()}
    width = EDGE + len(columns) * (WIDTH + ACROSS) - ACROSS + EDGE
    height = HEIGHT + (1 + max(node.line for node in nodes.values())) * (HEIGHT + DOWN)
    taken = {(node.column, node.line) for node in nodes.values()}
    heads = [
        f'<text class="head" x="{EDGE + i * (WIDTH + ACROSS) + WIDTH / 2}" y="12">{HEADINGS[column]}</text>'
        for i, column in enumerate(columns)
    ]
    edges = [_edge(nodes[a], nodes[b], taken) for a, b in _edges(results, nodes) if a != b]
    boxes = map(_box, nodes.values())
    wrong = ", ".join(f"{node.name} {node.state}" for node in nodes.values() if node.state in ("culprit", "weak"))
    label = f"what is computed from what; {wrong or 'all that was recorded agrees'}"
    svg = (
        f'<svg class="graph" viewBox="0 0 {width} {height}" width="{width}" style="min-width: {0.88 * width:.0f}px" '
        f'role="img" aria-label="{escape(label)}">{"".join((*heads, *edges, *boxes))}</svg>'
    )
    return Graph(svg, tuple(state for state in LEGEND if state in {node.state for node in nodes.values()}))


def _nodes(results: Results) -> Iterator[_Node]:
    """Every box: a value and its gradient on one line, what it reads beside it, with the gradients of that."""
    known: dict[str, str] = {}
    for (_, name), state in states(results).items():
        known[name] = gravest((state, known.get(name, state)))
    reads, line = results.details.reads, 0
    values = _window(results, [*reads])
    last = max((i for i, name in enumerate(values) if gradient(name) in known), default=len(values))
    placed: set[str] = set()
    for position, value in enumerate(values):
        leaves = [name for name in reads[value] if name not in reads and name not in placed]
        placed |= {*leaves}
        yield _Node(value, 1, line, known.get(value, "absent"))
        if gradient(value) in known or (position < last and value != "J"):
            yield _Node(gradient(value), 2, line, known.get(gradient(value), "absent"))
        for offset, leaf in enumerate(leaves):
            yield _Node(leaf, 0, line + offset, known.get(leaf, "given"))
            yield from _of_parameter(leaf, line + offset, known)
        line += max(1, len(leaves))
    if not reads:
        for line, parameter in enumerate(of_updated(name) for name in known if is_updated(name)):
            yield from _of_parameter(parameter, line, {gradient(parameter): "given", **known})


def _window(results: Results, values: list[str]) -> list[str]:
    """The values to be shown: all, or those around the first culprit."""
    first = results.first.where.name if results.first is not None else ""
    about = {first, of_gradient(first), of_updated(first)}
    read = results.details.reads
    at = next((i for i, name in enumerate(values) if name in about or not about.isdisjoint(read[name])), 0)
    start = max(0, min(at - SHOWN // 2, len(values) - SHOWN))
    return values[start : start + SHOWN]


def _of_parameter(parameter: str, line: int, known: Mapping[str, str]) -> Iterator[_Node]:
    """The boxes of its gradient, of what is remembered of that, and of its next value."""
    for column, name in enumerate(_path_of(parameter), start=3):
        if name in known:
            yield _Node(name, column, line, known[name])


def _edges(results: Results, nodes: Mapping[str, _Node]) -> Iterator[tuple[str, str]]:
    """Pairs of boxes, the second computed from the first."""
    for value, read in results.details.reads.items():
        for name in read:
            pairs = ((name, value), (gradient(value), gradient(name)))
            yield from (pair for pair in pairs if nodes.keys() >= {*pair})
    for name in filter(is_updated, nodes):
        yield from pairwise(part for part in _path_of(of_updated(name)) if part in nodes)


def _path_of(parameter: str) -> tuple[str, ...]:
    """What an update goes through: the gradient of a parameter, its velocity or its moments, its next value."""
    return gradient(parameter), *remembered("vms", [parameter]), updated(parameter)


def _edge(start: _Node, end: _Node, taken: set[tuple[int, int]]) -> str:
    """An arrow from box to box; in a column straight if no box is between, round them otherwise."""
    kind = "wrong" if end.state in ("culprit", "follows") else "plain"
    down = start.y < end.y
    y1, y2 = start.y + HEIGHT / 2, end.y + HEIGHT / 2
    first, last = sorted((start.line, end.line))
    if start.column != end.column:
        a, b = (start.x + WIDTH, end.x) if start.x < end.x else (start.x, end.x + WIDTH)
        path = f"M{a} {y1} L{b} {y2}"
    elif any((start.column, line) in taken for line in range(first + 1, last)):
        side = start.x if down else start.x + WIDTH
        out = side + (-1 if down else 1) * min(ACROSS - 6, 8 + abs(end.y - start.y) / 20)
        path = f"M{side} {y1} C{out} {y1} {out} {y2} {side} {y2}"
    else:
        a, b = (start.y + HEIGHT, end.y) if down else (start.y, end.y + HEIGHT)
        path = f"M{start.x + WIDTH / 2} {a} V{b}"
    return f'<path class="edge {kind}" d="{path}" marker-end="url(#arrow-{kind})"/>'


def _box(node: _Node) -> str:
    """A box: rounded if it agrees, cut at the corners if it is a culprit, slanted if it follows from one."""
    w, h, c = WIDTH, HEIGHT, 7
    rounded = f"M5 0 H{w - 5} Q{w} 0 {w} 5 V{h - 5} Q{w} {h} {w - 5} {h} H5 Q0 {h} 0 {h - 5} V5 Q0 0 5 0 z"
    outlines = {
        "culprit": f"M{c} 0 H{w - c} L{w} {c} V{h - c} L{w - c} {h} H{c} L0 {h - c} V{c} z",
        "follows": f"M{c} 0 H{w} L{w - c} {h} H0 z",
        "weak": f"M0 {h / 2} L{c} 0 H{w - c} L{w} {h / 2} L{w - c} {h} H{c} z",
    }
    short = node.name if len(node.name) <= LETTERS else f"{node.name[: LETTERS - 1]}\u2026"
    mark = f"{MARKS[node.state]} ".lstrip()
    return (
        f'<g class="node {node.state}" transform="translate({node.x} {node.y})"><title>{escape(node.name)}: '
        f'{LEGEND[node.state]}</title><path d="{outlines.get(node.state, rounded)}"/>'
        f'<text x="{w / 2}" y="{h / 2 + 4}">{mark}{escape(short)}</text></g>'
    )
