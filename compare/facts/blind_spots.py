"""What a run may be unable to show: one table of conditions, each with what it hides, why, and what would show it.

Checks, the experiment and the audit say which of them hold; the words stand here alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from handgrad.compare.facts.remarks import BlindSpot


class Condition(NamedTuple):
    """A condition under which a kind of mistake does not show; its texts may name {of}, the tensors it is about.

    `change` is the setting of the notes' network, and a value of it, with which the mistake does show.
    """

    code: str
    hides: str
    because: str
    remedy: str = ""
    change: tuple[str, str | float] | None = None

    @property
    def option(self) -> str:
        """The change as an option of the command line; nothing where there is none."""
        if self.change is None:
            return ""
        name, value = self.change
        return f"--{name.replace('_', '-')} {value}"


_OF_WHAT_IS_HANDED_OVER = (
    Condition("one-example", "mistakes in sums and means over examples", "the batch has one example", "use several"),
    Condition("examples-as-size", "the number of examples for another size", "{n} is also {of}", "use others"),
    Condition("square-batch", "transposes of inputs seen by their shape", "{of} square", "use another number of them"),
    Condition("square-weights", "transposes seen by their shape", "{of} square", "use sizes that differ"),
    Condition("symmetric-weights", "a weight matrix for its transpose", "{of} symmetric", "use random values"),
    Condition("equal-entries", "which entry of {of} is used where", "all are equal", "use random values"),
    Condition("unit-parameters", "whether, and where, {of} is a factor", "all 1", "use random values"),
    Condition("zero-parameters", "how the gradients depend on {of}", "all zero", "use random values"),
    Condition(
        "equal-parameters",
        "one of {of} for another",
        "two names for equal arrays",
        "use random values, or one name where they are one parameter",
    ),
    Condition(
        "small-parameters", "the derivative of an activation", "all parameters are below {limit}", "use larger ones"
    ),
)
_OF_GRADIENTS = (
    Condition(
        "loss-not-returned", "the loss, and whether the gradients are its own", "by hand there is none", "return J"
    ),
    Condition("not-returned", "where a mistake enters between the tensors returned", "not returned: {of}"),
    Condition(
        "nothing-between",
        "where a mistake enters between J and the parameters",
        "nothing is recorded there",
        "tap tensors in the reference, and return them and their gradients",
    ),
    Condition("rounding-alone", "{of}", "nothing but rounding on both sides", "choose values for which it is more"),
    Condition("exactly-zero", "{of}", "exactly zero on both sides", "choose values for which it is not"),
    Condition(
        "frozen",
        "the gradient of {of}",
        "nothing that is compared depends on it in the reference",
        "use it there, without detach",
    ),
    Condition(
        "unit-upstream",
        "a wrong handling of the upstream gradient",
        "it is 1 everywhere: {where}",
        "let J be the sum of the result times random numbers",
    ),
    Condition(
        "no-negative-input",
        "a derivative that is missing or wrong where the input of a ReLU is negative, on the way to {of}",
        "no input of it is",
        "choose values of both signs",
    ),
    Condition(
        "no-positive-input",
        "a derivative that is wrong where the input of a ReLU is positive, on the way to {of}",
        "no input of it is",
        "choose values of both signs",
    ),
    Condition("one-precision", "what the other would show: {what}", "{dtype} alone", "use both precisions"),
)
_OF_FUNCTIONS = (
    Condition(
        "captured",
        "the gradient of {of}",
        "the function reaches it from outside, and it is no input",
        "hand it over as an input",
    ),
    Condition(
        "random",
        "whether the inputs are read by their strides",
        "the function draws random numbers, which may be others in another layout",
        "hand them over as an input, as the mask of a dropout",
    ),
    Condition(
        "constant-hidden",
        "another number up to {most} where {constant} is added{line}",
        "it is added to numbers of about {size}",
        "use inputs so small that these come near it",
    ),
    Condition(
        "count-hidden",
        "{terms} - 1 for {terms} in {operation}{line}",
        "the two differ by less than rounding",
        "use {most} or fewer",
    ),
    Condition(
        "step-hidden",
        "what these steps compute: {steps}",
        "the whole result of each moves nothing by more than rounding",
        "use inputs of another scale, or a {build} build",
    ),
)
_OF_STEPS = (
    Condition("few-steps", "state that builds up", "{steps}", "use 5 or more"),
    Condition(
        "long-memory",
        "what is wrong only once moments have built up",
        "{steps}, and a moment keeps {keeps} of itself from step to step",
        "use {enough} steps or more",
    ),
    Condition("one-parameter", "a step counter advanced once per parameter", "one parameter", "use two or more"),
    Condition("given-gradients", "what these gradients do not excite", "they are given", "leave them out"),
    Condition("unmoved", "the update of {of}", "no step changes it", "choose values, or gradients, for which one does"),
    Condition(
        "small-steps",
        "a small mistake in the update of {of}, and whether it is used before or after its update",
        "a step is hardly more than the rounding of what it changes",
        "use a larger rate",
    ),
    Condition("one-step", "state carried from step to step", "one step", "use three or more", ("steps", 5)),
    Condition("no-short-batch", "a short last batch", "no step has one", "shorten the last"),
    Condition(
        "parameters-alone",
        "where in a step a mistake enters",
        "only parameters are yielded",
        "yield dW1, J ... as well",
    ),
)
_OF_INITIALIZERS = (
    Condition("square-shape", "fan-in taken for fan-out", "the shape is square", "use sizes that differ"),
    Condition("coarse-samples", "a mean or spread less than about 3 % off", "the weights are not linear in one draw"),
    Condition(
        "single-places",
        "small differences of single weights, and tails rarer than 1 in 8192",
        "compared are mean, variance and zeros of each entry, row and column and of the diagonal (of more than 2^18 "
        "weights, of 4096 runs), and 35 quantiles and the fourth moment of all entries",
    ),
    Condition(
        "dependence",
        "how else the weights depend on each other",
        "of a matrix of up to 2^18 weights it is compared how uneven its singular values are, and its rows, and its "
        "columns, by variance and by zeros",
    ),
)
_OF_THE_NOTES_NETWORK = (
    Condition("batches-of-one", "mistakes in sums over examples", "batches of 1", "use several examples"),
    Condition("no-momentum", "momentum", "gradient descent", change=("optimizer", "momentum")),
    Condition("no-memory", "the memory of momentum", "beta is 0", change=("beta", 0.9)),
    Condition("beta-one-half", "beta swapped with 1 - beta", "beta is 0.5", change=("beta", 0.9)),
    Condition("rate-one", "a learning rate that is forgotten or used twice", "it is 1", change=("learning_rate", 0.1)),
    Condition("no-weight-decay", "weight decay", "l2 is 0", change=("l2", 0.1)),
    Condition("no-hidden-layer", "errors passed between layers", "no hidden layer", "use more --layers"),
    Condition("one-output", "mistakes between outputs", "one output", "use data with several labels"),
    Condition("zero-biases", "an unused bias", "biases are 0", change=("bias_scale", 0.1)),
    Condition("linear-layers", "the derivative of an activation", "no hidden layer has one but 1", "use tanh or relu"),
    Condition("kink-of-relu", "ReLU' at exactly 0", "random weights hardly ever give z = 0"),
    Condition("equal-labels", "mistakes in the label", "all labels are equal", "use varied data"),
    Condition(
        "same-start-and-order",
        "mistakes in initialisers or the order of examples",
        "both sides get the same",
        "use check_initializer",
    ),
)

CONDITIONS = {
    condition.code: condition
    for condition in (
        *_OF_WHAT_IS_HANDED_OVER,
        *_OF_GRADIENTS,
        *_OF_FUNCTIONS,
        *_OF_STEPS,
        *_OF_INITIALIZERS,
        *_OF_THE_NOTES_NETWORK,
    )
}
"""Every condition by its code, which is stable."""


def blind_spot(code: str, of: Sequence[str] = (), *, remedy: str | None = None, **words: object) -> BlindSpot:
    """A condition that holds, of these tensors; `remedy` is one that suits the run better than the table's."""
    condition = CONDITIONS[code]
    words["of"] = ", ".join(of)
    hides, because, usual = (text.format(**words) for text in (condition.hides, condition.because, condition.remedy))
    return BlindSpot(code, hides, because, usual if remedy is None else remedy, tuple(of))


def table() -> str:
    """The conditions as a table in Markdown, for the documents."""
    rows = (("`" + c.code + "`", c.hides, c.because, _remedies(c)) for c in CONDITIONS.values())
    lines = ("| " + " | ".join(map(_open, row)) + " |" for row in rows)
    return "\n".join(("| code | not shown | because | what would show it |", "|---|---|---|---|", *lines))


def _remedies(condition: Condition) -> str:
    option = f"`{condition.option}`" if condition.change else ""
    return "; ".join(part for part in (condition.remedy, option) if part)


def _open(text: str) -> str:
    """A template with the places that are filled in left open."""
    return re.sub(r"\{\w+\}", "...", text)
