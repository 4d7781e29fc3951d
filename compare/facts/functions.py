"""What is told of a torch function with a backward pass of its own: causes and notes."""

from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.fact import counted, enumerated, number
from handgrad.compare.facts.failures import Raised
from handgrad.compare.facts.remarks import Note

# --- gradients that are not there


class NoGradient(Cause, code="missing"):
    """None where the outputs depend on an input; `connected`: at least one output requires a gradient."""

    input: str
    connected: bool = True

    def __str__(self) -> str:
        if not self.connected:
            return f"no output requires a gradient: nothing leads back to {self.input}; use apply, and no detach"
        return f"the backward gives None for {self.input}, on which the outputs depend; return its gradient"


class Detached(Cause, code="missing"):
    """The reference has no gradient of an input, on which its outputs depend, and the function has one."""

    sentence = (
        "the reference gives no gradient for {input}, on which its outputs depend: let it use {input} in torch, "
        "without detach, or, if that is meant, return zeros or None"
    )
    input: str


# --- what is returned beside the numbers


class OutputCount(Cause, code="missing"):
    """More or fewer outputs that have gradients than the reference has; `kinds` are of all that is returned."""

    kinds: tuple[str, ...]
    count: int
    due: int

    def __str__(self) -> str:
        floating = counted(self.count, "floating tensor")
        return (
            f"the function returns {enumerated(self.kinds) or 'nothing'}: {floating} where "
            f"the reference returns {self.due}, and outputs are compared one by one; let both return the same ones"
        )


class LowerPrecision(Cause, code="dtype"):
    """An output has fewer digits than the inputs, and than the reference's."""

    sentence = "it is {dtype} where the inputs, and the reference, are {due}: its digits are lost; return {due}"
    dtype: str
    due: str


class OtherPrecision(Note, code="other-dtype"):
    """An output has more digits than the inputs, and the reference's has not."""

    sentence = "{name} is {dtype} where the inputs are {due}."
    name: str
    dtype: str
    due: str


class NotEqual(Cause, code="unknown"):
    """Whole numbers or truth values that differ, however the reference rounds."""

    sentence = "{count} of {total} entries are others than the reference's, whose rounding does not explain it"
    count: int
    total: int


class NotCompared(Note, code="not-compared"):
    """What is returned on one side alone, or is no tensor."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        which = "it is no tensor on both sides" if len(self.names) == 1 else "they are no tensors on both sides"
        return f"Not compared of what is returned: {enumerated(self.names)}; {which}."


# --- right for one layout, one choice of inputs, one call


class WrongFor(Cause, code="layout"):
    """It is right in the plain case and wrong in a situation, a key of SITUATIONS."""

    situation: str

    def __str__(self) -> str:
        where, remedy = SITUATIONS.get(self.situation, (self.situation, ""))
        return f"it is right otherwise, and wrong where {where}; {remedy}"


STRIDES = "read it by its strides, or call .contiguous() first"
SITUATIONS = {
    "strided-upstream": ("the upstream gradient is not contiguous, its numbers two apart", STRIDES),
    "transposed-upstream": ("the upstream gradient is transposed in memory", STRIDES),
    "expanded-upstream": (
        "the upstream gradient is one number expanded, as sum() makes it, with strides of 0",
        STRIDES,
    ),
    "strided-inputs": ("the inputs are not contiguous, their numbers two apart", STRIDES),
    "transposed-inputs": ("the inputs are transposed in memory", STRIDES),
    "filled-memory": ("new memory holds nan", "write to every entry that torch.empty gives, or use torch.zeros"),
    "second-call": ("it is called again before its backward", "keep nothing outside of ctx"),
    "again": ("it is called again", "keep nothing between calls"),
    "no-gradient": ("nothing requires a gradient", "look at ctx.needs_input_grad"),
    "subset": ("other inputs require no gradient", "look at ctx.needs_input_grad"),
    "scaled-upstream": ("the upstream gradient is larger or smaller", "multiply every term by it"),
    "one-output": (
        "one output alone is differentiated",
        "let each term be 0 where its own upstream gradient is 0, or None without materialized gradients",
    ),
    "second": ("its backward is differentiated", "mark the backward @once_differentiable if it is not meant to be"),
}


class RaisesWhere(Cause, code="exception"):
    """It raises in a situation, a key of SITUATIONS, and not in the plain case."""

    situation: str
    raised: Raised

    def __str__(self) -> str:
        return f"where {SITUATIONS.get(self.situation, (self.situation,))[0]}, it raises {self.raised}"


class SomeNeeded(Cause, code="subset"):
    """It is wrong where only some inputs require a gradient."""

    needed: tuple[str, ...]

    def __str__(self) -> str:
        alone = f"only {enumerated(self.needed)} require{'s' * (len(self.needed) == 1)} a gradient"
        return f"it is right otherwise, and wrong where {alone}; look at what ctx.needs_input_grad says of each input"


class SharedByCalls(Cause, code="not-repeatable"):
    """A second call, before the first one's backward, changes what that gives."""

    sentence = (
        "a second call before the backward of the first changes it; keep what the backward reads with "
        "ctx.save_for_backward, and in no variable or buffer that calls share"
    )


