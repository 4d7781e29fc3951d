"""What rounding may do to a tensor, and how far a record is from that: the screen, the deviation, and the suspect.

s, the standard deviation of the reference where each of its operations is off by one rounding, is measured by runs with
drawn roundings (oracle.noise), entry by entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial, reduce

import numpy as np

from handgrad.compare.facts.fact import Fact
from handgrad.compare.thresholds import (
    ALONG,
    BLIND,
    FAR,
    FAR_OFF,
    FEW_ENTRIES,
    MANY_ENTRIES,
    NEAR,
    NOISE_FREE,
    NOISE_RUNS,
    NOISES,
    ROUNDINGS,
    SMALLEST,
    UNIT_ROUNDOFF,
)
from handgrad.compare.trace import Arrays, digits_of, is_real
from handgrad.compare.verdict.bounds import Allowance
from handgrad.compare.verdict.closeness import Local, index_of

Array = np.ndarray


class Witness:
    """One precision of a run, and what can still be asked about its tensors; these answers are for what is not known.

    Every answer is computed for all tensors at once, when it is first asked for. `dtype` is the precision of the run;
    `records` are what the derivation returned, `local` the reference on them, in float64.
    """

    dtype: str
    records: Arrays
    local: Arrays

    @property
    def unit(self) -> float:
        """The unit roundoff that the records are judged by."""
        return UNIT_ROUNDOFF[self.dtype]

    @cached_property
    def digits(self) -> float:
        """The unit roundoff of the shortest format that any record has, what is computed from it having no more."""
        many = (array for array in self.records.values() if is_real(array) and array.size > FEW_ENTRIES)
        return max(map(digits_of, many), default=0.0)

    def beside(self, name: str) -> Local | None:
        """The record and the reference on the records; None where they cannot be subtracted."""
        return beside(name, self.records, self.local)

    def scale(self, name: str) -> Array:
        """Entry by entry the number that a rounding of it is relative to at most: a sum has roundings of its terms."""
        return largest_around(self.local[name])

    def allowance(self, name: str) -> Allowance | None:
        """What rounding can explain, where a closed form of the operation is known."""
        return None

    def noisy(self, name: str, count: int, by: float) -> Sequence[Array]:
        """The reference in at most so many runs with drawn roundings of a size; none where it takes no noise."""
        return ()

    def moderated(self, name: str, spread: Array) -> Array:
        """The spread of few runs: of its square half is its own, and half what those of others say."""
        return moderated(spread)

    def spread(self, name: str) -> Array | None:
        """How far rounding moves the reference: entry by entry a root mean square in unit roundoffs, or None.

        Of two runs where these leave no doubt, else of all: where a record is so near, or so far off. Of one first
        where it has many entries, whose spread is shared.
        """
        local, spread = self.beside(name), None
        reference = self.local[name].astype(np.float64, copy=False)
        for count in (1 if reference.size >= MANY_ENTRIES else 2, NOISE_RUNS):
            of_runs = spread_of(reference, partial(self.noisy, name, count), self.unit)
            spread = None if of_runs is None else self.moderated(name, of_runs)
            s = deviation(reference, spread, self.unit, self.dtype)
            if local is None or not NEAR < largest((local.recorded - local.reference) / s) / ROUNDINGS < FAR:
                break
        return spread

    def again(self, name: str) -> Array | None:
        """The reference once more, on the same; None where it is known to be repeatable."""
        return None

    def put_right(self, name: str) -> tuple[Array | None, tuple[str, ...]]:
        """The reference where torch's inexact kernels and constants are exact, and which those are."""
        return None, ()

    def reach(self, name: str) -> float:
        """The largest entry of the reference, of the values that it is computed from, or of the gradients."""
        return 0.0

    def elsewhere(self, by: float) -> Iterable[tuple[Arrays, Arrays]]:
        """Records and the reference on them where everything has moved by a share, in a few directions."""
        return ()

    def places(self, name: str, by: float) -> Iterator[Local]:
        """Record and reference of one tensor where everything has moved by a share, one direction after another."""
        both = (beside(name, records, local) for records, local in self.elsewhere(by))
        return (Local(*map(np.atleast_1d, local)) for local in both if local is not None)

    def is_nothing(self, name: str) -> bool:
        """Whether a tensor is next to nothing beside J and its gradients, or beside the numbers handed over."""
        return False

    def contradicts(self, name: str, difference: Array) -> bool:
        """Whether the derivation's own J has another slope along a difference than its gradient says."""
        return False

    @property
    def overflows(self) -> bool:
        """Whether the derivation overflows, or divides 0 by 0, on its way."""
        return False

    @property
    def torch_is_finite(self) -> bool:
        """Whether torch's own run in this precision is finite everywhere."""
        return True


