"""Steps as formulas: infix, with the names that they have, as deep as fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from handgrad.compare.diagnosis.edits.segment import Segment
from handgrad.compare.oracle.graph import Compound, Node

DEPTHS = (8, 6, 5, 4, 3, 2)
SHORT = 5  # characters of a number that is not told as the ratio of two sizes
LONGEST = 80  # characters of a formula, if fewer steps of it say enough
SUM, PRODUCT, UNARY, ATOM = range(4)  # how tightly a formula holds together
FORMS = {  # by the kind of step: its text, how tightly each operand must hold together, and how tightly it does
    "add": ("{0} + {1}", (SUM, SUM), SUM), "sub": ("{0} - {1}", (SUM, PRODUCT), SUM),
    "rsub": ("{1} - {0}", (PRODUCT, SUM), SUM), "mul": ("{0} * {1}", (PRODUCT, PRODUCT), PRODUCT),
    "square": ("{0}^2", (ATOM,), UNARY), "pow": ("{0}^{1}", (ATOM, ATOM), UNARY), "neg": ("-{0}", (PRODUCT,), UNARY),
    "div": ("{0} / {1}", (PRODUCT, UNARY), PRODUCT), "reciprocal": ("1 / {0}", (UNARY,), PRODUCT),
    **dict.fromkeys(("mm", "bmm", "mv", "dot"), ("{0} @ {1}", (UNARY, UNARY), PRODUCT)),
    **dict.fromkeys(("t", "transpose", "permute"), ("{0}^T", (ATOM,), UNARY)),
    **dict.fromkeys(("select", "slice", "getitem", "index"), ("{0}[...]", (ATOM,), ATOM)),
    "gt": ("[{0} > {1}]", (SUM, SUM), ATOM), "ge": ("[{0} >= {1}]", (SUM, SUM), ATOM),
    "lt": ("[{0} < {1}]", (SUM, SUM), ATOM), "le": ("[{0} <= {1}]", (SUM, SUM), ATOM),
    "eq": ("[{0} == {1}]", (SUM, SUM), ATOM), "ne": ("[{0} != {1}]", (SUM, SUM), ATOM),
}  # fmt: skip
THROUGH = {
    "view", "_unsafe_view", "reshape", "expand", "unsqueeze", "squeeze", "_to_copy", "view_as", "alias", "detach",
    "clone", "copy", "written", "contiguous",
}  # fmt: skip
NAMED = {
    "_softmax": "softmax", "_log_softmax": "log_softmax", "gelu": "gelu", "silu": "silu", "softplus": "softplus",
    "logsumexp": "logsumexp", "var": "var", "std": "std", "elu": "elu", "normalised": "normalised", "rstd": "1/std",
}  # fmt: skip
REDUCTIONS = {"sum": "sum", "mean": "mean", "amax": "max", "amin": "min", "prod": "product", "cumsum": "cumulative sum"}


def _is_one_number(node: Node) -> bool:
    value = node.value
    return isinstance(value, Tensor) and bool(value.numel()) and bool((value == value.reshape(-1)[0]).all())


def _holds_nodes(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and any(isinstance(each, Node) for each in value)


def _of_view(node: Node) -> Any:
    return node.args[-1 if node.kind in ("copy", "written") else 0]


def shown(node: Node) -> Node:
    """The step whose result a copy or a view shows."""
    while node.kind in THROUGH:
        node = _of_view(node)
    return node


def _number(text: str) -> tuple[str, int]:
    """The name or the digits of a number, and how tightly that holds together: 1/5, 3^2, -7 or 2.5."""
    return text, PRODUCT if "/" in text else UNARY if "^" in text or text[:1] == "-" else ATOM


class Formulas:
    """Formulas of the steps of a segment, each made once."""

    def __init__(self, segment: Segment, numbers: Mapping[float, str]) -> None:
        """`numbers` are the names of numbers."""
        self.segment, self.numbers = segment, numbers
        self.names = {**segment.graph.variables, **segment.labels}
        self.names.pop(segment.target, None)
        self._made: dict[Node, str] = {}

    def __call__(self, value: Any) -> str:
        """A step by its name, or else as the deepest formula that is not too long; a number by name or digits."""
        if not isinstance(value, Node):
            return self.number(value)
        if value in self.names:
            return self.names[value]
        if value not in self._made:
            texts = (self._at(value, depth)[0] for depth in DEPTHS)
            self._made[value] = next((text for text in texts if len(text) <= LONGEST), self._at(value, DEPTHS[-1])[0])
        return self._made[value]

    def number(self, value: Any) -> str:
        """A number by the name that it has, or its digits."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return str(value)
        if value == int(value if abs(value) < 1e15 else 0) and abs(value) <= 2:
            return str(int(value))
        if -value in self.numbers:
            return f"-{self.numbers[-value]}"
        digits = f"{value:.6g}"
        name = self.numbers.get(float(value), digits)
        return digits if "/" in name and name[:2] != "1/" and len(digits) < SHORT else name  # 1.5 rather than 6/4

    def _at(self, value: Any, depth: int) -> tuple[str, int]:
        """A formula as deep as told, and how tightly it holds together."""
        if isinstance(value, (list, tuple)):
            return ", ".join(self._at(each, depth)[0] for each in value), ATOM
        if not isinstance(value, Node):
            return _number(self.number(value))
        if value in self.names:
            return self.names[value], ATOM
        if value.operation is None or (value in self.segment.constants and _is_one_number(value)):
            return _number(self._constant(value))
        compound = self.segment.graph.compounds.get(value)
        if compound is not None and compound.kind in NAMED and depth < DEPTHS[0]:
            return self._compound(compound, depth), ATOM
        return ("...", ATOM) if depth == 0 else self._step(value, depth)

    def _compound(self, compound: Compound, depth: int) -> str:
        """A function by its name, with the axis that it is along."""
        axis = compound.args[1] if len(compound.args) > 1 else None
        axes = [axis] if isinstance(axis, int) and not isinstance(axis, bool) else axis
        along = f"; axis {', '.join(map(str, axes))}" if isinstance(axes, list) and axes else ""
        return f"{NAMED[compound.kind]}({self._at(compound.args[0], max(depth - 1, 0))[0]}{along})"

    def _constant(self, node: Node) -> str:
        value = node.value
        if _is_one_number(node):
            return self.number(value.reshape(-1)[0].item())
        is_index = value.ndim == 1 and bool((value == torch.arange(len(value))).all())
        return "index" if is_index else "a constant"

    def _step(self, node: Node, depth: int) -> tuple[str, int]:
        kind, args = node.kind, node.args

        def text(value: Any, tight: int = SUM) -> str:
            formula, held = self._at(value, depth - 1)
            return formula if held >= tight else f"({formula})"

        alpha = node.kwargs.get("alpha", 1)
        if alpha != 1 and kind in ("add", "sub", "rsub"):
            one, other = args[1::-1] if kind == "rsub" else args[:2]
            return f"{text(one)} {'+' if kind == 'add' else '-'} {self.number(alpha)} * {text(other, PRODUCT)}", SUM
        form = FORMS.get("square" if kind == "mul" and args[0] is args[1] else kind)
        if form is not None:
            template, tightness, held = form
            return template.format(*map(text, args, tightness)), held
        if kind in THROUGH:
            return self._at(_of_view(node), depth)
        if kind in REDUCTIONS:
            axes = args[1] if len(args) > 1 and args[1] not in ([], None) else ()
            axes = [axes] if isinstance(axes, int) else axes
            along = f"; axis {', '.join(map(str, axes))}" if axes else ""
            return f"{REDUCTIONS[kind]}({text(args[0])}{along})", ATOM
        shown = [text(each) for each in args if isinstance(each, Node) or _holds_nodes(each)]
        return f"{kind.strip('_')}({', '.join(shown)})", ATOM
