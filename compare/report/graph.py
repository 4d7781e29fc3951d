"""The forward and backward graph of a report as SVG: values run down on the left, their gradients up on the right.

Of a recurrent network, whose steps over time share their weights, values run to the right, a column per time step, and
below them their gradients run back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from itertools import pairwise
from typing import NamedTuple

from handgrad.compare.names import (
    gradient,
    is_sibling,
    is_updated,
    layered,
    of_gradient,
    of_updated,
    remembered,
    updated,
)
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
PARAMETERS = ("gradients", "velocity", "mean", "square", "updated")
HEADINGS = ("given", "forward \u2193", "backward \u2191", *PARAMETERS)
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
    known: dict[str, str] = {}
    for (_, name), state in states(results).items():
        known[name] = gravest((state, known.get(name, state)))
    shared = _shared(results.details.reads)
    times = _times(results) if shared else {}
    laid_out = _by_time(results, times, known) if shared else _by_layer(results, known)
    headings = ("given", *(f"time {time}" for time in _columns(times)), *PARAMETERS) if shared else HEADINGS
    nodes = {node.name: node for node in laid_out}
    if len(nodes) < 2:
        return Graph()
    columns = sorted({node.column for node in nodes.values()})
    nodes = {name: node._replace(column=columns.index(node.column)) for name, node in nodes.items()}
    width = EDGE + len(columns) * (WIDTH + ACROSS) - ACROSS + EDGE
    height = HEIGHT + (1 + max(node.line for node in nodes.values())) * (HEIGHT + DOWN)
    taken = {(node.column, node.line) for node in nodes.values()}
    heads = [
        f'<text class="head" x="{EDGE + i * (WIDTH + ACROSS) + WIDTH / 2}" y="12">{headings[column]}</text>'
        for i, column in enumerate(columns)
    ]
    edges = [_edge(nodes[a], nodes[b], taken) for a, b in _edges(results, nodes, shared) if a != b]
    boxes = map(_box, nodes.values())
    wrong = ", ".join(f"{node.name} {node.state}" for node in nodes.values() if node.state in ("culprit", "weak"))
    label = f"what is computed from what; {wrong or 'all that was recorded agrees'}"
    svg = (
        f'<svg class="graph" viewBox="0 0 {width} {height}" width="{width}" style="min-width: {0.88 * width:.0f}px" '
        f'role="img" aria-label="{escape(label)}">{"".join((*heads, *edges, *boxes))}</svg>'
    )
    return Graph(svg, tuple(state for state in LEGEND if state in {node.state for node in nodes.values()}))


def _by_layer(results: Results, known: Mapping[str, str]) -> Iterator[_Node]:
    """Every box: a value and its gradient on one line, what it reads beside it, with the gradients of that."""
    reads, line = results.details.reads, 0
    values = _window(results, [*reads])
    backward = _backward(values, known)
    for value, leaves in _leaves(values, reads):
        yield _Node(value, 1, line, known.get(value, "absent"))
        if value in backward:
            yield _Node(gradient(value), 2, line, known.get(gradient(value), "absent"))
        for offset, leaf in enumerate(leaves):
            yield _Node(leaf, 0, line + offset, known.get(leaf, "given"))
            yield from _of_parameter(leaf, line + offset, 3, known)
        line += max(1, len(leaves))
    if not reads:
        for line, parameter in enumerate(of_updated(name) for name in known if is_updated(name)):
            yield from _of_parameter(parameter, line, 3, {gradient(parameter): "given", **known})


def _by_time(results: Results, times: Mapping[str, int], known: Mapping[str, str]) -> Iterator[_Node]:
    """Every box: a line per kind of value and a column per time step; the gradients in the same columns, below."""
    reads, columns = results.details.reads, _columns(times)
    backward = _backward([*times], known)
    kinds: dict[str, list[str]] = {}
    leaves: dict[str, list[str]] = {}
    for value, own in _leaves([*times], reads):
        kinds.setdefault(layered(value)[0], []).append(value)
        leaves.setdefault(layered(value)[0], []).extend(own)
    line = 0
    for kind, values in kinds.items():
        yield from (_Node(v, 1 + columns.index(times[v]), line, known.get(v, "absent")) for v in values)
        yield from (_Node(leaf, 0, line + i, known.get(leaf, "given")) for i, leaf in enumerate(leaves[kind]))
        line += max(1, len(leaves[kind]))
    for kind, values in reversed(kinds.items()):
        taken = [value for value in values if value in backward]
        for value in taken:
            name = gradient(value)
            yield _Node(name, 1 + columns.index(times[value]), line, known.get(name, "absent"))
        for i, leaf in enumerate(leaves[kind]):
            yield from _of_parameter(leaf, line + i, 1 + len(columns), known)
        line += max(bool(taken), len(leaves[kind]))


def _shared(reads: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """What several time steps read: weights and inputs, each with the values that read it; empty without a loop."""
    readers: dict[str, list[str]] = {}
    for value, read in reads.items():
        for name in read:
            if name not in reads:
                readers.setdefault(name, []).append(value)
    return {name: several for name, several in readers.items() if any(is_sibling(several[0], v) for v in several)}


def _times(results: Results) -> dict[str, int]:
    """The time step of each value shown: the number of its name, or without one the last of those that it reads."""
    times: dict[str, int] = {}
    for value in _window(results, [*results.details.reads]):
        number = layered(value)[1]
        before = (times[name] for name in results.details.reads[value] if name in times)
        times[value] = max(before, default=0) if number is None else number
    return times


def _columns(times: Mapping[str, int]) -> list[int]:
    return sorted({*times.values()})


def _backward(values: list[str], known: Mapping[str, str]) -> set[str]:
    """The values whose gradients are drawn: those recorded, and those before the last of them."""
    last = max((i for i, name in enumerate(values) if gradient(name) in known), default=len(values))
    return {v for i, v in enumerate(values) if gradient(v) in known or (i < last and v != "J")}


def _leaves(values: Iterable[str], reads: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, list[str]]]:
    """Every value with what it reads as the first and nothing computes."""
    placed: set[str] = set()
    for value in values:
        leaves = [name for name in reads[value] if name not in reads and name not in placed]
        placed |= {*leaves}
        yield value, leaves


def _window(results: Results, values: list[str]) -> list[str]:
    """The values to be shown: all, or those around the first culprit."""
    first = results.first.where.name if results.first is not None else ""
    about = {first, of_gradient(first), of_updated(first)}
    read = results.details.reads
    at = next((i for i, name in enumerate(values) if name in about or not about.isdisjoint(read[name])), 0)
    start = max(0, min(at - SHOWN // 2, len(values) - SHOWN))
    return values[start : start + SHOWN]


def _of_parameter(parameter: str, line: int, first: int, known: Mapping[str, str]) -> Iterator[_Node]:
    """The boxes of its gradient, of what is remembered of that, and of its next value, from a column on."""
    for column, name in enumerate(_path_of(parameter), start=first):
        if name in known:
            yield _Node(name, column, line, known[name])


def _edges(results: Results, nodes: Mapping[str, _Node], shared: Mapping[str, list[str]]) -> Iterator[tuple[str, str]]:
    """Pairs of boxes, the second computed from the first; of what time steps share, those of the step beside it."""
    for value, read in results.details.reads.items():
        for name in read:
            pairs = ((name, value), (gradient(value), gradient(name)))
            drawn = [pair for pair in pairs if nodes.keys() >= {*pair}]
            if name in shared:
                drawn = [pair for pair in drawn if pair in _beside(name, shared[name], nodes)]
            yield from drawn
    for name in filter(is_updated, nodes):
        yield from pairwise(part for part in _path_of(of_updated(name)) if part in nodes)


def _path_of(parameter: str) -> tuple[str, ...]:
    """What an update goes through: the gradient of a parameter, its velocity or its moments, its next value."""
    return gradient(parameter), *remembered("vms", [parameter]), updated(parameter)


def _beside(name: str, readers: list[str], nodes: Mapping[str, _Node]) -> set[tuple[str, str]]:
    """The edges of what is shared, to its readers of the first time step and from their gradients of the last."""
    first = min((nodes[value].column for value in readers if value in nodes), default=0)
    taken = [gradient(value) for value in readers if gradient(value) in nodes]
    last = max((nodes[value].column for value in taken), default=0)
    values = {(name, value) for value in readers if value in nodes and nodes[value].column == first}
    return values | {(value, gradient(name)) for value in taken if nodes[value].column == last}


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
