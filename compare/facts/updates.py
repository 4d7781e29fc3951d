"""Mistakes in optimisers and the order of examples, and in where entries stand: as in causes.py."""

from math import isfinite

from handgrad.compare.facts.causes import Cause, factor_of
from handgrad.compare.facts.fact import counted, listed, number

# --- velocities and updates


class VelocityForm(Cause, code="momentum-form"):
    """Another rule for the velocity or a moment; `twin` are the settings of torch.optim.SGD that are this rule.

    `from_zero`: the state, v as a rule, is 0 before this step, so that only the part with dw shows.
    """

    formula: str
    meaning: str
    twin: str = ""
    from_zero: bool = False
    state: str = "v"

    def __str__(self) -> str:
        twin = f". torch.optim.SGD({self.twin}) is that rule" if self.twin else ""
        zero = f" ({self.state} is 0 before this step, so only the part with dw shows)" if self.from_zero else ""
        return f"{self.formula}: {self.meaning}{twin}{zero}"


class StartsFrom(Cause, code="momentum-form"):
    """A state, v as a rule, is not 0 before the first step: it is the weights, by name, or a number that was fitted."""

    weights: str = ""
    fitted: float | None = None
    state: str = "v"

    def __str__(self) -> str:
        start = self.weights if self.fitted is None else f"{self.fitted:.6g}"
        return f"{self.state} starts from {start} where it must start from 0"


class VelocityReset(Cause, code="reset"):
    """The velocity or a moment, an average of `term` by `share`, starts anew at a later step."""

    sentence = "{state} = (1 - {share}) {term}: {state} starts anew, what the steps before left in it is lost"
    state: str = "v"
    share: str = "beta"
    term: str = "dw"


class OptimizerReset(Cause, code="reset"):
    """What an optimiser keeps from step to step is lost."""

    sentence = "it is torch's first step: what the optimiser kept from the steps before is lost"


class DecayInVelocity(Cause, code="regularisation", sentence="{times} times {of} is added to it"):
    """A multiple of the weights is added to the velocity."""

    times: float
    of: str


class UpdateFormula(Cause, code="update-form"):
    """The updated weights follow another formula."""

    formula: str
    meaning: str = ""
    twin: str = ""

    def __str__(self) -> str:
        twin = f". torch.optim.SGD({self.twin}) is that rule" if self.twin else ""
        return f"it is {self.formula}{f': {self.meaning}' if self.meaning else ''}{twin}"


class MomentumFormula(UpdateFormula, code="momentum-form"):
    """The same, by the velocity's part in it."""


class LeftOut(Cause, code="update-form", sentence="the update leaves it as it was"):
    """A parameter stays as it was."""


class Ascends(Cause, code="update-form", sentence="the update goes the other way: it ascends"):
    """The update goes up the gradient."""


class DecayInUpdate(Cause, code="update-form"):
    """A multiple of the weights is added to the update."""

    sentence = "{times} times {of} is added to the update: a weight decay of its own"
    times: float
    of: str


class OtherOptimizer(Cause):
    """The update is that of another optimiser at every step; `reverses` where it goes the other way."""

    optimizer: str
    reverses: str = ""

    def __str__(self) -> str:
        if self.reverses:
            return f"the update goes the other way: it {self.reverses}, as {self.optimizer}"
        return f"the update is that of {self.optimizer}, at every step"


class OtherUpdate(OtherOptimizer, code="update-form"):
    """The difference is its rate, its sign, its epsilon or its form."""


class OtherMomentum(OtherOptimizer, code="momentum-form"):
    """The difference is its memory."""


class OtherDecay(OtherOptimizer, code="regularisation"):
    """The difference is its weight decay."""


class OfGradient(Cause):
    """A mistake in the gradient that the parameter was updated along, as the update implies it; its code is of that."""

    mistake: Cause

    @property
    def code(self) -> str:  # type: ignore[override]  # of the class everywhere else
        """That of the mistake."""
        return self.mistake.code

    @property
    def factor(self) -> float | None:
        """Of the gradient, where the mistake is one."""
        return factor_of(self.mistake)

    def __str__(self) -> str:
        return f"in its gradient, as the update shows that: {self.mistake}"


# --- slips in an optimiser's step


class Counted(Cause, code="momentum-form"):
    """t is counted in another way, or does not enter; `how` is a key of HOW_COUNTED."""

    how: str

    def __str__(self) -> str:
        return HOW_COUNTED.get(self.how, self.how)


HOW_COUNTED = {
    "stuck": "t stays 1 at every step",
    "ahead": "t is one ahead: it is 2 at the first step",
    "behind": "t is one behind: it is 0 at the first step",
    "per-parameter": "t advances with every parameter, where it must advance once a step",
    "left-out": "the bias correction is left out: no moment is divided by 1 - beta^t",
}


class StateCorrected(Cause, code="momentum-form", sentence="{state} is divided by 1 - {share}^t, which torch does not"):
    """A bias correction where none is due."""

    state: str
    share: str


class StateStart(Cause, code="momentum-form"):
    """What is kept from step to step starts from something else than in torch; `twin`: see VelocityForm."""

    state: str
    start: str
    due: str = ""
    twin: str = ""

    def __str__(self) -> str:
        due = f", where torch sets it to {self.due} at the first step" if self.due else ", which is not torch's start"
        twin = f". torch.optim.SGD({self.twin}) is that rule" if self.twin else ""
        return f"{self.state} starts from {self.start}{due}{twin}"


