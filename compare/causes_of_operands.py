"""Mistakes in what an operation reads and adds up, and in the memory that it is kept in: as in causes.py."""

from math import isclose

from handgrad.compare.causes import Cause

__all__ = [
    "Accumulated",
    "Copied",
    "DecayAdded",
    "OperandSign",
    "OperandTransposed",
    "Overwritten",
    "PathMissing",
    "SharesMemory",
    "Stale",
    "TermAdded",
    "TermMissing",
    "Unused",
    "UpdatedAtRate",
    "UpdatedOperand",
    "WrongOperand",
]


# --- operands and terms


class WrongOperand(Cause, code="wrong-operand", sentence="{used} is used where {belongs} belongs"):
    """Another tensor in an operand's place."""

    used: str
    belongs: str


class OperandTransposed(Cause, code="wrong-operand"):
    """A square operand and its transpose are mistaken."""

    sentence = "{operand} is used where its transpose belongs, or the other way round"
    operand: str


class Unused(Cause, code="wrong-operand", sentence="{operand} is not used"):
    """An operand does not enter."""

    operand: str


class OperandSign(Cause, code="sign", sentence="{operand} enters with the wrong sign"):
    """An operand enters with the wrong sign."""

    operand: str


class Copied(Cause, code="wrong-operand", sentence="it is {tensor} itself"):
    """It is another tensor, unchanged."""

    tensor: str


class PathMissing(Cause, code="wrong-operand"):
    """A gradient has only what comes on one of several ways."""

    sentence = "it is {gradient} itself: what comes through {missing} is missing"
    gradient: str
    missing: tuple[str, ...]


class TermMissing(Cause, code="wrong-operand"):
    """A term is missing or has the wrong sign."""

    times: float
    term: str

    def __str__(self) -> str:
        return f"{_times(self.times)}{self.term} is missing from it, or has the wrong sign"


class TermAdded(Cause, code="wrong-operand"):
    """A term is added that does not belong there."""

    times: float
    term: str

    def __str__(self) -> str:
        where = "where it does not belong, has a minus, or stands already"
        return f"{_times(self.times)}{self.term} is added to it, {where}"


def _times(times: float) -> str:
    return "" if abs(times - 1) <= 1e-9 else f"{times:g} times "


class UpdatedAtRate(Cause, code="updated-weights"):
    """It reads a parameter after an update at some rate."""

    sentence = "it reads {operand} - {rate} {direction}, already updated: compute all gradients before any update"
    operand: str
    direction: str
    rate: float

    @property
    def fitted(self) -> float:
        """The rate."""
        return -self.rate


class UpdatedOperand(Cause, code="updated-weights"):
    """It reads a parameter after this step's update."""

    sentence = "{operand} is already updated where it is read: compute all gradients before any update"
    operand: str


class Stale(Cause, code="stale", sentence="it reads {operand} of the step before"):
    """It reads a tensor of the step before."""

    operand: str


class Accumulated(Cause, code="accumulated"):
    """Gradients are summed over steps."""

    sentence = "it is the sum of this step's {tensor} and the one before: set it anew each step"
    tensor: str


class Overwritten(Cause, code="aliased"):
    """It holds what is computed from it."""

    sentence = (
        "it holds {later}, which is computed from it: it was overwritten in place, they share memory, "
        "or one is kept under the other's name"
    )
    later: str


class SharesMemory(Cause, code="aliased"):
    """It shares memory with another tensor."""

    sentence = "it shares memory with {other}, so what is done to one is done to both; copy before changing it"
    other: str


# --- weight decay


class DecayAdded(Cause, code="regularisation"):
    """A gradient is off by a multiple of its parameter; `plain`, of J's own decay, says how often that enters."""

    times: float
    of: str
    l2: float = 0.0
    names: tuple[str, ...] = ()
    plain: bool = False

    @property
    def fitted(self) -> float | None:
        """The multiple, unless it is a plain one of J's decay."""
        return None if self.plain else self.times

    def __str__(self) -> str:
        c, minus = self.times, "-" if self.times < 0 else ""
        named = f" = {minus}{' or '.join(self.names[:2])}" if self.names else ""
        named = f" = {c / self.l2:.6g} l2" if self.l2 else named
        left_out = f" (or {self.of} is left out before)" if isclose(abs(c), 1) or (c < 0 and self.names) else ""
        return f"it differs by {c:.6g}{named} times {self.of}, as a weight decay that is not J's makes it{left_out}"
