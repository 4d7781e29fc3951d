"""What keeps a tensor from being compared, or its numbers from telling anything: causes, as in causes.py."""

from handgrad.compare.facts.causes import Cause, OfNumbers
from handgrad.compare.facts.fact import counted, enumerated

Shape = tuple[int, ...]


# --- names and shapes


class NotComputed(Cause, code="missing"):
    """It is not there; `similar` is what was returned under a name that nothing has, `dtype` the only precision."""

    similar: str = ""
    dtype: str = ""

    def __str__(self) -> str:
        similar = f"; it returns {self.similar!r}, which torch does not: did you mean that?" if self.similar else ""
        return f"the hand-written side did not compute it{f' in {self.dtype}' if self.dtype else ''}{similar}"


class NotReal(Cause, code="missing", sentence="it is {kind}; return {instead}"):
    """It is no array of real numbers; `instead` is what to return."""

    kind: str
    instead: str = "an array of real numbers"


class UnknownName(Cause, code="unknown-name"):
    """torch computes nothing of this name; `similar` is the nearest that it does compute."""

    similar: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        similar = f"did you mean {self.similar!r}? " if self.similar else ""
        return f"torch computes nothing of this name; {similar}known are {', '.join(self.known)}"


class WrongShape(Cause, code="shape"):
    """Its shape is not what is due; `dtype` names the only precision, `values` whether its values "agree" or "differ"
    once it has that shape.
    """

    shape: Shape
    due: Shape
    dtype: str = ""
    values: str = ""

    def __str__(self) -> str:
        values = {"agree": "; its values agree once it has that shape", "differ": "; its values are wrong too", "": ""}
        where = f" in {self.dtype}" if self.dtype else ""
        hint = shape_hint(self.shape, self.due)
        return f"its shape is {self.shape}{where}, it must be {self.due}{hint}{values[self.values]}"


def shape_hint(shape: Shape, due: Shape) -> str:
    """What a wrong shape looks like, or nothing."""
    both = _broadcast(due, shape)
    subtracted = f", and subtracting it would give {both} by broadcasting" if both not in (None, due) else ""
    if len(shape) == 2 and shape == due[::-1]:
        return ", it looks transposed"
    if len(due) == len(shape) + 1 and due == (*shape, 1):
        return f", it lost its last axis{subtracted}"
    if len(due) == 2 and 1 in due and len(shape) == 2 and shape[0] == shape[1] == max(due):
        return f", it looks broadcast to {shape}"
    return subtracted


def _broadcast(a: Shape, b: Shape) -> Shape | None:
    """The shape that two arrays broadcast to, or None; without NumPy, which stored reports do without."""
    length = max(len(a), len(b))
    pairs = [*zip((1,) * (length - len(a)) + a, (1,) * (length - len(b)) + b, strict=True)]
    if any(m != n and 1 not in (m, n) for m, n in pairs):
        return None
    return tuple(n if m == 1 else m for m, n in pairs)


# --- code that raises, answers twice, or returns something else


class Raised(Cause, code="exception"):
    """An exception of the user's code: its type and message, the file and line that raised it, where known.

    `dtype` names the only precision in which it is raised.
    """

    exception: str
    message: str
    file: str = ""
    line: int = 0
    dtype: str = ""

    def __str__(self) -> str:
        place = f" in {self.file} line {self.line}" if self.file else ""
        message = f": {self.message}" if self.message else ""  # a bare assert has none
        return f"{self.exception}{place}{message}{f' (in {self.dtype} only)' if self.dtype else ''}"


class ReturnedInstead(Cause, code="missing", sentence="the {who} {did} {instead}; {remedy}"):
    """`who` returned or yielded something else than what is due."""

    who: str
    did: str
    instead: str
    remedy: str


class Mutates(Cause, code="mutated-input"):
    """What was handed over is changed in place; `kind` says what it is."""

    sentence = "the {who} changes the {kind} {name} that it is handed; let it compute a new array, as in {name} - a"
    who: str
    kind: str
    name: str


class TwoAnswers(Cause, code="not-repeatable"):
    """Asked twice, `who` gives two answers for these names."""

    sentence = "the {who}, called twice on the same input, gives two answers for {names}; {remedy}"
    who: str
    names: tuple[str, ...]
    remedy: str


class IgnoresArguments(Cause, code="ignored-arguments"):
    """Numbers that do not follow arrays that are handed over, where torch's do."""

    names: tuple[str, ...]
    arrays: tuple[str, ...]

    def __str__(self) -> str:
        do, arrays = "does" if len(self.names) == 1 else "do", enumerated(self.arrays)
        return (
            f"{enumerated(self.names)} {do} not follow {arrays} as in torch, where other numbers are handed over; "
            "compute from the arguments, not from variables outside or kept from an earlier call"
        )


class RaisesAgain(Cause, code="not-repeatable"):
    """Asked again, `who` raises."""

    sentence = "called again on the same input, the {who} raises: {raised}"
    raised: Raised
    who: str = "derivation"


