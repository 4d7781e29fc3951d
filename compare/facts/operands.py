"""Mistakes in what an operation reads and adds up, and in the memory that it is kept in: as in causes.py."""

from math import isclose

from handgrad.compare.facts.causes import Cause

# --- operands and terms


class OfOperand(Cause):
    """A mistake in one operand."""

    operand: str


class OperandTransposed(OfOperand, code="wrong-operand"):
    """A square operand stands where its transpose belongs, or the other way round."""

    sentence = "{operand} is used where its transpose belongs, or the other way round"


class Unused(OfOperand, code="wrong-operand", sentence="{operand} is not used"):
    """An operand does not enter."""


class Copied(Cause, code="wrong-operand", sentence="it is {tensor} itself"):
    """It is another tensor, unchanged."""

    tensor: str


class WrongTerm(Cause, code="wrong-operand"):
    """A term is added that does not belong there; below 0 times it is missing or has the wrong sign."""

    times: float
    term: str

    def __str__(self) -> str:
        times = "" if abs(abs(self.times) - 1) <= 1e-9 else f"{abs(self.times):g} times "
        if self.times < 0:
            return f"{times}{self.term} is missing from it, or has the wrong sign"
        why = "it does not belong there, must be subtracted, or is there already"
        return f"{times}{self.term} is added to it: {why}"


class UpdatedAtRate(OfOperand, code="updated-weights"):
    """It reads a parameter after an update at some rate."""

    sentence = "it reads {operand} - {rate} {direction}, the updated {operand}: compute all gradients before any update"
    direction: str
    rate: float

    @property
    def fitted(self) -> float:
        """The rate."""
        return -self.rate


class UpdatedOperand(OfOperand, code="updated-weights"):
    """It reads a parameter after this step's update."""

    sentence = "it reads the updated {operand}: compute all gradients before any update"


class UpdatedTogether(Cause, code="updated-weights"):
    """It reads several parameters after this step's update."""

    sentence = "it reads the updated {operands}: compute all gradients before any update"
    operands: tuple[str, ...]


class Stale(OfOperand, code="stale", sentence="it reads {operand} of the step before"):
    """It reads a tensor of the step before."""


class StaleTogether(Cause, code="stale", sentence="it reads {operands} of the step before"):
    """It reads several tensors of the step before."""

    operands: tuple[str, ...]


class OfStepBefore(Cause, code="stale", sentence="it is that of the step before"):
    """It is what the step before had under its name."""


class Accumulated(Cause, code="accumulated"):
    """Gradients are summed over steps."""

    sentence = "it is the sum of {tensor} of this step and of the step before: start from zero at each step"
    tensor: str


class Overwritten(Cause, code="aliased"):
    """It holds what is computed from it."""

    sentence = (
        "it holds {later}, which is computed from it: it was overwritten in place, both share memory, "
        "or one is kept under the name of the other"
    )
    later: str


class SharesMemory(Cause, code="aliased"):
    """It shares memory with another tensor."""

    sentence = "it shares memory with {other}, so a change of one changes both; copy it before you change it"
    other: str


# --- weight decay


class DecayAdded(Cause, code="regularisation"):
    """A gradient is off by a multiple of its parameter, the tensor `of`.

    `l2` is J's own weight decay, 0 where J has none or it is unknown; `names` name the multiple.
    It is `plain` where J's decay is missing, enters twice, or the like.
    """

    times: float
    of: str
    l2: float = 0.0
    names: tuple[str, ...] = ()
    plain: bool = False

    @property
    def fitted(self) -> float | None:
        """The multiple, unless it is plain."""
        return None if self.plain else self.times

    def __str__(self) -> str:
        c, minus = self.times, "-" if self.times < 0 else ""
        named = f" = {minus}{' or '.join(self.names[:2])}" if self.names else ""
        named = f" = {c / self.l2:.6g} l2" if self.l2 else named
        left_out = f" (or {self.of} is left out earlier)" if isclose(abs(c), 1) or (c < 0 and self.names) else ""
        return f"it is off by {c:.6g}{named} times {self.of}: another weight decay than J's{left_out}"
