"""What a report remarks beside its findings: notes, blind spots, and the circumstances of a finding."""

from collections.abc import Mapping
from typing import NamedTuple

from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.fact import Fact, counted, enumerated, listed, number
from handgrad.compare.facts.failures import Raised


class Note(Fact):
    """Something about the whole run that a reader must know; a whole sentence."""


# --- the precision that something was computed in


class Float64Inside(Note, code="float64-inside"):
    """float64 where float32 was handed over."""

    sentence = "The derivation computes in float64 also where it is handed float32; that is no fault."


class Float64Only(Note, code="float64-only"):
    """It raises in float32."""

    sentence = (
        "The derivation does not run in float32 ({raised}): it is judged in float64 alone, "
        "which cannot tell arithmetic that loses digits from a mistake."
    )
    raised: Raised


class RefusesFloat64(Note, code="refuses-float64"):
    """It raises in float64."""

    sentence = (
        "The derivation does not run in float64 ({raised}): it is judged in float32 alone, "
        "which may hide mistakes below a relative size of 1e-5."
    )
    raised: Raised


class Float32Only(Note, code="float32-only"):
    """float32 where float64 was handed over."""

    sentence = (
        "The derivation computes in float32 also where it is handed float64: it is judged in float32 alone, "
        "which may hide mistakes below a relative size of 1e-5."
    )


class TorchInFloat32(Note, code="torch-in-float32"):
    """The reference computes in float32."""

    sentence = (
        "The reference computes in float32 also where it is handed float64, and its rounding is taken for the "
        "derivation's: leave out what casts to float32 there."
    )


class OutOfRange(Note, code="out-of-range"):
    """Values that float32 cannot hold."""

    sentence = "Some values exceed what float32 can hold; those tensors are judged in float64 alone."


class TorchInexact(Note, code="torch-inexact"):
    """A tensor agrees with the mathematics and not with torch; `kernels` says where torch is inexact."""

    tensor: str
    kernels: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.tensor} is right and torch is inexact: {'; '.join(self.kernels)}."


class NothingButRounding(Note, code="nothing-but-rounding"):
    """A tensor that is what rounding leaves of a sum that cancels."""

    sentence = (
        "{tensor} is nothing but what rounding leaves of numbers that cancel, so neither its digits nor its sign are "
        "judged."
    )
    tensor: str


def judged_alone(notes: tuple[Note, ...]) -> str:
    """The one precision that a run was judged in as its notes say, or nothing."""
    alone = {Float64Only: "float64", RefusesFloat64: "float32", Float32Only: "float32"}
    return next((alone[type(note)] for note in notes if type(note) in alone), "")


def runs_in_one(ended: Mapping[str, Cause | None]) -> tuple[str, Note] | None:
    """The one precision in which a derivation runs, and a note, where it raises in the other; None otherwise.

    `ended` holds what ended its run in each precision. Where float32 is what is asked for first, it must run in that.
    """
    fine, coarse = (ended.get(dtype) for dtype in ("float64", "float32"))
    if len(ended) < 2 or (fine is not None and coarse is not None):
        return None
    if isinstance(fine, Raised):
        return "float32", RefusesFloat64(fine)
    is_second = next(iter(ended)) == "float64"
    return ("float64", Float64Only(coarse)) if isinstance(coarse, Raised) and is_second else None


# --- what is no derivation


class NoDerivation(Note, code="no-derivation"):
    """Gradients that are not, or not only, computed by formulas by hand; by what, in a word of BY."""

    by: str

    def __str__(self) -> str:
        return f"The derivation {BY.get(self.by, self.by)}, so that it agrees shows nothing of formulas by hand."


BY = {
    "reference": "uses the reference itself",
    "autograd": "uses autograd",
    "optimizer": "takes its steps with torch's optimiser",
    "differences": "takes numerical differences of a function",
}


# --- conventions that are no mistakes


