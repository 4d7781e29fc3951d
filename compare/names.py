"""The grammar of the names under which tensors are recorded, written once; any other name stands for a value.

dT        the gradient of J with respect to T
vT        the velocity of a parameter T
mT sT     Adam's moments of a parameter T: averages of its gradient and of the square of that
t         the number of steps that Adam has taken
T_next    the parameter T after the update
Z1        layer 1 of Z
"""

import re
from collections.abc import Container, Iterable
from typing import NamedTuple

PHASES = ("forward", "loss", "backward", "update")


class Key(NamedTuple):
    """Where a record stands: step (from 1), phase, and the name of the tensor."""

    step: int
    phase: str
    name: str

    def __str__(self) -> str:
        """As a person reads it: dW2 at step 3."""
        return f"{self.name} at step {self.step}"


def gradient(name: str) -> str:
    """The name of the gradient with respect to a tensor."""
    return f"d{name}"


def of_gradient(name: str) -> str:
    """What a name is the gradient of, if it is one; "" for a name that cannot be one."""
    return name[1:] if name[:1] == "d" else ""


def spells_gradient(name: str, parameter: str) -> bool:
    """Whether a name is another spelling of a parameter's gradient: grad_W, W_grad, gW, dL_dW, dw, or W itself."""
    said, meant = (re.sub(r"[\W_]+", "", each).lower() for each in (name, parameter))
    before, after = r"(d|g|(d[jlce]|dloss|dcost)d?|grad(ient)?(of)?|delta|nabla|)", r"(grad(ient)?|g|)"
    return bool(meant) and re.fullmatch(f"{before}{re.escape(meant)}{after}", said) is not None


def is_gradient(name: str, values: Container[str]) -> bool:
    """Whether a name is the gradient of one of the values: `distance` is one only where there is an `istance`."""
    return name[:1] == "d" and name[1:] in values


def velocity(parameter: str) -> str:
    """The name of a parameter's velocity."""
    return f"v{parameter}"


def of_velocity(name: str) -> str:
    """The parameter that a name is the velocity of, if it is one; "" for a name that cannot be one."""
    return name[1:] if name[:1] == "v" else ""


COUNT = "t"  # what has no parameter among that which an optimiser remembers


def remembered(letters: Iterable[str], parameters: Iterable[str]) -> dict[str, str]:
    """The names of what an optimiser remembers, letter by letter, each with its parameter; "" for a count."""
    parameters = tuple(parameters)
    names = ({COUNT: ""} if letter == COUNT else {f"{letter}{p}": p for p in parameters} for letter in letters)
    return {name: p for of_letter in names for name, p in of_letter.items()}


def of_remembered(name: str) -> tuple[str, str]:
    """The letter and the parameter of a name that an optimiser remembers something under: ("m", "W1") for mW1."""
    return name[:1], name[1:]


def updated(parameter: str) -> str:
    """The name of a parameter after the update."""
    return f"{parameter}_next"


def before(name: str) -> str:
    """The name of a tensor of the step before."""
    return f"{name} before"


def is_updated(name: str) -> bool:
    """Whether a name is that of an updated parameter."""
    return name.endswith("_next")


def of_updated(name: str) -> str:
    """The parameter that an updated one was, and any other name as it is."""
    return name.removesuffix("_next")


def layered(name: str) -> tuple[str, int | None]:
    """The stem and the layer of a name: ("dW", 2) for dW2, ("J", None) for J."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :]) if len(stem) < len(name) else None


def is_sibling(one: str, other: str) -> bool:
    """Whether two names differ in their number alone: layers, or steps over time."""
    return one != other and layered(one)[0] == layered(other)[0]


def phase_of(name: str) -> str:
    """The phase of a tensor that only its name is known of."""
    if is_updated(name):
        return "update"
    return "loss" if name == "J" else "backward" if of_gradient(name) else "forward"
