"""Edits of convolutions and of their backward passes: kernels, settings, borders, windows that overlap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from handgrad.compare.diagnosis.edits.edit import Edit, Function, Rank, apply, read, redo, says
from handgrad.compare.diagnosis.edits.segment import Change, Segment
from handgrad.compare.facts.edits import KernelSetting, OtherKernel, RowsOverwritten
from handgrad.compare.oracle.graph import Node, Values

KERNELS: dict[str, Function] = {
    "turned": lambda x: x.flip([*range(2, x.ndim)]),
    "transposed": lambda x: x.transpose(-1, -2),
    "flipped": lambda x: x.flip(-1),
    "flipped-first": lambda x: x.flip(-2),
    "channels": lambda x: x.transpose(0, 1),
}
SETTINGS = {3: "stride", 4: "padding", 5: "dilation"}
MOST_SETTING = 3
BORDERS = {"replicate": "the edge's values", "reflect": "a reflection", "circular": "the other end"}
OF_THE_CUT = "first place that is kept of the padded gradient"  # a setting
MOST_WINDOWS = 256


def convolutions(segment: Segment, node: Node, numbers: Mapping[float, str]) -> Iterator[Edit]:
    """Operands turned, flipped or transposed, other strides, paddings, dilations and borders."""
    if node.kind not in ("convolution", "convolution_backward"):
        return
    for i, each in enumerate(node.args[:3]):
        if isinstance(each, Node) and each.value.ndim >= 3:
            for how, function in KERNELS.items():
                yield Edit(1, Rank.OTHER, says(OtherKernel, each, how), {node: redo(node, {i: apply(function, each)})})
    yield from _forward(node) if node.kind == "convolution" else _backward(node)


def _other_setting(node: Node, setting: str, value: int | str, due: Sequence[Any], change: Change) -> Edit:
    cause = says(KernelSetting, setting, value, " and ".join(map(str, dict.fromkeys(due))))
    return Edit(2, Rank.OTHER, cause, {node: change})


def _forward(node: Node) -> Iterator[Edit]:
    for place, setting in SETTINGS.items():
        for value in range(MOST_SETTING + 1):
            if any(used != value for used in node.args[place]):
                other = [value] * len(node.args[place])
                yield _other_setting(node, setting, value, node.args[place], redo(node, {place: read(other)}))
    padding = node.args[4]
    for more in (1, -1, *({max(padding), -max(padding)} - {1, -1})):
        before, after = ([by + sign * more for by in padding] for sign in (1, -1))
        told = f"{max(before)} before and {max(after)} after"
        if min(*before, *after) >= 0:
            yield _other_setting(node, "padding", told, padding, _with_padding(node, before, after))
    for mode, told in BORDERS.items() if any(padding) else ():
        around = apply(partial(F.pad, pad=_around(padding, padding), mode=mode), node.args[0])
        change = redo(node, {0: around, 4: read([0] * len(padding))})
        yield _other_setting(node, "padding", told, ["zeros"], change)


def _backward(node: Node) -> Iterator[Edit]:
    """Windows elsewhere than forward, another cut of the padding, sums that are overwritten."""
    stride, padding, dilation = node.args[4:7]
    if node.args[7]:  # transposed
        return
    for value in range(1, max(stride)):
        yield _other_setting(node, "stride", value, stride, _with_windows(node, padding, stride=[value] * len(stride)))
    for value in range(1, max(dilation)):
        closer = _with_windows(node, padding, dilation=[value] * len(dilation))
        yield _other_setting(node, "dilation", value, dilation, closer)
    for axis, by in enumerate(padding):
        for times in (0, 2) if by else ():
            first = [*padding[:axis], times * by, *padding[axis + 1 :]]
            yield _other_setting(
                node, f"{OF_THE_CUT} along axis {axis + 2}", times * by, [by], _with_windows(node, first)
            )
    for times in (0, 2) if sum(by > 0 for by in padding) > 1 else ():
        first = [times * by for by in padding]
        yield _other_setting(node, OF_THE_CUT, max(first), padding, _with_windows(node, first))
    if node.args[10][0]:  # the gradient of the input is asked for
        yield Edit(2, Rank.OTHER, says(RowsOverwritten), {node: _overwritten(node)})


def _around(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """Numbers at the two ends of the axes, as F.pad takes them: from the last axis on."""
    return [by for pair in zip(before[::-1], after[::-1], strict=True) for by in pair]


def _with_padding(node: Node, before: Sequence[int], after: Sequence[int]) -> Change:
    """The convolution with other paddings at the two ends; those of a transposed one are cut from the result."""
    none = [0] * len(before)

    def change(v: Values) -> Any:
        x, kernel, bias, *settings = (v(each) for each in node.args)
        settings[1] = none
        if node.args[6]:
            whole = node.operation(x, kernel, bias, *settings)
            return _cut(whole, before, node.value.shape[2:])
        return node.operation(F.pad(x, _around(before, after)), kernel, bias, *settings)

    return change


def _cut(x: Tensor, first: Sequence[int], sizes: Sequence[int]) -> Tensor:
    for axis, (i, n) in enumerate(zip(first, sizes, strict=True), x.ndim - len(sizes)):
        x = x.narrow(axis, i, n)
    return x


def _with_windows(node: Node, first: Sequence[int], stride: Sequence[int] = (), dilation: Sequence[int] = ()) -> Change:
    """The backward pass with windows at another stride or dilation, the padded gradient cut from some places on.

    Where windows lie closer the end of the input is not reached.
    """
    stride, padding, dilation = stride or node.args[4], node.args[5], dilation or node.args[6]

    def change(v: Values) -> Any:
        gradient, x, kernel = (v(each) for each in node.args[:3])
        padded = F.pad(x, _around(padding, padding))
        sizes = zip(gradient.shape[2:], kernel.shape[2:], stride, dilation, strict=True)
        reached = [(n - 1) * step + by * (k - 1) + 1 for n, k, step, by in sizes]
        zeros = [0] * len(reached)
        settings = (node.args[3], [*stride], zeros, [*dilation], *node.args[7:])
        of_x, *others = node.operation(gradient, _cut(padded, zeros, reached), kernel, *settings)
        beyond = [n - m for n, m in zip(padded.shape[2:], reached, strict=True)]
        whole = None if of_x is None else F.pad(of_x, _around(zeros, beyond))
        return [None if whole is None else _cut(whole, first, x.shape[2:]), *others]

    return change


def _overwritten(node: Node) -> Change:
    """The backward pass where an entry in several windows has the gradient of the last alone."""

    def change(v: Values) -> Any:
        gradient, x, kernel = (v(each) for each in node.args[:3])
        windows = gradient[0, 0].numel()
        if windows > MOST_WINDOWS:
            raise ValueError(f"{windows} windows are too many to be done one after another")
        of_x = torch.zeros_like(x)
        for window in torch.eye(windows, dtype=x.dtype).reshape(windows, *gradient.shape[2:]):
            given = node.operation(gradient * window, x, kernel, *node.args[3:])[0]
            within = node.operation(window.expand_as(gradient), x, torch.ones_like(kernel), *node.args[3:])[0]
            of_x = torch.where(within != 0, given, of_x)
        return [of_x, *v(node)[1:]]

    return change