class DecayForm(Cause, code="regularisation"):
    """Weight decay left out, where none is due, or in another place; `how` is a key of HOW_DECAY."""

    how: str
    weight_decay: float
    is_due: bool = True

    def __str__(self) -> str:
        due = "" if self.is_due else ", where torch has none"
        return f"{HOW_DECAY.get(self.how, self.how).format(number(self.weight_decay))}{due}"


HOW_DECAY = {
    "left-out": "the weight decay of {0} is left out",
    "gradient": "weight decay enters the gradient: dw + {0} w",
    "apart": "weight decay is apart from the gradient: lr {0} w is subtracted from w",
    "without-rate": "weight decay does not have the rate: {0} w is subtracted from w",
    "after": "weight decay comes after the step: (1 - lr {0}) times what the step makes of w",
}


class StateForm(Cause, code="momentum-form"):
    """A state that adds up what it should average, or that keeps a share of itself where it should add up."""

    state: str
    kept: float | None = None

    def __str__(self) -> str:
        if self.kept is None:
            return f"{self.state} is the sum of all that is new, where a weighted mean is due"
        return f"{self.state} is a weighted mean that keeps {self.kept:.6g} of itself, where the sum of all is due"


class EpsilonPlace(Cause, code="constant", sentence="{eps} is added to {of}, where it belongs with {belongs}"):
    """The small number stands before or after a root or a division."""

    eps: str
    of: str
    belongs: str


class OtherSetting(Cause, code="constant"):
    """A setting of the optimiser that is another number."""

    name: str
    used: float
    due: float

    def __str__(self) -> str:
        share = self.due / self.used if self.used else 0.0
        parts = round(share) if isfinite(share) else 0
        of_it = f", 1/{parts} of it" if parts > 2 and abs(parts * self.used / self.due - 1) < 1e-6 else ""
        return f"{self.name} is {self.used:.6g} where {self.due:.6g} is due{of_it}"


class DecaySetting(OtherSetting, code="regularisation"):
    """The weight decay is another number, as one that is divided by the size of the batch."""


class ClippedGradient(Cause, code="function"):
    """The gradient is clipped before the step: by value, by its norm, or by that of all gradients."""

    bound: float
    by: str

    def __str__(self) -> str:
        how = f"to [-{self.bound:g}, {self.bound:g}]" if self.by == "value" else f"to {self.bound:g} by the {self.by}"
        return f"the gradient is clipped {how} before the step"


# --- where entries stand


class OtherOrder(Cause, code="order", sentence="the examples of {batch} stand in another order than they should"):
    """A batch holds the right examples in another order."""

    batch: str


class OtherExamples(Cause, code="order", sentence="{batch} holds other examples of the data than this step should see"):
    """A batch holds other examples of the same data."""

    batch: str


class Transposed(Cause, code="transpose"):
    """It is the transpose of what is due; `decay`: but for the weight decay."""

    decay: bool = False

    def __str__(self) -> str:
        return f"it is the transpose of what it should be{', but for the weight decay' if self.decay else ''}"


class AxesPermuted(Cause, code="transpose"):
    """Its axes are in another order."""

    axes: tuple[int, ...]

    def __str__(self) -> str:
        return f"its axes are in the order {self.axes}"


class Reversed(Cause, code="permuted", sentence="axis {axis} runs backwards"):
    """An axis runs backwards."""

    axis: int


class Reordered(Cause, code="permuted"):
    """Along an axis its entries are torch's in another order."""

    axis: int
    order: tuple[int, ...]

    def __str__(self) -> str:
        return f"along axis {self.axis} its entries are torch's in another order: {listed(self.order)}"


class FilledByColumns(Cause, code="permuted"):
    """Its entries stand by columns."""

    sentence = "its entries are filled in by columns where they should be by rows"


class AtKink(Cause, code="kink"):
    """It differs only where a value is exactly 0."""

    of: str
    entries: int

    def __str__(self) -> str:
        there = f"only entries where {self.of} is exactly 0 differ ({self.entries} of them)"
        return f"{there}: the derivative at the kink is a convention, and torch's is another"


class Masked(Cause, code="mask"):
    """It differs only where a value is not positive."""

    of: str
    entries: int

    def __str__(self) -> str:
        return f"only entries where {self.of} <= 0 differ ({self.entries} of them): the mask of the derivative is wrong"


class SlicesDiffer(Cause, code="isolated-elements"):
    """It differs at a few indices of an axis; `zero`: there it is 0."""

    axis: int
    indices: tuple[int, ...]
    zero: bool = False

    def __str__(self) -> str:
        one = len(self.indices) == 1
        only = f"only {'index' if one else 'indices'} {listed(self.indices)} of axis {self.axis}"
        differ = ("is zero" if one else "are zero") if self.zero else ("differs" if one else "differ")
        return f"{only} {differ}, the rest agrees"


class SlicesZero(SlicesDiffer, code="dropped-example"):
    """It is zero at a few indices of the last axis, that of the examples."""

    zero: bool = True


class Isolated(Cause, code="isolated-elements"):
    """It differs in a few single entries."""

    indices: tuple[tuple[int, ...], ...]

    def __str__(self) -> str:
        shown = [index[0] if len(index) == 1 else index for index in self.indices]
        entries = counted(len(shown), "entry", "entries")
        return f"only {entries} differ{'s' if len(shown) == 1 else ''}: {listed(shown)}"
