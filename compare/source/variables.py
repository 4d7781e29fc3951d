"""The variables of a reference's own code, by the steps that give them."""

from __future__ import annotations

from collections import Counter

from handgrad.compare.oracle.graph import Graph, Node
from handgrad.compare.source.listing import assigned, statement


def variables(graph: Graph) -> dict[Node, str]:
    """The names that statements assign, each by the last step of its statement: h, or h[0], h[1] ... in a loop.

    A name that several statements assign once is not told, nor one of a statement of several lines.
    """
    places = [(node, node.place) for node in graph.nodes if node.place is not None and not node.place.is_backward]
    statements = {line: statement(*line) for line in dict.fromkeys(place[:2] for _, place in places)}
    last: dict[tuple[str, int, int], Node] = {}
    for node, place in places:
        file, first, end = statements[place[:2]]
        if first == end:  # of several lines each is come to in its own order
            last[file, first, place.visit] = node
    visits = Counter(place[:2] for place in last)
    assigns = {place: found[0] for place in visits if len(found := assigned(*place)) == 1}
    told = {
        node: assigns[file, line] if visits[file, line] == 1 else f"{assigns[file, line]}[{visit - 1}]"
        for (file, line, visit), node in last.items()
        if (file, line) in assigns
    }
    uses = Counter(told.values())
    return {node: name for node, name in told.items() if uses[name] == 1}
