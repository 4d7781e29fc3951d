"""The forward and backward graph of a report as SVG: values run down on the left, their gradients up on the right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

from handgrad.compare.names import gradient, is_updated, of_gradient, of_updated, updated, velocity
from handgrad.compare.results import Results
from handgrad.compare.source.states import gravest, states

MARKS: Mapping[str, str] = MappingProxyType(
    {"agrees": "\u2713", "culprit": "\u2717", "follows": "\u2193", "weak": "\u2248", "absent": "?", "given": ""}
)
LEGEND: Mapping[str, str] = MappingProxyType(
    {
        "agrees": "agrees with torch on the same inputs",
        "culprit": "wrong by itself",
        "follows": "differs, but not by itself",
        "weak": "right, but loses digits",
        "absent": "not recorded, so not judged",
        "given": "given to both sides",
    }
)

WIDTH, HEIGHT, ACROSS, DOWN, EDGE = 84, 26, 26, 12, 24
HEADINGS = ("given", "forward \u2193", "backward \u2191", "gradients", "velocity", "updated")
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


def graph(results: Results) -> Graph:
    """The graph; empty where nothing is known of what depends on what, or nothing was updated."""
    nodes = {node.name: node for node in _nodes(results)}
    if len(nodes) < 2:
        return Graph()
    columns = sorted({node.column for node in nodes.values()})
    place = {column: i for i, column in enumerate(columns)}
    lines = 1 + max(node.line for node in nodes.values())
    width = EDGE + len(columns) * (WIDTH + ACROSS) - ACROSS + EDGE
    height = HEIGHT + lines * (HEIGHT + DOWN)
    corners = {
        name: (EDGE + place[node.column] * (WIDTH + ACROSS), HEIGHT + node.line * (HEIGHT + DOWN))
        for name, node in nodes.items()
    }
    taken = {(node.column, node.line) for node in nodes.values()}
    edges = [
        _edge(corners[a], corners[b], nodes[b].state, straight=_is_free(nodes[a], nodes[b], taken))
        for a, b in _edges(results, nodes)
        if nodes[a] != nodes[b]
    ]
    boxes = [_box(node, *corners[name]) for name, node in nodes.items()]
    heads = [
        f'<text class="head" x="{EDGE + i * (WIDTH + ACROSS) + WIDTH / 2}" y="12">{HEADINGS[column]}</text>'
        for column, i in place.items()
    ]
    wrong = ", ".join(f"{node.name} {node.state}" for node in nodes.values() if node.state in ("culprit", "weak"))
    label = f"what is computed from what; {wrong or 'all that was recorded agrees'}"
    svg = (
        f'<svg class="graph" viewBox="0 0 {width} {height}" width="{width}" style="min-width: {0.78 * width:.0f}px" '
        f'role="img" aria-label="{escape(label)}">{"".join(heads + edges + boxes)}</svg>'
    )
    shown = {node.state for node in nodes.values()}
    return Graph(svg, tuple(state for state in LEGEND if state in shown))


def _is_free(a: _Node, b: _Node, taken: set[tuple[int, int]]) -> bool:
    """Whether no box stands between two in a column."""
    return not any((a.column, line) in taken for line in range(min(a.line, b.line) + 1, max(a.line, b.line)))


ARROWS = "".join(
    f'<marker id="arrow-{kind}" class="{kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
    'orient="auto"><path d="M0 0 L8 4 L0 8 z"/></marker>'
    for kind in ("plain", "wrong")
)


def _nodes(results: Results) -> Iterator[_Node]:
    """Every box: a value and its gradient on one line, what it reads beside it, with the gradients of that."""
    by_name: dict[str, list[str]] = {}
    for (_, name), state in states(results).items():
        by_name.setdefault(name, []).append(state)
    known = {name: gravest(several) for name, several in by_name.items()}
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
    parameters = (of_updated(name) for name in known if is_updated(name))
    for offset, parameter in enumerate(name for name in parameters if name not in placed and not reads):
        yield _Node(gradient(parameter), 3, line + offset, known.get(gradient(parameter), "given"))
        yield from _updates(parameter, line + offset, known)


def _window(results: Results, values: list[str]) -> list[str]:
    """The values to be shown: all, or those around the first culprit."""
    first = results.first.where.name if results.first is not None else ""
    about = {first, of_gradient(first), of_updated(first)}
    read = results.details.reads
    at = next((i for i, name in enumerate(values) if name in about or not about.isdisjoint(read[name])), 0)
    start = max(0, min(at - SHOWN // 2, len(values) - SHOWN))
    return values[start : start + SHOWN]


def _of_parameter(leaf: str, line: int, known: Mapping[str, str]) -> Iterator[_Node]:
    if gradient(leaf) in known:
        yield _Node(gradient(leaf), 3, line, known[gradient(leaf)])
    yield from _updates(leaf, line, known)


def _updates(parameter: str, line: int, known: Mapping[str, str]) -> Iterator[_Node]:
    for name, column in ((velocity(parameter), 4), (updated(parameter), 5)):
        if name in known:
            yield _Node(name, column, line, known[name])


def _edges(results: Results, nodes: Mapping[str, _Node]) -> Iterator[tuple[str, str]]:
    """Pairs of boxes, the second computed from the first."""
    pairs: Iterable[tuple[str, str]] = (
        pair
        for value, read in results.details.reads.items()
        for name in read
        for pair in ((name, value), (gradient(value), gradient(name)))
    )
    yield from (pair for pair in pairs if pair[0] in nodes and pair[1] in nodes)
    for name in nodes:
        if is_updated(name):
            parameter = of_updated(name)
            yield from pairwise(part for part in (gradient(parameter), velocity(parameter), name) if part in nodes)


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
