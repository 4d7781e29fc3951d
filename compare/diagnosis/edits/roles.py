"""What an edit is in the textbook's terms: a mistake in an activation's derivative, in a bias gradient, in the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isclose

import torch

from handgrad.compare.diagnosis.edits.edit import Edit, Words
from handgrad.compare.diagnosis.edits.reductions import due_of
from handgrad.compare.diagnosis.edits.segment import Change, Segment
from handgrad.compare.diagnosis.edits.wording import shown
from handgrad.compare.facts import causes
from handgrad.compare.facts import edits as mistakes
from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.operands import Copied, Stale, StaleTogether, UpdatedOperand, UpdatedTogether
from handgrad.compare.names import of_gradient
from handgrad.compare.oracle.graph import Node

LOSSES = "losses"
OF_TIMES = (Stale, StaleTogether, UpdatedOperand, UpdatedTogether)
# they say what it is wherever they are
OF_ALL = (mistakes.Clipped, Copied, mistakes.ExtraTerm, mistakes.OperandPlaces, mistakes.OtherMask, *OF_TIMES)
ACTIVATIONS = {
    "_log_softmax_backward_data": "log_softmax", "_softmax_backward_data": "softmax", "elu_backward": "elu",
    "gelu_backward": "gelu", "leaky_relu_backward": "leaky_relu", "sigmoid_backward": "sigmoid",
    "silu_backward": "silu", "softplus_backward": "softplus", "tanh_backward": "tanh", "threshold_backward": "relu",
}  # fmt: skip


def told(segment: Segment, edit: Edit, words: Words, parameters: frozenset[str]) -> Cause:
    """The cause that an edit is, by its role where it has one."""
    cause = edit.cause(words)
    if segment.name == LOSSES and edit.tier and cause.code != causes.LossFormula.code:
        return causes.LossFormula(cause)
    target = shown(segment.target)
    changes = {target if node is segment.target else node: change for node, change in edit.changes.items()}
    if {*changes} == {target} == {_sum(segment, parameters)}:
        return of_bias(segment, cause, words, parameters)
    if not edit.tier or edit.fitted:
        return cause
    kinds = {last: ACTIVATIONS.get(compound.kind) for last, compound in segment.graph.compounds.items()}
    derivatives = [last for last, kind in kinds.items() if kind and last in segment.distance]
    of_derivatives = (_of_derivative(segment, changes, last, cause, words) for last in derivatives)
    return next(filter(None, of_derivatives), cause)


# --- derivatives


def _of_derivative(
    segment: Segment, changes: Mapping[Node, Change], last: Node, cause: Cause, words: Words
) -> Cause | None:
    """What an edit is in a derivative; None where it is elsewhere."""
    compound = segment.graph.compounds[last]
    gradient, of = compound.args[:2]
    label = segment.name if last is shown(segment.target) else segment.labels.get(last, "")
    names = of_gradient(words(gradient)), of_gradient(label)
    if all(names) and _gives(segment, changes, last, gradient):
        return causes.DerivativeMissing(*names)
    if all(names) and _gives(segment, changes, gradient, last):
        return causes.DerivativeTwice(*names)
    steps = _between(last, (gradient, of))
    before = _taken_by(segment, of, steps)
    is_another = isinstance(cause, OF_ALL) or (last in changes and isinstance(cause, mistakes.OtherOperand))
    if not changes.keys() <= steps | before or is_another or cause.code == causes.InDerivative.code:
        return None
    if changes.keys() <= before and isinstance(cause, mistakes.OtherOperand):
        return causes.DerivativeAt(cause.used, cause.belongs)
    if changes.keys() == {of} and isinstance(cause, mistakes.OtherFunction) and not cause.used:
        return causes.DerivativeAt(cause.of, words(of))
    return causes.InDerivative(ACTIVATIONS[compound.kind], cause)


def _between(last: Node, args: Sequence[Node]) -> set[Node]:
    """The steps of a derivative."""
    steps, pending = {last}, [last]
    while pending:
        parents = {parent for parent in pending.pop().parents if parent not in args} - steps
        steps |= parents
        pending += parents
    return steps


def _taken_by(segment: Segment, of: Node, steps: set[Node]) -> set[Node]:
    """What a derivative is of, and the steps that compute it, as far as nothing else takes them."""
    before: set[Node] = set()
    pending = [of]
    while pending:
        node = pending.pop()
        if node in segment.users and {*segment.users[node]} <= steps | before:
            before.add(node)
            pending += node.parents
    return before


def _gives(segment: Segment, changes: Mapping[Node, Change], node: Node, other: Node) -> bool:
    """Whether one step gives what another does."""
    change = changes.get(node)
    value = change and change(lambda each: segment.values[each] if isinstance(each, Node) else each)
    return isinstance(value, torch.Tensor) and torch.equal(value, other.value)


# --- sums


def of_bias(segment: Segment, cause: Cause, words: Words, parameters: frozenset[str]) -> Cause:
    """Another sum than the one that a gradient of a parameter is, a mean above all."""
    node = _sum(segment, parameters)
    if node is None:
        return cause
    due = causes.BiasSum(words(node.args[0]), "the mean", due_of(node))
    if isinstance(cause, causes.Scaled) and isclose(cause.factor * node.args[0].value.numel(), node.value.numel()):
        return replace(due, factor=cause.factor)
    if isinstance(cause, mistakes.OtherReduction):
        return replace(due, how=cause.used)
    if isinstance(cause, mistakes.PartOfSum) and cause.alone:
        return replace(due, how=f"only index {cause.index} of axis {cause.axis}")
    return cause


def _sum(segment: Segment, parameters: frozenset[str]) -> Node | None:
    """The sum that gives the tensor, a gradient of a parameter."""
    node = shown(segment.target)
    return node if node.kind == "sum" and of_gradient(segment.name) in parameters else None
