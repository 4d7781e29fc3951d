"""Edits of functions entry by entry, comparisons and masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from handgrad.compare.diagnosis.edits.edit import Edit, Function, Rank, Told, apply, inside, is_like, read, says, text
from handgrad.compare.diagnosis.edits.operands import FORMULAS
from handgrad.compare.diagnosis.edits.segment import Change, Segment
from handgrad.compare.facts.causes import DerivativeAt, WrongDerivative
from handgrad.compare.facts.edits import OtherFunction, OtherMask
from handgrad.compare.names import of_gradient
from handgrad.compare.oracle.graph import Node, Values

FUNCTIONS: dict[str, Function] = {
    "exp": torch.exp, "log": torch.log, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu,
    "sqrt": torch.sqrt, "log2": torch.log2, "log10": torch.log10, "abs": torch.abs, "sin": torch.sin, "cos": torch.cos,
    "erf": torch.erf, "log1p": torch.log1p, "expm1": torch.expm1, "reciprocal": torch.reciprocal,
    "sign": torch.sign, "square": torch.square, "silu": F.silu, "softplus": F.softplus,
    "the erf form of gelu": F.gelu, "the tanh form of gelu": lambda x: F.gelu(x, approximate="tanh"),
    "elu": F.elu, "leaky_relu": F.leaky_relu,
}  # fmt: skip
DERIVATIVES: dict[str, Function] = {
    "tanh": FORMULAS["tanh'({})"],
    "sigmoid": FORMULAS["sigmoid'({})"],
    "relu": FORMULAS["[{} > 0]"],
    "gelu": lambda x: 0.5 * (1 + torch.erf(x / 2**0.5)) + x * torch.exp(-x * x / 2) / (2 * torch.pi) ** 0.5,
    "silu": lambda x: torch.sigmoid(x) * (1 + x * (1 - torch.sigmoid(x))),
    "softplus": torch.sigmoid,
    "x sigmoid(1.702 x)": lambda x: torch.sigmoid(1.702 * x) * (1 + 1.702 * x * (1 - torch.sigmoid(1.702 * x))),
}
USUAL = ("exp", "log", "tanh", "sigmoid", "relu", "sqrt", "log2", "log10")
OF_VALUES = {told: FORMULAS[told] for told in ("{0} (1 - {0})", "(1 - {}^2)")}
COMPARISONS: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "gt": (">", torch.gt), "ge": (">=", torch.ge), "lt": ("<", torch.lt),
    "le": ("<=", torch.le), "eq": ("==", torch.eq), "ne": ("!=", torch.ne),
}  # fmt: skip
LIMITS = ("maximum", "minimum", "clamp", "clamp_min", "clamp_max", "hardtanh")
SLOPES = (0.01, 0.1, 0.2)  # of leaky ReLUs


def functions(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """A function left out, another one, applied twice, or of another multiple of its argument."""
    compound = segment.graph.compounds.get(node)
    if compound is not None:
        yield from _functions(node, compound.kind, compound.args[0], 2)
    if node.args:
        yield from _functions(node, node.kind, node.args[0], 4)


def _functions(node: Node, kind: str, of: Any, tier_of_rare: int) -> Iterator[Edit]:
    own = {"gelu": F.gelu, **FUNCTIONS}.get(kind)
    if not isinstance(of, Node) or (own is None and kind not in LIMITS):
        return

    def edit(tier: int, used: str, function: Function, rank: Rank = Rank.OTHER) -> Edit:
        return Edit(tier, rank, says(OtherFunction, used, kind, of), {node: apply(function, of)})

    yield edit(1, "", lambda x: x, Rank.LEFT_OUT)
    if own is None:
        return
    for name, function in FUNCTIONS.items():
        if name != kind:
            yield edit(2 if name in USUAL else tier_of_rare, name, function)
    yield edit(2, "1 - tanh^2", DERIVATIVES["tanh"])
    yield edit(2, f"{kind} of {kind}", lambda x: own(own(x)))
    yield edit(2, f"{kind} of the negative", lambda x: own(-x))
    yield edit(2, f"{kind} of the double", lambda x: own(2 * x))
    yield edit(2, f"{kind} of the half", lambda x: own(x / 2))
    yield edit(2, f"1 - {kind}", lambda x: 1 - own(x))


def derivatives(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """The derivative of another function, or the function itself, at the right place."""
    compound = segment.graph.compounds.get(node, node)
    if not compound.kind.endswith("_backward") or len(compound.args) < 2:
        return
    gradient, of = compound.args[:2]
    if not isinstance(of, Node) or not isinstance(gradient, Node) or not of.value.is_floating_point():
        return
    kind = compound.kind.removesuffix("_backward").replace("threshold", "relu")
    itself = {f"{kind}({{}})": FUNCTIONS[kind]} if kind in FUNCTIONS else {}
    for told, function in (OF_VALUES | itself).items():
        yield _times(node, gradient, of, function, says(WrongDerivative, gradient, text(told, of)))
    for told, function in OF_VALUES.items() if of.args and is_like(of.args[0], of) else ():
        cause = says(WrongDerivative, gradient, text(told, of.args[0]))  # of what the function is of
        yield _times(node, gradient, of.args[0], function, cause)
    for name, derivative in DERIVATIVES.items():
        cause = says(WrongDerivative, gradient, text(f"{name}'({{}})", of))
        if name == kind and of.args:  # the derivative of tanh takes what tanh gives
            cause = says(DerivativeAt, of, of.args[0])
        yield _times(node, gradient, of, derivative, cause)


def of_another_function(segment: Segment) -> Iterator[Edit]:
    """A gradient that is a returned one times the derivative of another function altogether."""
    name = of_gradient(segment.name)
    own = segment.graph.inputs.get(name, segment.graph.outputs.get(name))
    if own is None or not segment.target.value.is_floating_point():
        return
    for gradient in segment.alike(segment.target):
        for used, derivative in DERIVATIVES.items() if gradient.name and of_gradient(gradient.name) else ():
            cause = says(WrongDerivative, gradient, text(f"{used}'({{}})", own))
            yield _times(segment.target, gradient, own, derivative, cause)


def _times(node: Node, gradient: Node, of: Node, function: Function, cause: Told) -> Edit:
    """A gradient times a function of what it is taken at."""
    return Edit(2, Rank.OTHER, cause, {node: lambda v: v(gradient) * function(v(of))})


def losses(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """The squared error where the cross-entropy of two belongs."""
    compound = segment.graph.compounds.get(node)
    if compound is None or compound.kind not in ("binary_cross_entropy", "binary_cross_entropy_with_logits"):
        return
    of, labels = compound.args[:2]
    predicted = apply(torch.sigmoid, of) if compound.kind.endswith("logits") else read(of)

    def squared(v: Values, times: float) -> Any:
        errors = times * (predicted(v) - v(labels)) ** 2
        return errors if node.value.ndim else errors.mean()

    for name, times in {"the squared error": 1.0, "half the squared error": 0.5}.items():
        cause = says(OtherFunction, name, "the cross-entropy", of)
        yield Edit(2, Rank.OTHER, cause, {node: partial(squared, times=times)})


def comparisons(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """A comparison turned, a mask left out, or another slope where it is 0."""
    if node.kind not in COMPARISONS or not isinstance(node.args[0], Node):
        return
    one, other = node.args[:2]

    def edit(tier: int, used: str, change: Change, rank: Rank = Rank.OTHER) -> Edit:
        return Edit(tier, rank, says(OtherMask, text(used, one, other), node), {node: change})

    for name, (symbol, compare) in COMPARISONS.items():
        if name != node.kind:
            yield edit(1, f"[{{}} {symbol} {{}}]", apply(compare, one, other))
    yield edit(1, "", apply(torch.ones_like, node), Rank.LEFT_OUT)
    at_equal = apply(lambda x, y, mask: torch.where(x == y, 0.5, mask.double()), one, other, node)
    yield edit(2, "1/2 where {} = {}", at_equal, Rank.CURIOUS)
    for slope in SLOPES:
        yield edit(2, f"a slope of {slope} where the mask is 0", apply(partial(_sloped, slope=slope), node))
    yield edit(2, "{} itself", read(one))


def _sloped(mask: Tensor, slope: float) -> Tensor:
    return torch.where(mask, 1.0, slope)


def masks(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """A choice between two that takes one everywhere, the other way round, or zeros."""
    if node.kind not in ("where", "masked_fill") or len(node.args) < 3:
        return
    mask, one, other = node.args if node.kind == "where" else (node.args[1], node.args[2], node.args[0])

    def edit(tier: int, used: str, function: Callable[..., Any], rank: Rank = Rank.OTHER) -> Edit:
        cause = says(OtherMask, text(used, mask, one, other), mask, inside(segment, node))
        return Edit(tier, rank, cause, {node: apply(function, mask, one, other)})

    yield edit(1, "{1} everywhere", lambda m, x, y: x, Rank.LEFT_OUT)
    yield edit(1, "{2} everywhere", lambda m, x, y: y, Rank.LEFT_OUT)
    if isinstance(mask, Node) and mask.value.ndim > 1 and mask.value.shape[-1] == mask.value.shape[-2]:
        yield edit(1, "the mask transposed", lambda m, x, y: torch.where(m.mT, x, y))
    yield edit(1, "the opposite", lambda m, x, y: torch.where(m, y, x))
    if isinstance(other, Node) and other.value.is_floating_point():
        yield edit(2, "0 for {1}", lambda m, x, y: torch.where(m, 0.0, y))
    if isinstance(one, Node) and one.value.is_floating_point():
        yield edit(2, "an added mask", lambda m, x, y: x + torch.where(m, 0.0, -1.0))
        yield edit(2, "0 for {2}", lambda m, x, y: torch.where(m, x, 0.0))
