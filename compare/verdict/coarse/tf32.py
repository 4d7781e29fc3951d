"""Whether a function does its products in TF32: then it is off by what operands do that are cut off, or rounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from handgrad.compare.oracle.coarse.evaluation import evaluate
from handgrad.compare.oracle.coarse.formats import FORMATS, TF32
from handgrad.compare.oracle.coarse.roundings import HALF, ShortOperands
from handgrad.compare.thresholds import LIKE_TF32, OF_TENSOR, SURE_OF_TF32
from handgrad.compare.verdict.coarse.case import Case, case_of
from handgrad.compare.verdict.coarse.deviation import LEAST
from handgrad.compare.verdict.coarse.rule import suspect


def or_in_tf32(case: Case, kernels: Mapping[int, Sequence[Tensor]]) -> Case:
    """The case where products are in TF32, if any tensor that is off in float32 shows that; else the case itself.

    Whatever else is wrong, with that tensor or another, does not hide it.
    """
    if case.format != FORMATS["float32"]:
        return case
    exact, off = case.exact, [i for i, tensors in kernels.items() if suspect(case, i, tensors).verdict != "OK"]
    plain = {i: _flat([results[i] for results in exact.results]) for i in off}
    for added in (0, HALF) if off else ():
        made = [evaluate(exact.reference, draw, ShortOperands(added)) for draw in exact.draws]
        short = {i: _flat([results[i] for results in made]) for i in off}
        if any(_is_like(_flat(kernels[i]) - plain[i], short[i] - plain[i], plain[i]) for i in off):
            return case_of(exact, TF32)
    return case


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    """One tensor of all draws, as a vector."""
    return torch.cat([t.double().reshape(-1) for t in tensors])


def _is_like(difference: Tensor, due: Tensor, plain: Tensor) -> bool:
    """Whether a difference from a tensor correlates with the one that is due, by more than chance, and is of its size.

    Entries that are due to move count alike, and the part along the tensor, which any factor has, is left out.
    """
    weights = 1 / (due.abs() + OF_TENSOR * due.abs().mean()).clamp(min=LEAST)
    along = torch.nn.functional.normalize(weights * plain, dim=0)
    a, b = (weights * d - along.dot(weights * d) * along for d in (difference, due))
    count = b.square().sum() ** 2 / b.pow(4).sum().clamp(min=LEAST)
    share = (a.dot(b) / (a.norm() * b.norm()).clamp(min=LEAST)).square()
    is_more_than_chance = share * (count - 2) > SURE_OF_TF32**2 * (1 - share)  # two numbers without a factor are one
    return bool(is_more_than_chance and (a - b / 2).norm() < LIKE_TF32 * a.norm())
