"""Every mistake that can be named: a type with its code, its facts and one sentence.

The subject of a sentence is the tensor of the finding ("it"). What keeps a tensor from being compared at all is in
failures.py.
"""

from handgrad.compare.facts.fact import Fact, listed, number


class Cause(Fact):
    """Which mistake explains a finding."""


def factor_of(cause: Cause) -> float | None:
    """The ratio of the two sides, of a cause that has one."""
    factor: float | None = getattr(cause, "factor", None)
    return factor


def fitted_of(cause: Cause) -> float | None:
    """The number that a cause has fitted to the tensor, if it has fitted one."""
    fitted: float | None = getattr(cause, "fitted", None)
    return fitted


class Unknown(Cause, code="unknown", sentence="nothing known explains it"):
    """Nothing explains it."""


class OfNumbers(Cause):
    """A number that both sides have, and in which they differ."""

    by_hand: float
    torch: float


# --- factors


class Zero(Cause, code="zero", sentence="every entry is exactly zero by hand"):
    """All zero."""


class WrongSign(Cause, code="sign"):
    """A factor of -1. `part`: see Scaled."""

    part: str | None = None
    factor: float = -1.0

    def __str__(self) -> str:
        return f"every entry has the wrong sign{_part(self.part)}"


class Scaled(Cause, code="scale"):
    """A factor, with the names that fit it.

    `part` is the tap through which the part comes that is off, "" for all that examples contribute, None for all.
    `of_update`: it is the change that is off. `varies`: at other steps the factor is another.
    """

    factor: float
    names: tuple[str, ...] = ()
    part: str | None = None
    of_update: bool = False
    varies: bool = False

    def __str__(self) -> str:
        entry = "every entry of the update" if self.of_update else "every entry"
        size = "too large" if abs(self.factor) > 1 else "too small"
        size += " and of the wrong sign" if self.factor < 0 else ""
        varies = "; other steps have other factors" if self.varies else ""
        return f"{entry} is {_named(self.factor, self.names)} times torch's, {size}{_part(self.part)}{varies}"


class PartialBatch(Cause, code="partial-batch"):
    """A short batch divided by the nominal size. `part`: see Scaled."""

    factor: float
    name: str
    part: str | None = None

    def __str__(self) -> str:
        factor = f"{_named(self.factor, (self.name,))} times torch's{_part(self.part)}"
        return f"every entry is {factor}: a short batch is divided by the nominal size"


PLAIN = (2.0, 0.5)  # factors too common to be named after a size


def _named(factor: float, names: tuple[str, ...]) -> str:
    minus = "minus " if factor < 0 else ""
    shown = () if abs(factor) in PLAIN else names[:4]
    return number(factor) + (f" = {' or '.join(minus + name for name in shown)}" if shown else "")


def _part(part: str | None) -> str:
    if part is None:
        return ""
    return f", in the part that comes through {part}" if part else ", in the part that comes from the data"


# --- sums over examples


class BiasSum(Cause, code="bias-sum"):
    """A gradient that must be a sum of another along some axes is something else, as the mean."""

    sentence = "it is {how} of {of} where {due} is due"
    of: str
    how: str
    due: str
    factor: float | None = None


class Examples(Cause, code="dropped-example"):
    """Examples left out of a sum, and how often others count; `positions` where the batch has another size."""

    missing: tuple[int, ...]
    repeated: tuple[tuple[int, int], ...]
    positions: bool = False

    def __str__(self) -> str:
        one, many = ("position" if self.positions else "example"), len(self.missing) > 1
        parts = [f"{one} {i} counts {times} times in the sum" for i, times in self.repeated[:8]]
        if self.missing:
            parts.insert(0, f"{one}{'s' * many} {listed(self.missing)} {'are' if many else 'is'} left out of the sum")
        return f"{', '.join(parts)} (numbered from 0)"


# --- activations and losses


class WrongDerivative(Cause, code="activation-derivative"):
    """It is the gradient of what is computed from the tensor, times a derivative that does not belong there."""

    sentence = "it is {gradient} times {times}, which is not the derivative here"
    gradient: str
    times: str


class DerivativeTooMuch(Cause, code="activation-derivative"):
    """It is torch's gradient times one more derivative."""

    sentence = "it is torch's times {times}: one factor too many"
    times: str


class DerivativeMissing(Cause, code="activation-derivative"):
    """It is the gradient of what is computed from it, unchanged."""

    sentence = "it is d{value} itself: the derivative of {value} with respect to {by} is missing"
    value: str
    by: str


class DerivativeTwice(Cause, code="activation-derivative"):
    """A derivative is applied twice."""

    sentence = "the derivative of {value} with respect to {by} is applied twice"
    value: str
    by: str


class InDerivative(Cause, code="activation-derivative"):
    """A mistake in the formula of a function's derivative."""

    sentence = "in the derivative of {function}, {mistake}"
    function: str
    mistake: Cause


class DerivativeAt(Cause, code="activation-derivative"):
    """A derivative is taken at another tensor."""

    sentence = "the derivative is taken at {at} where {belongs} belongs"
    at: str
    belongs: str


class LossFormula(Cause, code="loss-formula", sentence="in the loss, {mistake}"):
    """A mistake in the formula of the loss."""

    mistake: Cause


class LabelsSwapped(Cause, code="loss-formula"):
    """1 - Y is used for Y."""

    sentence = "1 - {labels} is used where {labels} belongs: the labels are swapped"
    labels: str
