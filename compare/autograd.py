"""What autograd's graph tells of the code that made it: plain sums, and ReLUs whose inputs have one sign."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode

PASSING = {
    "View",
    "Reshape",
    "UnsafeView",
    "Clone",
    "Alias",
    "Squeeze",
    "Unsqueeze",
    "T",
    "Transpose",
    "Permute",
    "ToCopy",
    "_Tap",
}
"""Operations that hand on the numbers they get, by the names of their nodes."""

WEIGHING = {"Pow", "Div", "Abs", "KlDiv", "LinalgVectorNorm"}
LOSSES = ("Loss", "CrossEntropy")  # parts of names
"""Operations whose sum is no plain one, beside a product with a constant and a square."""


def _signs_of_result(node: Any) -> Tensor:
    return node._saved_result > 0  # type: ignore[no-any-return]  # torch annotates no node


def _signs_of_self(node: Any) -> Tensor:
    return node._saved_self > 0  # type: ignore[no-any-return]  # as above


def _signs_where_clamped(node: Any) -> Tensor | None:
    low = next(getattr(node, name) for name in LOWEST if hasattr(node, name))
    return _signs_of_self(node) if low == 0 else None


LOWEST = ("_saved_min", "_saved_min_val", "_saved_threshold")  # what a node keeps the bound below as


def _signs_of_maximum(node: Any) -> Tensor | None:
    for ours, other in ((node._saved_self, node._saved_other), (node._saved_other, node._saved_self)):
        if not bool(other.any()):
            return ours > 0  # type: ignore[no-any-return]  # as above
    return None


SIGNS: dict[str, Callable[[Any], Tensor | None]] = {
    "ReluBackward0": _signs_of_result,
    "LeakyReluBackward0": _signs_of_self,
    "LeakyReluBackward1": _signs_of_result,
    "PreluKernelBackward0": _signs_of_self,
    "RreluWithNoiseBackward0": _signs_of_self,
    "EluBackward0": _signs_of_self,
    "CeluBackward0": _signs_of_self,
    "AbsBackward0": _signs_of_self,
    "HardtanhBackward0": _signs_where_clamped,
    "ThresholdBackward0": _signs_where_clamped,
    "ClampMinBackward0": _signs_where_clamped,
    "ClampBackward1": _signs_where_clamped,
    "MaximumBackward0": _signs_of_maximum,
}
"""Where the input of what has a kink at 0 is positive, by the name of its node; None if its kink is elsewhere."""


def absent_sign(node: Any) -> str:
    """The sign, "negative" or "positive", that no input of a ReLU has; "" where both occur or the node is none."""
    signs = SIGNS.get(type(node).__name__)
    if signs is None:
        return ""
    try:
        positive = signs(node)
    except (RuntimeError, AttributeError):  # changed in place since, or kept elsewhere: nothing is known of it
        return ""
    if positive is None or not positive.numel():
        return ""
    if bool(positive.all()):
        return "negative"
    return "" if bool(positive.any()) else "positive"


STARTS = {
    Tensor.backward: "gradient",
    torch.autograd.backward: "grad_tensors",
    torch.autograd.grad: "grad_outputs",
}
"""Where autograd is started, and the name of what it is handed there in place of ones."""


class Starts(TorchFunctionMode):
    """While entered, sees autograd started with ones; `upstream` is why that is all that somebody's Function gets."""

    upstream = ""

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the function after a look at it."""
        kwargs = kwargs or {}
        if func in STARTS and _is_of_ones(kwargs.get(STARTS[func])):
            ends = args[0] if isinstance(args[0], tuple) else args[:1]
            self.upstream = next(filter(None, map(unit_upstream, ends)), self.upstream)
        return func(*args, **kwargs)


def _is_of_ones(given: Any) -> bool:
    """Whether what autograd is started with is 1 everywhere, as it is where nothing is given."""
    tensors = given if isinstance(given, (tuple, list)) else (given,)
    return all(tensor is None or bool((tensor == 1).all()) for tensor in tensors)


def unit_upstream(J: Tensor) -> str:
    """Why the upstream gradient of an autograd.Function that somebody wrote is 1: "loss", "sum"; "" where it is not."""
    if isinstance(_behind(J.grad_fn), BackwardCFunction):
        return "loss" if J.numel() == 1 else "sum"
    return "sum" if is_plain_sum(J) and _has_a_function(J.grad_fn) else ""


def _has_a_function(node: Any) -> bool:
    """Whether an autograd.Function that somebody wrote is among the steps that lead to a node, itself included."""
    pending, seen = [node], {None}
    while pending:
        node = pending.pop()
        if isinstance(node, BackwardCFunction):
            return True
        if node not in seen:
            seen.add(node)
            pending += [parent for parent, _ in node.next_functions]
    return False


def is_plain_sum(J: Tensor) -> bool:
    """Whether J is the sum of something that is no loss, and weighed with nothing: the upstream gradient of it is 1."""
    node, summed = _behind(J.grad_fn), False
    while node is not None and _kind(node) == "Sum":
        node, summed = _behind(node.next_functions[0][0]), True
    return summed and node is not None and not _weighs(node)


def _weighs(node: Any) -> bool:
    """Whether what a node makes is a loss or weighed, or a term of it is."""
    kind, parents = _kind(node), [parent for parent, _ in node.next_functions]
    if kind == "Mul":
        return None in parents or parents[0] is parents[1]
    if kind in ("Add", "Sub", "Neg"):
        return any(_weighs(_behind(parent)) for parent in parents if parent is not None)
    return kind in WEIGHING or any(part in kind for part in LOSSES)


def _behind(node: Any) -> Any:
    """The node behind those that hand on the numbers they get."""
    while node is not None and _kind(node) in PASSING and node.next_functions:
        node = node.next_functions[0][0]
    return node


def _kind(node: Any) -> str:
    """The name of a node's operation."""
    return type(node).__name__.partition("Backward")[0]