class MeanLeftOut(Note, code="mean-left-out"):
    """Gradients of intermediates lack the 1/n of the mean; `per` is n, n K or a number, which all steps have."""

    per: str

    def __str__(self) -> str:
        mean = f"1/({self.per})" if " " in self.per else f"1/{self.per}"
        return (
            f"Convention: the gradients of intermediates lack the {mean} of the mean, which those of parameters have; "
            "they are shown with it."
        )


class Undone(Note, code="undone"):
    """Tensors are torch's times a factor, or in a form, a word of FORMS; what is computed from them undoes that.

    `varies`: the factor is another where the batch has another size.
    """

    tensors: tuple[str, ...]
    by: tuple[str, ...]
    factor: float = 1.0
    form: str = ""
    varies: bool = False

    def __str__(self) -> str:
        times = "" if self.factor == 1.0 else TIMES.get(self.factor, f"{number(self.factor)} times ")
        are, them = ("is", "it") if len(self.tensors) == 1 else ("are", "them")
        make = "makes" if len(self.by) == 1 else "make"
        varies = ", by another factor where the batch has another size" if self.varies else ""
        form = f"{times}torch's{FORMS.get(self.form, self.form)}{varies}"
        return (
            f"Convention: {enumerated(self.tensors)} {are} {form}, and shown as torch has {them}; "
            f"{enumerated(self.by)} {make} up for {them}."
        )


TIMES = {0.5: "half of ", -1.0: "minus ", 2.0: "twice "}
FORMS = {"": "", "transposed": " with its axes in another order", "packed": " in another shape"}


class VelocityTimes(Note, code="velocity-times"):
    """Velocities are a multiple of torch's; `name` says which number that is, where it has a name."""

    factor: float
    name: str = ""

    def __str__(self) -> str:
        of = "the notes have" if self.name else "torch has"
        times = f"{self.name} times the notes'" if self.name else f"{self.factor:.6g} times torch's"
        return f"Convention: the velocity is {times}, and shown as {of} it; the update makes up for it."


# --- what is not compared


class NotJudged(Note, code="not-judged"):
    """J does not depend on it."""

    sentence = "d{tensor} is not judged: J does not depend on {tensor} in the reference."
    tensor: str


class NotTapped(Note, code="not-tapped"):
    """Names that the reference has nothing of; `meant` is a tensor that it has and that one name may stand for.

    `by` is what the two have alike, a word of ALIKE_BY.
    """

    tensors: tuple[str, ...]
    meant: str = ""
    by: str = ""

    def __str__(self) -> str:
        are, name, it = ("is", "that name", "it") if len(self.tensors) == 1 else ("are", "these names", "them")
        hint = f"{ALIKE_BY.get(self.by, self.by).format(self.meant)}; if it is another tensor, " if self.meant else ""
        return (
            f"{', '.join(self.tensors)} {are} not judged: the reference has nothing of {name}; {hint}name {it} there "
            "with tap."
        )


ALIKE_BY = {
    "values": "it has the values of {0}, so call it {0}",
    "handed": "it has the values of {0}, which both sides are handed",
    "name": "if it is {0}, call it {0}",
    "shape": "it has the shape of {0}",
}


class NoBuffer(Note, code="no-buffer"):
    """A velocity that torch does not keep."""

    sentence = "{velocities} is not compared: torch's {optimizer} keeps no momentum buffer."
    velocities: tuple[str, ...]
    optimizer: str


class OtherShape(Note, code="other-shape"):
    """A tensor of another shape that can be subtracted all the same."""

    tensor: str
    shape: tuple[int, ...]
    due: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.tensor} has shape {self.shape} where {self.due} is due; it has the same entries."


# --- the derivation's own loss


class OwnLossKinks(Note, code="own-loss-kinks"):
    """J has no derivative at some entries."""

    parameter: str
    indices: tuple[tuple[int, ...], ...]

    def __str__(self) -> str:
        kink = f"{self.parameter} at {', '.join(map(str, self.indices))}"
        return f"Own loss: J has a kink in {kink}; no derivative exists there and none is compared."