class Aliased(Cause, code="aliased"):
    """A trainer returns one and the same arrays for every batch."""

    sentence = "the trainer returns one and the same arrays for every batch; yield at each step, or copy them"


class TooFewYields(Cause, code="missing"):
    """A trainer ends too early."""

    yields: int
    batches: int

    def __str__(self) -> str:
        times = "once" if self.yields == 1 else f"{self.yields} times"
        return f"the trainer yields {times} for {self.batches} batches; yield once per batch, after the update"


class TooManyYields(Cause, code="unknown"):
    """A trainer goes on after the last batch."""

    sentence = "the trainer yields more than {batches} times for {batches} batches; yield once per batch"
    batches: int


class NoBatch(Cause, code="unknown"):
    """The notes' loop takes a step for which there is no batch."""

    sentence = "it takes step {step}, for which there is no batch; end with the last one, in batches.py or training.py"
    step: int


# --- numbers that tell nothing


class NotFinite(OfNumbers, code="not-finite"):
    """One side is nan or infinite where the other is finite; both values."""

    def __str__(self) -> str:
        ours, theirs = ("finite" if abs(v) < float("inf") else v for v in (self.by_hand, self.torch))
        return f"by hand it is {ours}, in torch it is {theirs}"


class Overflow(Cause, code="not-finite"):
    """Both sides overflow; `moved`: after an optimiser has moved the parameters."""

    moved: bool = False

    def __str__(self) -> str:
        remedy = "lower the learning rate or rescale the data" if self.moved else "rescale the data or the parameters"
        return f"both sides overflow, so nothing can be compared; {remedy}"


class LosesDigits(Cause, code="precision-loss"):
    """More than rounding explains, and drawn anew with every move."""

    sentence = "not shown wrong: the difference is drawn anew with every move"


class FewerDigits(Cause, code="precision-loss"):
    """As if it were computed in fewer digits than it was handed: no more than a format leaves."""

    sentence = (
        "not shown wrong: it is off by no more than rounding to {format} would leave; either something is rounded to "
        "that, or numbers that are nearly equal are subtracted"
    )
    format: str


class OverflowsInside(Cause, code="precision-loss"):
    """float32 overflows on the way to a finite number."""

    sentence = (
        "not shown wrong: float32 overflows, or divides 0 by 0, on the way to it; subtract the largest number before "
        "exp"
    )


class Unstable(Cause, code="untold"):
    """Rounding moves the reference itself by as much."""

    sentence = (
        "rounding moves torch's own result by as much as the difference, so nothing is told; choose parameters and a "
        "batch where it is less sensitive, such as smaller weights, fewer steps, or data whose sums do not cancel"
    )


class SpecialPoint(Cause, code="kink"):
    """A difference that only a special point has."""

    sentence = (
        "it differs only here, and nowhere where parameters and data move: a kink or a tie, where the derivative is a "
        "convention, and torch's is another"
    )


class RoundingGrows(Cause, code="precision-loss"):
    """Free-running, the two sides drift apart although each step is right."""

    sentence = "every step by itself is right, so rounding grows from step to step here"


class NeverMoves(Cause, code="zero", sentence="no step changes any parameter; {remedy}"):
    """No step by hand changes any parameter."""

    remedy: str


class NothingMoves(NeverMoves):
    """No step changes any parameter on either side."""

    sentence = "no step changes any parameter on either side, so nothing is compared; {remedy}"


# --- initial weights


class WeightsNotFinite(Cause, code="not-finite"):
    """Weights that have no spread: nan or infinite, or too large to take it."""

    too_large: bool = False

    def __str__(self) -> str:
        return f"some weights are {'too large to take their spread' if self.too_large else 'nan or infinite'}"


class DrawsNotFinite(Cause, code="not-finite"):
    """Some draws are no finite numbers of that shape."""

    draws: int
    shape: Shape

    def __str__(self) -> str:
        return f"some of {counted(self.draws, 'draw')} are no finite numbers of shape {self.shape}, or too large"


class SameWeights(Cause, code="unknown"):
    """The same weights whatever the generator."""

    sentence = "it gives the same weights whatever rng it is handed; draw them with rng"


class FewDistinct(Cause, code="unknown"):
    """Weights that are equal."""

    sentence = "only {distinct} of {weights} weights differ, in torch {in_torch}; equal units never separate"
    distinct: int
    weights: int
    in_torch: int


class WeightsDiffer(Cause, code="unknown", sentence="the weights, the same at every call, are not torch's"):
    """Weights that are the same at every call differ from torch's."""


class ZeroSpread(OfNumbers):
    """A standard deviation of 0 on one side."""

    @property
    def code(self) -> str:  # type: ignore[override]  # which side is zero decides
        """`zero` if the hand's is."""
        return "unknown" if self.by_hand else "zero"

    def __str__(self) -> str:
        return f"by hand the standard deviation is {self.by_hand:.7g}, in torch {self.torch:.7g}"
