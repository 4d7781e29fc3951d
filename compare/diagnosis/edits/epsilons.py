"""A small number that keeps logarithms, roots and divisors finite: one where none belongs, or on another side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor

from handgrad.compare.diagnosis.edits.edit import SMALL, Edit, Rank, apply, redo, says, text
from handgrad.compare.diagnosis.edits.segment import Segment
from handgrad.compare.facts.edits import Epsilon
from handgrad.compare.oracle.graph import Node
from handgrad.compare.thresholds import EPSILONS

FORMS: dict[str, dict[str, Callable[[Tensor, float], Tensor]]] = {  # by the kind of step and where the number stands
    "log": {"inside": lambda x, eps: torch.log(x + eps), "clipped": lambda x, eps: torch.log(x.clamp(eps, 1 - eps))},
    "sqrt": {"inside": lambda x, eps: torch.sqrt(x + eps), "outside": lambda x, eps: torch.sqrt(x) + eps},
}


def epsilons(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """One added in a logarithm, a root or a divisor, or clipped to; one that is there on another side of a root."""
    for how, function in FORMS.get(node.kind, {}).items():
        for eps in EPSILONS:
            change = apply(function, node.args[0], eps)
            yield Edit(2, Rank.CONSTANT, says(Epsilon, eps, how, node), {node: change})
    for eps in EPSILONS if node.kind == "div" and isinstance(node.args[1], Node) else ():
        change = redo(node, {1: apply(partial(torch.add, other=eps), node.args[1])})
        yield Edit(
            3, Rank.CONSTANT, says(Epsilon, eps, "outside", text("the divisor {}", node.args[1])), {node: change}
        )
    small = [each for each in node.args if isinstance(each, float) and 0 < each < SMALL]
    rest = [each for each in node.args if isinstance(each, Node)]
    if node.kind == "add" and len(small) == len(rest) == 1:
        (eps,), (of,) = small, rest
        for root in segment.users.get(node, ()):
            if root.kind == "sqrt":
                out = apply(FORMS["sqrt"]["outside"], of, eps)
                yield Edit(1, Rank.LEFT_OUT, says(Epsilon, eps, "moved-out", root), {root: out})
        into = apply(lambda x: torch.sqrt(x**2 + eps), of)
        yield Edit(1, Rank.LEFT_OUT, says(Epsilon, eps, "moved-in", node), {node: into})