class OtherAnswer(Cause, code="not-repeatable"):
    """Called again with the same, it gives something else, by more than another order of a sum makes."""

    sentence = (
        "called again with the same inputs it is another, by more than rounding; keep nothing between calls, and no "
        "generator of random numbers"
    )


WITHOUT_DRAWS = (
    "hand them over as an input, like the mask of a dropout, on both sides, or turn them off, as .eval() does"
)


class Random(Cause, code="random"):
    """It depends on random numbers that are drawn."""

    sentence = f"it is another with other random numbers, which the function draws: {WITHOUT_DRAWS}"


class Overwritten(Cause, code="not-repeatable"):
    """A later call writes where it lies."""

    sentence = "it is returned in the same memory at each call, and a later call overwrites it; return a new tensor"


class Unwritten(Cause, code="not-repeatable"):
    """Memory that nothing was written to is read or returned."""

    sentence = (
        "some of it is what the memory held before; write to every entry that torch.empty gives, or use torch.zeros"
    )


# --- the upstream gradient


class NotLinear(Cause, code="linearity"):
    """It is not proportional to the upstream gradient."""

    sentence = (
        "it is not {times} times as large where the upstream gradient is, which every gradient must be; multiply "
        "every term by {upstream}"
    )
    upstream: str
    times: float


class UpstreamMisread(Cause, code="upstream"):
    """It reads of the upstream gradient one entry or row, or its mean, in place of each entry; a key of MISREAD."""

    upstream: str
    how: str

    def __str__(self) -> str:
        read = MISREAD.get(self.how, self.how)
        return f"it reads {read} of {self.upstream} in place of every entry; multiply each by its own"


MISREAD = {"first": "the first entry", "row": "the first row", "mean": "the mean"}


class ThroughUpstream(Cause, code="upstream"):
    """It is wrong through some upstream gradients, of several outputs, and right through others."""

    wrong: tuple[str, ...]
    right: tuple[str, ...]

    def __str__(self) -> str:
        return f"what comes through {enumerated(self.wrong)} is wrong, through {enumerated(self.right)} right"


# --- what a direction says

_GRADIENTS, _DERIVATIVE = "the gradient's ", "the derivative of "


class StepOff(Cause, code="step"):
    """It is off as if a step of the reference were larger by a share, or smaller, or left out, with a share of -1.

    `end` is an axis whose last entries alone are; `of` is the operation that the line of the reference has, where the
    step is a part of that.
    """

    operation: str
    share: float
    line: int = 0
    is_backward: bool = False
    end: int | None = None
    of: str = ""

    def __str__(self) -> str:
        last = f"the last entries along axis {self.end} of " if self.end is not None else ""
        where = f" in line {self.line} of the reference" if self.line else ""
        which = f"{_GRADIENTS * self.is_backward}{self.operation}{where}"
        if self.of:
            which = f"a part of {_DERIVATIVE * self.is_backward}{self.of}{where}, its {self.operation},"
        times = f"{number(round(1 + self.share, 6))} times what {'it is' if self.end is None else 'they are'}"
        return f"it is off as if {last}{which} were {'left out' if self.share == -1 else times}"


