"""What the graph behind a function's outputs tells: which other tensors have gradients of theirs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from handgrad.compare.errors import InputError

REENTRANT = "CheckpointFunctionBackward"  # torch's name for a node that torch.autograd.grad cannot run


def captured(outputs: Iterable[Any], leaves: Iterable[Tensor]) -> tuple[tuple[int, ...], ...]:
    """The shapes of the leaves behind outputs that are none of the function's own, as a weight from outside.

    Raises InputError where a checkpoint is among the nodes that cannot be differentiated by torch.autograd.grad.
    """
    own, shapes = {id(leaf) for leaf in leaves}, list[tuple[int, ...]]()
    for node in _nodes(y.grad_fn for y in outputs if isinstance(y, Tensor)):
        if node.name() == REENTRANT:
            raise InputError(
                "the function calls torch.utils.checkpoint with use_reentrant=True, which torch.autograd.grad cannot "
                "differentiate; call it with use_reentrant=False"
            )
        leaf = getattr(node, "variable", None)
        if leaf is not None and id(leaf) not in own:
            shapes.append(tuple(leaf.shape))
    return tuple(shapes)


def _nodes(ends: Iterable[Any]) -> Iterator[Any]:
    """All nodes of a graph, each once."""
    left, seen = [*ends], set[Any]()
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            left += [after for after, _ in node.next_functions]
