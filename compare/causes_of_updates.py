"""Mistakes in optimisers, initialisers and the order of examples, and in where entries stand: as in causes.py."""

from dataclasses import dataclass

from handgrad.compare.causes import Cause
from handgrad.compare.facts import counted, listed

__all__ = [
    "Ascends",
    "AtKink",
    "AxesPermuted",
    "DecayInUpdate",
    "DecayInVelocity",
    "FilledByColumns",
    "InitializerFamily",
    "InitializerMean",
    "InitializerScale",
    "Isolated",
    "LeftOut",
    "Masked",
    "MomentumFormula",
    "OptimizerReset",
    "OtherDecay",
    "OtherExamples",
    "OtherMomentum",
    "OtherOptimizer",
    "OtherOrder",
    "OtherUpdate",
    "Reordered",
    "Reversed",
    "SlicesDiffer",
    "SlicesZero",
    "StartsFrom",
    "Transposed",
    "UpdateFormula",
    "VelocityForm",
    "VelocityReset",
]


# --- velocities and updates


@dataclass(frozen=True)
class VelocityForm(Cause):
    """Another rule for the velocity; `twin` are the settings of torch.optim.SGD that are this rule.

    `from_zero`: v is 0 before this step, so that the rule shows only in part.
    """

    code = "momentum-form"
    formula: str
    meaning: str
    twin: str = ""
    from_zero: bool = False

    def __str__(self) -> str:
        twin = f". torch.optim.SGD({self.twin}) is that rule" if self.twin else ""
        zero = " (v is 0 before this step, so as far as this step shows)" if self.from_zero else ""
        return f"{self.formula}: {self.meaning}{twin}{zero}"


@dataclass(frozen=True)
class StartsFrom(Cause):
    """The velocity before the first step is not 0: it is the weights, by name, or a number that was fitted."""

    code = "momentum-form"
    weights: str = ""
    fitted: float | None = None

    def __str__(self) -> str:
        start = self.weights if self.fitted is None else f"{self.fitted:.6g}"
        return f"v starts from {start} where it must start from 0"


@dataclass(frozen=True)
class VelocityReset(Cause):
    """The velocity starts anew at a later step."""

    code = "reset"
    sentence = "v = (1 - beta) dw: what the steps before left in v is lost, it starts anew"


@dataclass(frozen=True)
class OptimizerReset(Cause):
    """What an optimiser keeps is lost at a step."""

    code = "reset"
    sentence = "it is torch's with no step before: what the optimiser had kept is lost at this one"


@dataclass(frozen=True)
class DecayInVelocity(Cause):
    """A multiple of the weights is added to the velocity."""

    code = "regularisation"
    sentence = "{times} times {of} is added to it"
    times: float
    of: str


@dataclass(frozen=True)
class UpdateFormula(Cause):
    """The updated weights follow another formula."""

    code = "update-form"
    formula: str
    meaning: str = ""
    twin: str = ""

    def __str__(self) -> str:
        twin = f". torch.optim.SGD({self.twin}) is that rule" if self.twin else ""
        return f"it is {self.formula}{f': {self.meaning}' if self.meaning else ''}{twin}"


@dataclass(frozen=True)
class MomentumFormula(UpdateFormula):
    """The same, by the velocity's part in it."""

    code = "momentum-form"


@dataclass(frozen=True)
class LeftOut(Cause):
    """A parameter stays as it was."""

    code = "update-form"
    sentence = "the update leaves it as it was"


@dataclass(frozen=True)
class Ascends(Cause):
    """The update goes up the gradient."""

    code = "update-form"
    sentence = "the update goes the other way: it ascends"


@dataclass(frozen=True)
class DecayInUpdate(Cause):
    """A multiple of the weights is added to the update."""

    code = "update-form"
    sentence = "{times} times {of} is added to the update: a weight decay of its own"
    times: float
    of: str


@dataclass(frozen=True)
class OtherOptimizer(Cause):
    """The update is that of another optimiser at every step; `reverses` where it goes the other way."""

    optimizer: str
    reverses: str = ""

    def __str__(self) -> str:
        if self.reverses:
            return f"the update goes the other way: it {self.reverses}, as {self.optimizer}"
        return f"the update is that of {self.optimizer}, at every step"


@dataclass(frozen=True)
class OtherUpdate(OtherOptimizer):
    """By its rate, sign, epsilon or form."""

    code = "update-form"


@dataclass(frozen=True)
class OtherMomentum(OtherOptimizer):
    """By its memory."""

    code = "momentum-form"


@dataclass(frozen=True)
class OtherDecay(OtherOptimizer):
    """By its weight decay."""

    code = "regularisation"


# --- initialisers