class RightInFloat32(Cause, code="precision-loss"):
    """Where it is handed the same numbers in float32 it is right."""

    sentence = (
        "the same function is right in float32, so its formula is, and {dtype} loses digits on the way: do sums, and "
        "what enters exp or a difference, in float32; or write the reference in the function's own steps"
    )
    dtype: str


# --- what is not told


class NotTold(Cause, code="untold"):
    """Nothing is told, for a reason that is a key of WHY; `share` is what a factor must be off to show.

    `build` is the precision of a build that would tell more.
    """

    why: str
    share: float
    build: str = "float32"

    def __str__(self) -> str:
        # a share of 1 is a gradient that is 0 everywhere
        shows = f"a factor of 1 +- {self.share:.2g}" if self.share < 1 else "no factor from 0 to 2"
        return f"{WHY.get(self.why, self.why).format(build=self.build)} ({shows} would have shown)"


WHY = {
    "constant": (
        "it is off along one direction by more than one rounded constant explains and less than two; a {build} build "
        "of the same code, or inputs of another scale, would tell"
    ),
    "blind": (
        "rounding alone moves it so much that a factor of 0.9 could not be told; smaller sizes, inputs of another "
        "scale whose sums do not cancel, or a {build} build would tell"
    ),
    "noise": (
        "the reference with roundings of its own is off as much, as where a ReLU or a maximum flips; inputs farther "
        "from its kinks, or a {build} build, would tell"
    ),
    "recomputed": (
        "it is off by a little more than rounding explains and along no direction, as where a sharp softmax is "
        "computed anew; smaller inputs, or a {build} build, would tell"
    ),
}


# --- second derivatives


class SecondCut(Cause, code="double-backward"):
    """Second derivatives with respect to something are silently missing."""

    sentence = (
        "second derivatives with respect to {of} are silently left out: what the backward reads was cached in the "
        "forward, on ctx or detached; compute it anew from ctx.saved_tensors, or mark the backward @once_differentiable"
    )
    of: str


class SecondOff(Cause, code="double-backward"):
    """Second derivatives with respect to something are wrong where the gradients are right."""

    sentence = (
        "second derivatives with respect to {of} are wrong: what the backward reads from ctx and not from "
        "ctx.saved_tensors, or of what the forward computed, is a constant where it is differentiated; compute it anew "
        "from the inputs, look at the backward of a Function that it calls, or mark it @once_differentiable"
    )
    of: str


class SecondAbsent(Cause, code="double-backward"):
    """The gradients cannot be differentiated at all; `raised` says so, where it does."""

    raised: Raised | None = None

    def __str__(self) -> str:
        why = f": {self.raised}" if self.raised is not None else ", as they require no gradient themselves"
        return f"the gradients cannot be differentiated again{why}"


class NoSecondDerivative(Note, code="no-second-derivative"):
    """Second derivatives that are absent, or silently left out for some inputs."""

    cut: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.cut:
            return "The gradients cannot be differentiated again: there is no double backward."
        return (
            f"Second derivatives with respect to {enumerated(self.cut)} are silently left out: mark the backward "
            "@once_differentiable, or check it with second=True."
        )


# --- what a check in one precision says of itself


class WouldShow(Note, code="would-show"):
    """How far a factor must be off 1 to have shown, by tensor."""

    shares: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        return f"Would have shown a factor of {', '.join(f'1 +- {s:.2g} on {name}' for name, s in self.shares)}."


class OpaqueSteps(Note, code="opaque-steps"):
    """Operations of the reference that are not looked into."""

    operations: tuple[str, ...]

    def __str__(self) -> str:
        does = "does" if len(self.operations) == 1 else "do"
        return (
            f"{enumerated(self.operations)} {does} more in one piece than is known of rounding there, which may call "
            f"right code wrong: write {counted(len(self.operations), 'it', 'them')[2:]} in the reference in simpler "
            "operations."
        )


class CoarserInside(Note, code="coarser-inside"):
    """It computes in a coarser format than that of the inputs, as its own results show."""

    sentence = "The function computes in {format} whatever it is handed, as its results show: it is judged in that."
    format: str


class NamedIn(Note, code="named-in-finer"):
    """A cause that was found where the same function is handed a finer dtype."""

    sentence = "The cause was found with the inputs in {dtype}, where the function is wrong as well."
    dtype: str
