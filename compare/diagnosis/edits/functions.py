"""Edits of functions entry by entry, comparisons and masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from handgrad.compare.diagnosis.edits.edit import (
    CURIOUS,
    LEFT_OUT,
    OTHER,
    POWER,
    Edit,
    Function,
    Words,
    apply,
    inside,
    read,
)
from handgrad.compare.diagnosis.edits.segment import Change, Segment
from handgrad.compare.facts.causes import Cause, DerivativeAt, WrongDerivative
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
    "tanh": lambda x: 1 - torch.tanh(x) ** 2,
    "sigmoid": lambda x: torch.sigmoid(x) * (1 - torch.sigmoid(x)),
    "relu": lambda x: (x > 0).double(),
    "gelu": lambda x: 0.5 * (1 + torch.erf(x / 2**0.5)) + x * torch.exp(-x * x / 2) / (2 * torch.pi) ** 0.5,
    "silu": lambda x: torch.sigmoid(x) * (1 + x * (1 - torch.sigmoid(x))),
    "softplus": torch.sigmoid,
    "x sigmoid(1.702 x)": lambda x: torch.sigmoid(1.702 * x) * (1 + 1.702 * x * (1 - torch.sigmoid(1.702 * x))),
}
USUAL = ("exp", "log", "tanh", "sigmoid", "relu", "sqrt", "log2", "log10")
OF_VALUES: dict[str, Function] = {"{0} (1 - {0})": lambda a: a * (1 - a), "(1 - {0}^2)": lambda a: 1 - a * a}
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
        yield from _functions(segment, node, compound.kind, compound.args[0], 2)
    if node.args:
        yield from _functions(segment, node, node.kind, node.args[0], 4)


def _functions(segment: Segment, node: Node, kind: str, of: Any, tier_of_rare: int) -> Iterator[Edit]:
    if not isinstance(of, Node):
        return

    def edit(tier: int, used: str, function: Function, rank: int = OTHER) -> Edit:
        return Edit(tier, rank, lambda w: OtherFunction(used, kind, w(of)), {node: apply(function, of)})

    if kind in LIMITS:
        yield edit(1, "", lambda x: x, LEFT_OUT)
    own = {"gelu": F.gelu, **FUNCTIONS}.get(kind)
    if own is None:
        return
    yield edit(1, "", lambda x: x, LEFT_OUT)
    for name, function in FUNCTIONS.items():
        if name != kind:
            yield edit(2 if name in USUAL else tier_of_rare, name, function)
    yield edit(2, "1 - tanh^2", DERIVATIVES["tanh"])
    yield edit(2, f"{kind} of {kind}", lambda x: own(own(x)))
    yield edit(2, f"{kind} of the negative", lambda x: own(-x))
    yield edit(2, f"{kind} of the double", lambda x: own(2 * x))
    yield edit(2, f"{kind} of the half", lambda x: own(x / 2))
    yield edit(2, f"1 - {kind}", lambda x: 1 - own(x))
    if kind == "log1p":
        yield edit(2, "the logarithm to base 2 of 1 +", lambda x: torch.log2(1 + x))
    if kind == "sqrt":
        yield edit(2, "the cube root", lambda x: x ** (1 / 3), POWER)


def derivatives(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """The derivative of another function, or the function itself, at the right place."""
    compound = segment.graph.compounds.get(node, node)
    if not compound.kind.endswith("_backward") or len(compound.args) < 2:
        return
    gradient, of = compound.args[:2]
    if not isinstance(of, Node) or not isinstance(gradient, Node) or not of.value.is_floating_point():
        return
    kind = compound.kind.removesuffix("_backward").replace("threshold", "relu")
    for name in DERIVATIVES:
        yield _derivative(node, gradient, of, kind, name)
    itself = {f"{kind}({{0}})": FUNCTIONS[kind]} if kind in FUNCTIONS else {}
    for told, function in (OF_VALUES | itself).items():
        yield _of_value(node, gradient, of, told, function)


def of_another_function(segment: Segment) -> Iterator[Edit]:
    """A gradient that is a returned one times the derivative of another function altogether."""
    name = of_gradient(segment.name)
    own = segment.graph.inputs.get(name, segment.graph.outputs.get(name))
    if own is None or not segment.target.value.is_floating_point():
        return
    for gradient in segment.alike(segment.target):
        if gradient.name and of_gradient(gradient.name):
            for used in DERIVATIVES:
                yield _derivative(segment.target, gradient, own, "", used)


def _of_value(node: Node, gradient: Node, of: Node, told: str, function: Function) -> Edit:
    change = {node: lambda v: v(gradient) * function(v(of))}
    return Edit(2, OTHER, lambda w: WrongDerivative(w(gradient), told.format(w(of))), change)


def _derivative(node: Node, gradient: Node, of: Node, kind: str, name: str) -> Edit:
    derivative = DERIVATIVES[name]

    def change(v: Values) -> Any:
        return v(gradient) * derivative(v(of))

    def cause(words: Words) -> Cause:
        if name == kind and of.args:  # the derivative of tanh takes what tanh gives
            return DerivativeAt(words(of), words(of.args[0]))
        return WrongDerivative(words(gradient), f"{name}'({words(of)})")

    return Edit(2, OTHER, cause, {node: change})


def losses(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """The squared error where the cross-entropy of two belongs."""
    compound = segment.graph.compounds.get(node)
    if compound is None or compound.kind not in ("binary_cross_entropy", "binary_cross_entropy_with_logits"):
        return
    of, labels = compound.args[:2]
    is_of_p = compound.kind == "binary_cross_entropy"
    for name, times in {"the squared error": 1.0, "half the squared error": 0.5}.items():
        yield _squared(node, of, labels, is_of_p, name, times)


def _squared(node: Node, of: Node, labels: Node, is_of_p: bool, name: str, times: float) -> Edit:
    def change(v: Values) -> Any:
        errors = times * ((v(of) if is_of_p else v(of).sigmoid()) - v(labels)) ** 2
        return errors if node.value.ndim else errors.mean()

    return Edit(2, OTHER, lambda w: OtherFunction(name, "the cross-entropy", w(of)), {node: change})


def comparisons(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """A comparison turned, a mask left out, or another slope where it is 0."""
    if node.kind not in COMPARISONS or not isinstance(node.args[0], Node):
        return
    one, other = node.args[:2]

    def edit(tier: int, used: str, change: Change, rank: int = OTHER) -> Edit:
        return Edit(tier, rank, lambda w: OtherMask(used.format(w(one), w(other)), w(node)), {node: change})

    def compared(name: str) -> Edit:
        symbol, compare = COMPARISONS[name]
        return edit(1, f"[{{0}} {symbol} {{1}}]", lambda v: compare(v(one), v(other)))

    def sloped(slope: float) -> Edit:
        mask = apply(lambda x: torch.where(x, 1.0, slope), node)
        return edit(2, f"a slope of {slope} where the mask is 0", mask)

    yield from (compared(name) for name in COMPARISONS if name != node.kind)
    yield edit(1, "", apply(torch.ones_like, node), LEFT_OUT)
    yield edit(2, "1/2 where {0} = {1}", lambda v: torch.where(v(one) == v(other), 0.5, v(node).double()), CURIOUS)
    yield from map(sloped, SLOPES)
    yield edit(2, "{0} itself", read(one))


def masks(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """A choice between two that takes one everywhere, the other way round, or zeros."""
    if node.kind not in ("where", "masked_fill") or len(node.args) < 3:
        return
    mask, one, other = node.args if node.kind == "where" else (node.args[1], node.args[2], node.args[0])

    def edit(tier: int, used: str, change: Change, rank: int = OTHER) -> Edit:
        def cause(words: Words) -> Cause:
            text = used.format(words(mask), words(one), words(other))
            return OtherMask(text, words(mask), inside(segment, node, words))

        return Edit(tier, rank, cause, {node: change})

    def spread(value: Any) -> Tensor:
        return value.expand(node.value.shape) if isinstance(value, Tensor) else torch.full_like(node.value, value)

    yield edit(1, "{1} everywhere", apply(spread, one), LEFT_OUT)
    yield edit(1, "{2} everywhere", apply(spread, other), LEFT_OUT)
    if isinstance(mask, Node) and mask.value.ndim > 1 and mask.value.shape[-1] == mask.value.shape[-2]:
        yield edit(1, "the mask transposed", lambda v: torch.where(v(mask).mT, v(one), v(other)))
    yield edit(1, "the opposite", lambda v: torch.where(v(mask), v(other), v(one)))
    if isinstance(other, Node) and other.value.is_floating_point():
        yield edit(2, "0 for {1}", lambda v: torch.where(v(mask), 0.0, v(other)))
    if isinstance(one, Node) and one.value.is_floating_point():
        yield edit(2, "an added mask", lambda v: v(one) + torch.where(v(mask), 0.0, -1.0))
        yield edit(2, "0 for {2}", lambda v: torch.where(v(mask), v(one), 0.0))