def beside(name: str, records: Arrays, local: Arrays) -> Local | None:
    """A record and the reference on it, where both have real numbers in the same shape."""
    record, reference = records.get(name), local.get(name)
    if record is None or reference is None or not is_real(record) or record.shape != reference.shape:
        return None
    return Local(record, reference)


Runs = Callable[[float], Sequence[Array]]  # a tensor in runs whose roundings have a size


def spread_of(reference: Array, runs: Runs, unit: float) -> Array | None:
    """The root mean square change over runs with drawn roundings, in unit roundoffs; None where none is finite.

    Where so much noise moves the reference by a tenth it may not be linear any more: finer noise counts as well, down
    to float64's own.
    """
    spread = None
    for by in NOISES if unit == UNIT_ROUNDOFF["float64"] else (unit,):
        found = _of_runs(reference, runs(by), by)
        if found is None:
            break
        spread = found if spread is None else np.maximum(spread, found)
        if by * size(found) <= BLIND * size(reference):
            break
    return spread


def _of_runs(reference: Array, runs: Sequence[Array], by: float) -> Array | None:
    finite = np.isfinite(reference)
    apart = [np.where(finite, run - reference, 0.0) for run in runs if run.shape == reference.shape]
    changes = [change / by for change in apart if np.isfinite(change).all()]
    if not changes:
        return None
    return np.asarray(np.hypot.reduce(changes) / np.sqrt(len(changes)))


@dataclass(frozen=True)
class Outcome:
    """The verdict on one tensor: the difference in units of what rounding explains, what that is, and the worst entry.

    `dtype` is the precision that shows it, `why` what was found out besides.
    """

    verdict: str
    rho: float
    basis: str
    index: tuple[int, ...]
    dtype: str = "float64"
    why: Fact | None = None


RANK = ("OK", "WEAK", "UNTOLD", "NONFINITE", "FAULT")


def worse(one: Outcome, other: Outcome) -> Outcome:
    """The outcome that says more: the worse verdict, or of two OK the one with a reason, or that came closer."""
    return max(one, other, key=lambda outcome: (RANK.index(outcome.verdict), outcome.why is not None, outcome.rho))


def screened(local: Local, scale: Array, dtype: str, roundings: float) -> Outcome | None:
    """OK if no entry is off by more than the screen lets pass."""
    difference = np.abs(np.subtract(local.recorded, local.reference, dtype=np.float64))
    ratio = np.atleast_1d(difference / screen(local.reference, scale, dtype, roundings))
    worst = int(ratio.argmax())
    if not ratio.item(worst) <= 1:
        return None
    return Outcome("OK", ratio.item(worst), "screen", index_of(worst, local.recorded.shape), dtype)


def screen(reference: Array, scale: Array, dtype: str, roundings: float) -> Array:
    """What passes, entry by entry: so many roundings of its scale, but in float64 no good part of itself."""
    limit = roundings * UNIT_ROUNDOFF[dtype] * scale
    if dtype == "float64":
        limit = np.minimum(limit, FAR_OFF * np.abs(reference))
    return np.asarray(limit + 8 * SMALLEST[dtype])


def largest_around(reference: Array) -> Array:
    """Entry by entry the smallest of the largest numbers along each axis: of a matrix those of its row and column."""
    size = np.abs(reference.astype(np.float64, copy=False))
    axes = [axis for axis, n in enumerate(size.shape) if n > 1]
    if len(axes) < 2:  # a vector, be it a row or a column
        return np.asarray(size.max(initial=0.0))
    others = (tuple(other for other in axes if other != axis) for axis in axes)
    return np.asarray(reduce(np.minimum, (np.maximum.reduce(size, of, keepdims=True) for of in others)))


