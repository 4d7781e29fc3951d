"""The arithmetic of a kernel: the types that it holds, the order of its sums, and what it rounds on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

Rounding = Callable[[Tensor], Tensor]
Order = Callable[[int], Sequence[slice | Tensor]]  # the pieces in which so many terms are added


def unchanged(tensor: Tensor) -> Tensor:
    """Round nothing."""
    return tensor


def rounded_to(dtype: torch.dtype) -> Rounding:
    """Round to a narrower type, and hold the result in the type it came in."""
    return lambda tensor: tensor.to(dtype).to(tensor.dtype)


def truncated(tensor: Tensor) -> Tensor:
    """A float32 operand as TF32 reads it: ten bits of its fraction, the others cut off."""
    return (tensor.contiguous().view(torch.int32) & -(2**13)).view(torch.float32)


@dataclass(frozen=True)
class Precision:
    """A type that tensors are stored in, the one computed in, how a matmul reads operands, and the unit roundoff."""

    name: str
    storage: torch.dtype
    compute: torch.dtype
    operand: Rounding
    unit: float


BFLOAT16 = Precision("bfloat16", torch.bfloat16, torch.float32, rounded_to(torch.bfloat16), 2.0**-8)
FLOAT16 = Precision("float16", torch.float16, torch.float32, rounded_to(torch.float16), 2.0**-11)
TF32 = Precision("TF32", torch.float32, torch.float32, truncated, 2.0**-10)
FLOAT32 = Precision("float32", torch.float32, torch.float32, unchanged, 2.0**-24)
DOUBLE = Precision("float64", torch.float64, torch.float64, unchanged, 2.0**-53)
PRECISIONS = {precision.name: precision for precision in (BFLOAT16, FLOAT16, TF32, FLOAT32)}


# --- orders of sums


def whole(n: int) -> list[slice]:
    """All terms at once."""
    return [slice(0, n)]


def chunks(size: int, most: int = 256) -> Order:
    """One chunk behind the other, at most so many."""

    def order(n: int) -> list[slice]:
        step = max(size, math.ceil(n / most))
        return [slice(i, i + step) for i in range(0, max(n, 1), step)]

    return order


def backwards(size: int) -> Order:
    """The last chunk first."""
    return lambda n: chunks(size)(n)[::-1]


def shuffled(size: int, generator: torch.Generator) -> Order:
    """Another order at every call, as atomic additions have it."""
    return lambda n: torch.randperm(n, generator=generator).split(max(size, math.ceil(n / 256)))


def parts(number: int) -> Order:
    """So many parts, as split-k has it."""
    return lambda n: chunks(math.ceil(max(n, 1) / number))(n)


# --- arithmetic


@dataclass(frozen=True)
class Arithmetic:
    """What a kernel computes with: sums in an order, and what is rounded.

    Rounded are the `operand`s of a matmul, each `piece` of a sum but of a row's, the `running` sum after each piece,
    what stands `between` two formulas, and each `constant`.
    """

    name: str
    storage: torch.dtype
    compute: torch.dtype
    operand: Rounding
    order: Order = whole
    accumulator: torch.dtype | None = None  # the type computed in, unless it is given
    piece: Rounding = unchanged
    running: Rounding = unchanged
    between: Rounding = unchanged
    constant: Rounding = unchanged

    def load(self, tensor: Tensor) -> Tensor:
        """Read from memory."""
        return tensor.to(self.compute) if tensor.is_floating_point() else tensor

    def store(self, tensor: Tensor) -> Tensor:
        """Write to memory."""
        return tensor.to(self.storage)

    def number(self, value: float) -> float:
        """Make a constant."""
        return self.constant(torch.tensor(value, dtype=torch.float64)).item()

    def matmul(self, A: Tensor, B: Tensor) -> Tensor:
        """A B, of (..., m, k) and (..., k, n)."""
        A, B = self._wide(self.operand(A)), self._wide(self.operand(B))
        return self._added(self.piece(A[..., i] @ B[..., i, :]) for i in self.order(A.shape[-1]))

    def sum(self, A: Tensor, axis: int) -> Tensor:
        """The sum along an axis, which is gone."""
        return self._added(map(self.piece, self._pieces(A.movedim(axis, -1))))

    def row_sum(self, A: Tensor) -> Tensor:
        """The sum along the last axis, which stays; a row's sums are never stored on the way."""
        return self._added(self._pieces(A)).unsqueeze(-1)

    def _wide(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.accumulator or self.compute)

    def _pieces(self, A: Tensor) -> Iterator[Tensor]:
        A = self._wide(A)
        return (A[..., i].sum(-1) for i in self.order(A.shape[-1]))

    def _added(self, pieces: Iterable[Tensor]) -> Tensor:
        return reduce(lambda total, piece: self.running(total + piece), pieces).to(self.compute)


EXACT = Arithmetic("exact", DOUBLE.storage, DOUBLE.compute, DOUBLE.operand)
"""What sizes of mistakes are measured in."""


def variants(precision: Precision, seed: int) -> tuple[Arithmetic, ...]:
    """Seven right ways to compute in a precision; the seed is that of the shuffled sums."""
    held = (precision.storage, precision.compute, precision.operand)
    low = rounded_to(precision.storage)
    generator = torch.Generator().manual_seed(seed)
    return (
        Arithmetic("plain", *held),
        Arithmetic("chunks of 64, rounded between", *held, chunks(64), between=low),
        Arithmetic("shuffled chunks of 16", *held, shuffled(16, generator)),
        Arithmetic("four rounded parts, rounded between", *held, parts(4), piece=low, between=low),
        Arithmetic("chunks of 8 from behind, rounded constants", *held, backwards(8), constant=low),
        Arithmetic("float64 sums, rounded between", *held, accumulator=torch.float64, between=low),
        Arithmetic("chunks of 128, rounded between, rounded constants", *held, chunks(128), between=low, constant=low),
    )


def poor(precision: Precision) -> Arithmetic:
    """Sums in 16 bits: a defect, though every formula is right."""
    narrow = torch.bfloat16 if precision.storage == torch.float32 else precision.storage
    low = rounded_to(narrow)
    held = (precision.storage, precision.compute, precision.operand)
    return Arithmetic("sums in 16 bits", *held, chunks(1, most=512), piece=low, running=low)
