"""One edit: steps that give something else, what it costs by its tier, and the cause that it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from torch import Tensor

from handgrad.compare.diagnosis.edits.segment import Change, Segment
from handgrad.compare.facts.causes import Cause
from handgrad.compare.oracle.graph import Node

Words = Callable[[Any], str]  # a step, or a number, as a formula
Told = Callable[[Words], Cause]  # the cause that an edit is
Function = Callable[[Tensor], Tensor]
Start = Callable[[Mapping[str, Tensor]], Any]  # of a state, of what the first step takes
SMALL = 1e-2  # a number below is one that keeps a divisor from zero
ODD = (RuntimeError, LookupError, TypeError, ValueError, ArithmeticError, AssertionError, AttributeError)
"""What an edit raises that cannot be made."""
MOST_INDICES = 32  # of an axis: each is left out of a sum


class Rank(IntEnum):
    """What an edit does: of two that fit, the one that comes first here is told."""

    LEFT_OUT, OPERAND, SIGN, POWER, OTHER, CONSTANT, SIZE, CURIOUS = range(8)


@dataclass(frozen=True, eq=False, slots=True)
class Edit:
    """`changes` holds what some steps give instead; `cause` is made once the edit explains the tensor.

    Tier 0 is a relation of the whole tensor, 1 and 2 an edit of one step, 3 to 5 another tensor in an operand's place,
    6 has a number `fitted` to the tensor. `count` says of how many mistakes it is. Of steps that recur, `starts` holds
    what states start from, made of what the first step takes; `uniform` makes the first steps as all others.
    """

    tier: int
    rank: Rank
    cause: Told
    changes: Mapping[Node, Change]
    fitted: bool = False
    count: int = 1
    starts: Mapping[str, Start] = field(default_factory=dict)
    uniform: bool = False


def is_number(value: Any) -> bool:
    """Whether it is a plain number, as stands in a formula."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_like(one: Node, other: Node) -> bool:
    """Whether two steps give tensors of the same shape and dtype."""
    a, b = one.value, other.value
    return isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape and a.dtype == b.dtype


def inside(segment: Segment, node: Node) -> Node | str:
    """The step that an edit was made in, nothing where it is the tensor."""
    return "" if node is segment.target else node


def says(kind: Callable[..., Cause], *facts: Any) -> Told:
    """A cause of some facts, in which a formula stands for each step."""
    return lambda words: kind(*(_said(words, fact) for fact in facts))


def _said(words: Words, fact: Any) -> Any:
    return words(fact) if isinstance(fact, Node) else fact(words) if callable(fact) else fact


def text(template: str, *of: Any) -> Callable[[Words], str]:
    """A text with the formulas of some steps or numbers in it."""
    return lambda words: template.format(*map(words, of))


def apply(function: Callable[..., Any], *nodes: Any) -> Change:
    """What a function makes of what some steps give."""
    return lambda v: function(*map(v, nodes))


def read(node: Any) -> Change:
    """What a step gives, or a number."""
    return lambda v: v(node)


def redo(node: Node, instead: Mapping[int | str, Change]) -> Change:
    """A step done again with something else in some places, which are positions and keywords."""
    return lambda v: node.done(v, instead)


def where_taken(instead: Mapping[Node, Change], users: Iterable[Node]) -> dict[Node, Change]:
    """Some steps done again with something else in the place of what they take."""
    changes = {}
    for user in users:
        places: dict[int | str, Change] = {}
        places |= {i: instead[of] for i, of in enumerate(user.args) if isinstance(of, Node) and of in instead}
        if places:
            changes[user] = redo(user, places)
    return changes
