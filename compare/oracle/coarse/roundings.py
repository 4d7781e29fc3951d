"""A reference with the roundings of a coarse format, as a kernel makes them that stores in it and adds in float32.

Every result that is stored is off by one rounding; sums, and what is inside of a compound operation, by those of
float32. A kernel may add in parts that it stores: a product or a sum is off by half a rounding of the root of its
squared terms as well, cancel as they may: of a sum, that is the same sum of its terms times random numbers. It may
compute a product again where it needs it again: everything that reads a product, or what was made of it, sees it off by
a draw of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import torch
from torch import Tensor

from handgrad.compare.oracle.coarse.following import Following
from handgrad.compare.oracle.coarse.formats import Format
from handgrad.compare.oracle.kernels import contracted, name_of
from handgrad.compare.oracle.noise import floating, mapped
from handgrad.compare.thresholds import EXP_ROUNDINGS, FEW_ROUNDINGS, SUBNORMAL_PARTS

PRODUCTS = ("mm", "bmm", "mv", "dot", "convolution", "convolution_backward")
PUTS = ("index_put", "_unsafe_index_put")
EXPONENTIALS = ("exp", "exp2", "expm1")
TABLE = 2**20  # random numbers that are drawn once: drawing them anew is a third of the time of a check
PASSING = ("clone", "neg", "_to_copy", "tril", "triu", "relu")  # what is made of a tag by what was made of a product


class Roundings(Following):
    """While entered, everything that inputs reach is off by the roundings of a format, drawn from a seed."""

    def __init__(self, format: Format, seed: int) -> None:
        """Nothing is drawn from torch's own generator."""
        super().__init__()
        self.format = format
        self._random = Random(seed)
        self._tags = dict[int, Tensor]()  # by its memory, how far another computation of a tensor may be off, squared

    def copied(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A copy of what may be computed again may be so too."""
        result = func(*args, **kwargs)
        name = name_of(func)
        if not self._tags or not isinstance(result, Tensor) or not args:
            return result
        if name in PASSING and (tag := self._tag(args[0])) is not None and tag.shape == result.shape:
            self._tagged(result, tag if name == "relu" else func(tag, *args[1:], **kwargs).abs())
        elif name == "masked_fill" and (tag := self._tag(args[0])) is not None:
            self._tagged(result, tag.masked_fill(args[1], 0.0))
        elif name == "where" and len(args) == 3 and (tag := self._tag(args[1])) is not None:
            self._tagged(result, torch.where(args[0], tag, torch.zeros_like(tag)))
        return result

    def stored(self, result: Any) -> Any:
        """Off by one rounding, and still by what another computation may be off."""

        def store(t: Tensor) -> Tensor:
            tag, off = self._tag(t), self._off(t, self.format.stored)
            if tag is not None:
                self._tagged(off, tag)
            return off

        return mapped(result, store)

    def step(self, kind: str, func: Any, args: Any, kwargs: Any) -> Any:
        """Do a step on operands as a kernel has them, and round what it gives."""
        name = name_of(func)
        if name in PUTS and not (len(args) > 3 and args[3]):
            return func(*args, **kwargs)
        if self.format.truncated and name in PRODUCTS:
            args = mapped(args, self._truncated)
        tags = [self._tag(each) if isinstance(each, Tensor) else None for each in args]
        args = tuple(each if tag is None else self._again(each, tag) for each, tag in zip(args, tags, strict=True))
        if kind == "opaque":
            args = mapped(args, lambda t: self._off(t, self._unit))
        result = func(*args, **kwargs)
        if not [*floating(result)]:
            return result
        if name in ("mul", "div") and not isinstance(args[1], Tensor) and args[1] == 1:  # as in torch's own addmm
            self._pass_on(name, args, tags, result)
            return result
        if kind == "sum":
            return self._summed(func, name, (args, kwargs), result)
        off = mapped(result, lambda t: self._off(t, self._roundings(kind, name, t)))
        if isinstance(off, Tensor):
            self._pass_on(name, args, tags, off)
        return off

    @property
    def _unit(self) -> float:
        """The unit roundoff here: what is inside of a compound operation is not stored."""
        return self.format.accumulated if self.within else self.format.stored

    def _roundings(self, kind: str, name: str, t: Tensor) -> float | Tensor:
        """How far the result of a step is off, as a share."""
        accumulated = self.format.accumulated
        if kind == "several":
            return self._unit + accumulated * (EXP_ROUNDINGS if name in EXPONENTIALS else FEW_ROUNDINGS)
        if kind == "power":
            return self._unit + accumulated * (2 + torch.nan_to_num(t.abs().log(), 0.0, 0.0, 0.0).abs())
        return self._unit * (2 if kind in ("opaque", "transform") else 1)

    def _summed(self, func: Any, name: str, given: Any, result: Any) -> Any:
        """A sum of products, or of terms: off by roundings of its terms, whatever they cancel to."""
        args, kwargs = given
        absolute = floating(func(*mapped(args, lambda t: t.abs()), **kwargs))
        is_product, stored = name in PRODUCTS, 0.5 * (0.0 if self.within else self.format.stored)
        floor = 0.0 if self.within else SUBNORMAL_PARTS * self.format.smallest
        squares = floating(func(*mapped(args, lambda t: t * t), **kwargs)) if is_product else iter(())
        is_split = not is_product and stored > 0
        parts = floating(func(*mapped(args, lambda t: self._normal(t).mul(t)), **kwargs)) if is_split else iter(())

        def off(t: Tensor) -> Tensor:
            each = 0.5 * self.format.accumulated * math.sqrt(_terms(name, args, t)) * next(absolute).abs()
            root = next(squares).abs().sqrt() if is_product else torch.zeros_like(each)
            total = self._again(t, (torch.hypot(each, stored * root) + floor).reshape(t.shape))
            total = self._off(total.add_(next(parts).reshape(t.shape), alpha=stored) if is_split else total, self._unit)
            if is_product:
                self._tagged(total, torch.hypot(each, 0.5 * self.format.unit * root).reshape(t.shape))
            return total

        return mapped(result, off)

    # --- what may be computed again

    def _tag(self, t: Any) -> Tensor | None:
        """How far another computation of a tensor may be off, where it is made of a product; of a view, its part."""
        if not isinstance(t, Tensor) or not t.is_floating_point() or not self._tags:
            return None
        tag = self._tags.get(t.untyped_storage().data_ptr())
        if tag is None:
            return None
        return tag.as_strided(t.shape, t.stride(), t.storage_offset())

    def _tagged(self, t: Tensor, deviation: Tensor) -> None:
        """Note that, laid out in memory as the tensor is."""
        size = t.untyped_storage().nbytes() // t.element_size()
        tag = torch.zeros(size, dtype=t.dtype, device=t.device)
        tag.as_strided(t.shape, t.stride(), t.storage_offset()).copy_(deviation)
        self._tags[t.untyped_storage().data_ptr()] = tag
        self._kept.append(t)

    def _again(self, t: Tensor, tag: Tensor) -> Tensor:
        return self._normal(t).mul(tag).add_(t)

    def _pass_on(self, name: str, args: Any, tags: Any, result: Tensor) -> None:
        """What is made of something that may be computed again may be so too."""
        first = tags[0] if tags else None
        second = tags[1] if len(tags) > 1 else None
        if name in EXPONENTIALS:
            own = FEW_ROUNDINGS * self.format.accumulated
            moved = torch.full_like(result, own) if first is None else torch.hypot(first, torch.full_like(first, own))
            self._tagged(result, result.abs() * moved)
        elif (first is None and second is None) or name not in ("mul", "div", "add", "sub"):
            return
        elif name in ("add", "sub"):
            known = [tag for tag in (first, second) if tag is not None]
            if all(tag.shape == result.shape for tag in known):
                self._tagged(result, known[0] if len(known) == 1 else torch.hypot(*known))
        else:
            at = 0 if first is not None else 1
            if name == "mul" or at == 0:
                other = args[1 - at]
                made = tags[at] * other if name == "mul" else tags[at] / other
                if made.shape == result.shape:
                    self._tagged(result, made.abs())

    # --- draws

    def _off(self, t: Tensor, share: float | Tensor) -> Tensor:
        """Off by a share, and where it is stored by the smallest number of the format."""
        if not t.is_floating_point():
            return t
        off = self._uniform(t).mul(share).add_(1).mul_(t)
        return off if self.within else off.add_(self._uniform(t), alpha=self.format.smallest)

    def _truncated(self, t: Tensor) -> Tensor:
        """An operand of a product with its last digits cut off."""
        return self._uniform(t).add(1).mul_(-0.5 * self.format.truncated).add_(1).mul_(t) if t.dim() > 1 else t

    def _uniform(self, t: Tensor) -> Tensor:
        """Between -1 and 1."""
        return self._from(_uniform_numbers, t)

    def _normal(self, t: Tensor) -> Tensor:
        return self._from(_normal_numbers, t)

    def _from(self, numbers: Callable[[int], Tensor], t: Tensor) -> Tensor:
        """As many random numbers as a tensor has, to be read only: a table's from a random place on."""
        count = t.numel()
        size = TABLE if 2 * count <= TABLE else 2 * count
        first = self._random.randrange(size - count + 1)
        return numbers(size)[first : first + count].reshape(t.shape).to(t)


@cache
def _uniform_numbers(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.float64).uniform_(-1, 1, generator=torch.Generator().manual_seed(0))


@cache
def _normal_numbers(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.float64).normal_(generator=torch.Generator().manual_seed(1))


def _terms(name: str, args: Any, result: Tensor) -> int:
    """How many numbers are added for an entry of a sum."""
    if name == "convolution":
        return max(1, int(args[1][0].numel()))
    if name in (*PUTS, "index_add", "scatter_add"):
        return max(1, sum(t.numel() for t in floating(args)) // max(1, result.numel()))
    return contracted(name, args, result)