@dataclass(frozen=True)
class InitializerFamily(Cause):
    """The weights are of another distribution; `samples` where that is told by samples."""

    code = "initializer-family"
    by_hand: str
    torch: str
    samples: int = 0

    def __str__(self) -> str:
        by_samples = f"; the distributions differ in {self.samples} samples" if self.samples else ""
        return f"by hand the weights are {self.by_hand}, in torch {self.torch}{by_samples}"


@dataclass(frozen=True)
class InitializerMean(Cause):
    """The weights have another mean."""

    code = "initializer-family"
    by_hand: float
    torch: float

    def __str__(self) -> str:
        return f"by hand the mean is {self.by_hand:.7g}, in torch {self.torch:.7g}"


@dataclass(frozen=True)
class InitializerScale(Cause):
    """The weights have another standard deviation; formulas in the shape that give either."""

    code = "initializer-scale"
    factor: float
    by_hand: float
    torch: float
    by_hand_formulas: tuple[str, ...] = ()
    torch_formulas: tuple[str, ...] = ()

    def __str__(self) -> str:
        ours = f"{self.by_hand:.7g}{_equal(self.by_hand_formulas)}"
        theirs = f"{self.torch:.7g}{_equal(self.torch_formulas)}"
        deviation = f"by hand the standard deviation is {ours}, in torch {theirs}"
        return f"{self.factor:.7g} times torch's; {deviation}"


def _equal(formulas: tuple[str, ...]) -> str:
    return f" = {' or '.join(formulas)}" if formulas else ""


# --- where entries stand


@dataclass(frozen=True)
class OtherOrder(Cause):
    """A batch holds the right examples in another order."""

    code = "order"
    sentence = "the examples of {batch} stand in another order than they should"
    batch: str


@dataclass(frozen=True)
class OtherExamples(Cause):
    """A batch holds other examples of the same data."""

    code = "order"
    sentence = "{batch} holds other examples of the data than this step should see"
    batch: str


@dataclass(frozen=True)
class Transposed(Cause):
    """It is the transpose of what is due; `decay`: but for the weight decay."""

    code = "transpose"
    decay: bool = False

    def __str__(self) -> str:
        return f"it is the transpose of what it should be{', but for the weight decay' if self.decay else ''}"


@dataclass(frozen=True)
class AxesPermuted(Cause):
    """Its axes are in another order."""

    code = "transpose"
    axes: tuple[int, ...]

    def __str__(self) -> str:
        return f"its axes are in the order {self.axes}"


@dataclass(frozen=True)
class Reversed(Cause):
    """An axis runs backwards."""

    code = "permuted"
    sentence = "axis {axis} runs backwards"
    axis: int


@dataclass(frozen=True)
class Reordered(Cause):
    """Along an axis its entries are torch's in another order."""

    code = "permuted"
    axis: int
    order: tuple[int, ...]

    def __str__(self) -> str:
        return f"along axis {self.axis} its entries are torch's in another order: {listed(self.order)}"


@dataclass(frozen=True)
class FilledByColumns(Cause):
    """Its entries stand by columns."""

    code = "permuted"
    sentence = "its entries are filled in by columns where they should be by rows"


@dataclass(frozen=True)
class AtKink(Cause):
    """It differs only where a value is exactly 0."""

    code = "kink"
    of: str
    entries: int

    def __str__(self) -> str:
        there = f"only the {counted(self.entries, 'entry', 'entries')} where {self.of} is exactly 0 differ"
        return f"{there}: the derivative at the kink"


@dataclass(frozen=True)
class Masked(Cause):
    """It differs only where a value is not positive."""

    code = "mask"
    of: str
    entries: int

    def __str__(self) -> str:
        there = f"only entries where {self.of} <= 0 differ, {counted(self.entries, 'entry', 'entries')}"
        return f"{there}: the mask of the derivative"


@dataclass(frozen=True)
class SlicesDiffer(Cause):
    """It differs at a few indices of an axis."""

    code = "isolated-elements"
    axis: int
    indices: tuple[int, ...]

    def __str__(self) -> str:
        return f"only index {listed(self.indices)} of axis {self.axis} differs, the rest agrees"


@dataclass(frozen=True)
class SlicesZero(Cause):
    """It is zero at a few indices of the last axis, that of the examples."""

    code = "dropped-example"
    axis: int
    indices: tuple[int, ...]

    def __str__(self) -> str:
        return f"only index {listed(self.indices)} of axis {self.axis} is zero, the rest agrees"


@dataclass(frozen=True)
class Isolated(Cause):
    """It differs in a few single entries."""

    code = "isolated-elements"
    indices: tuple[tuple[int, ...], ...]

    def __str__(self) -> str:
        shown = [index[0] if len(index) == 1 else index for index in self.indices]
        entries = counted(len(shown), "entry", "entries")
        return f"only {entries} differ{'s' if len(shown) == 1 else ''}: {listed(shown)}"