@dataclass(frozen=True)
class Flagged:
    """A tensor that the screen did not pass, beside the standard deviation of its rounding.

    `spread` is that in unit roundoffs. `fine` is the rho of float64 where this is float32 beside it, 0.0 by the screen.
    `behaviours` keeps what the difference does over moves by a share.
    """

    name: str
    witness: Witness
    local: Local
    spread: Array | None
    deviation: Array
    fine: float | None = None
    behaviours: dict[float, str] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, witness: Witness, local: Local, fine: float | None = None) -> Flagged:
        """With the deviation at the witness's own unit roundoff."""
        local = Local(*(np.atleast_1d(side).astype(np.float64, copy=False) for side in local))
        spread = witness.spread(name)
        return cls(name, witness, local, spread, deviation(local.reference, spread, witness.unit, witness.dtype), fine)

    @cached_property
    def difference(self) -> Array:
        """Signed."""
        return np.asarray(self.local.recorded - self.local.reference)

    @cached_property
    def roundings(self) -> Array:
        """The difference in standard deviations, entry by entry."""
        return np.where(self.difference == 0, 0.0, self.difference / self.deviation)

    @property
    def largest(self) -> float:
        """The most standard deviations that an entry is off by."""
        return largest(self.roundings)

    @cached_property
    def along(self) -> float:
        """The difference along the reference itself, in standard deviations; one constant may be rounded."""
        unit = self.local.reference / self.deviation
        length = size(unit)
        if not 0 < length < np.inf:
            return 0.0
        return max(0.0, abs(float(np.vdot(self.roundings, unit))) / length - 4 * self.witness.unit * length)

    @property
    def rho(self) -> float:
        """The difference in units of what rounding explains."""
        return max(self.largest / ROUNDINGS, self.along / ALONG)

    @property
    def is_blind(self) -> bool:
        """Whether rounding moves the reference itself by as much as a tenth of it."""
        return bool(ROUNDINGS * size(self.deviation) > BLIND * size(self.local.reference))

    @cached_property
    def stands_out(self) -> Array:
        """Where the difference sticks out; everywhere where it does so only along the reference."""
        many = np.abs(self.roundings)
        at = many > max(ROUNDINGS, many.max() / 4)
        return at if at.any() else np.ones(at.shape, dtype=bool)

    @cached_property
    def weight(self) -> Array:
        """1/s where it stands out, relative to the largest of them, and 0 elsewhere."""
        return np.where(self.stands_out, np.min(self.deviation[self.stands_out]) / self.deviation, 0.0)

    def at(self, unit: float) -> Flagged:
        """The same beside the rounding of another precision."""
        return replace(self, deviation=deviation(self.local.reference, self.spread, unit, self.witness.dtype))

    def outcome(self, verdict: str, why: Fact | None = None) -> Outcome:
        """A verdict on it."""
        worst = int(np.argmax(np.where(self.stands_out, np.abs(self.difference), -1.0)))
        shape = self.witness.records[self.name].shape  # here a scalar has one axis
        return Outcome(verdict, self.rho, "noise", index_of(worst, shape), self.witness.dtype, why)


def deviation(reference: Array, spread: Array | None, unit: float, dtype: str) -> Array:
    """The standard deviation of rounding at a unit roundoff, entry by entry.

    s = sqrt((v u)^2 + (0.3 u g)^2) + 4 eta, v being the spread; where that is unknown, four roundings of the largest.
    """
    eta = SMALLEST["float64" if unit == UNIT_ROUNDOFF["float64"] else dtype]
    if spread is None:
        return np.full(reference.shape, 4 * unit * largest(reference)) + eta
    return np.asarray(np.hypot(np.atleast_1d(spread) * unit, NOISE_FREE * unit * reference) + 4 * eta)


def moderated(spread: Array) -> Array:
    """The spread of few runs: of its square half is its own, and half that of its row and its column."""
    most = largest(spread)
    if spread.ndim < 2 or most == 0:
        return spread
    flat = np.square(spread / most).reshape(spread.shape[0], -1)
    mean = float(flat.mean())
    prior = flat.mean(1, keepdims=True) * flat.mean(0, keepdims=True) / mean if mean > 0 else np.zeros_like(flat)
    return np.asarray(most * np.sqrt((flat + prior) / 2)).reshape(spread.shape)


def largest(array: Array) -> float:
    """The largest absolute entry that is a number, 0.0 of nothing."""
    most = max(float(array.max()), -float(array.min())) if array.size else 0.0
    return most if np.isfinite(most) else float(np.max(np.abs(np.nan_to_num(array))))


def size(array: Array) -> float:
    """The root of the sum of squares, safe from overflow and underflow."""
    flat = np.ravel(array).astype(np.float64, copy=False)
    norm = float(np.sqrt(np.vdot(flat, flat)))
    if np.sqrt(np.finfo(np.float64).tiny) < norm < np.inf:  # as a rule, and that copies nothing
        return norm
    most = largest(array)
    return most * float(np.sqrt(np.sum(np.square(array / most)))) if 0 < most < np.inf else most