class OwnLossDiffers(Note, code="own-loss-differs"):
    """A gradient is not that of the derivation's own J, at the one entry of so many that was asked.

    `error` is how far the difference quotient may be off.
    """

    gradient: str
    index: tuple[int, ...]
    returned: float
    difference: float
    error: float
    size: int

    def __str__(self) -> str:
        return (
            f"Own loss: {self.gradient} is not the gradient of the derivation's own J: at {self.index} it is "
            f"{self.returned:.7g}, central differences of J give {self.difference:.7g} +- {self.error:.1g} (one "
            f"of {counted(self.size, 'entry', 'entries')}; the others were not asked)."
        )


# --- what a run could not show


class BlindSpot(Fact):
    """A kind of mistake that a run could not show: its code, what is hidden, why, and what would show it.

    `of` names the tensors that it is about.
    """

    code: str  # type: ignore[misc]  # here it is a field
    hides: str
    because: str
    remedy: str = ""
    of: tuple[str, ...] = ()

    def __str__(self) -> str:
        reasons = "; ".join(part for part in (self.because, self.remedy) if part)
        return f"{self.hides} ({reasons})" if reasons else self.hides


# --- circumstances of a finding


class Persists(Fact, code="persists"):
    """How a difference was told from rounding, by a word of PERSISTS."""

    by: str

    def __str__(self) -> str:
        return PERSISTS.get(self.by, self.by)


PERSISTS = {
    "moves": "it stays where parameters and data move, and roundings do not",
    "ratio": "it is the same share of the tensor wherever parameters and data move",
    "stands": "it stands still where torch's value moves",
    "unmoved": "it is too large for rounding",
    "own-loss": "the slope of the derivation's own J contradicts it",
}


class AsFloat32(Fact, code="as-float32"):
    """A difference in float64 that float32's rounding would explain."""

    sentence = "that is no more than float32's rounding, so see whether something in it is computed in float32"


class Operands(Fact, code="operands"):
    """The values that an operation was handed where it loses digits or overflows."""

    values: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        return " and ".join(f"{name} is {value:.6g} there" for name, value in self.values)


class Reads(Fact, code="reads", sentence="it is computed from {tensors}"):
    """What a tensor is computed from."""

    tensors: tuple[str, ...]


class Tap(NamedTuple):
    """A value that the reference could tap: its name there, and the file and line that assign it."""

    name: str
    file: str
    line: int


class Unrecorded(Fact, code="unrecorded"):
    """Where nothing was recorded: between tensors that are right and one that nothing explains.

    `names` are the tensors there, to be returned next; `taps` those values that the reference must tap for that. `act`
    is what hands tensors over: a derivation returns, a trainer yields.
    """

    start: tuple[str, ...]
    end: str
    names: tuple[str, ...] = ()
    taps: tuple[Tap, ...] = ()
    act: str = "return"

    def __str__(self) -> str:
        """Between J and db1 nothing was recorded: return dZ1, dA1."""
        between = f"between {listed(self.start, 3)} and {self.end} nothing"
        hand_over = f"{self.act} {listed(self.names, 6)}"
        if self.taps:
            files = dict.fromkeys(tap.file for tap in self.taps[:6])
            return f"{between} is tapped: tap {enumerated([*map(self._in, files)])} in the reference, and {hand_over}"
        if self.names:
            return f"{between} was recorded: {hand_over}"
        return f"{between} is tapped: if several operations lead there, tap a value between them and {self.act} it"

    def _in(self, file: str) -> str:
        """H (line 3), C (line 4) of net.py."""
        return f"{', '.join(f'{tap.name} (line {tap.line})' for tap in self.taps[:6] if tap.file == file)} of {file}"


class FromZero(Fact, code="from-zero", sentence="started from 0, where small steps show"):
    """It shows in a run that starts from 0."""


class ThenRaised(Fact, code="then-raised", sentence="then {raised}"):
    """The exception that ended the run after it."""

    raised: Cause
