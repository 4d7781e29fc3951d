"""The registry: every operation of the notes' network, its half by hand, its twin in torch, its equations.

Adding an operation takes the functions in `manual`, the twin in `torchref` and one row here. Halves are named as
"module:attribute" and resolved on use, so that reading the registry imports neither NumPy nor torch.

`units` says what rounding may do: for each tensor that the operation computes, a function of m, where m("dA") is |dA|,
that gives how many units of roundoff it may be off by. That is the libraries' documented worst cases, 4 units in the
last place or 8u for a function such as tanh, and the roundings around them. A tensor that has none is an exact copy.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from math import inf
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

from handgrad.compare.errors import InputError
from handgrad.compare.names import gradient, is_updated, layered, remembered, updated

Modules = Mapping[str, ModuleType]
"""Modules of the hand-written side by short name, such as "losses": what runs in place of the installed ones."""


class Operation(NamedTuple):
    """One operation: what kind it is, its name, its functions by hand, its torch twin and its equation labels.

    `by_hand` holds forward and backward (an optimiser: initial state and step; an initialiser: standard deviation). An
    activation without a backward may stand only last, before a loss that needs it, whose derivative has both.
    `reads` is what a loss is a function of in the last layer, or the derivative of an activation in its own: "Z" or
    "A"; `last` is the last activation that a loss needs, `labels` what its labels lie between, and `label_sum` what
    those of an example must add up to, if anything; `slope` is that of an activation: smooth, stepped or constant.
    `options` are the settings that an optimiser takes, and its units beside m; `state` is what it remembers, by the
    first letter of its names, with the label of each. What is not in the notes has labels of its own: `supplied` has
    the equation of each.
    """

    kind: str
    name: str
    by_hand: tuple[str, ...]
    torch: str
    equations: tuple[str, ...]
    reads: str = ""
    last: str = ""
    labels: tuple[float, float] = (-inf, inf)
    label_sum: float | None = None
    slope: str = "smooth"
    options: tuple[str, ...] = ()
    state: Mapping[str, str] = MappingProxyType({})
    units: Mapping[str, Callable[..., Any]] = MappingProxyType({})
    supplied: Mapping[str, str] = MappingProxyType({})

    def hands(self, modules: Modules | None = None) -> tuple[Any, ...]:
        """The functions by hand: those of `modules`, or of the installed package."""
        return tuple(_resolved(f"handgrad.manual.{half}", modules) for half in self.by_hand)

    def chosen(self, settings: Any) -> dict[str, Any]:
        """What settings say for its options."""
        return {name: getattr(settings, name) for name in self.options}

    def twin(self) -> Any:
        """The torch twin, imported."""
        return _resolved(self.torch)


def _resolved(path: str, modules: Modules | None = None) -> Any:
    """What a path names, of a module that is imported or that stands in for it."""
    full, name = path.split(":")
    module = import_module(full) if modules is None else modules[full.rpartition(".")[2]]
    try:
        return getattr(module, name)
    except AttributeError:
        raise InputError(f"{module.__name__} has no {name}, which the registry names; define it there again") from None


def _row(kind: str, name: str, *equations: str, start: str = "", **more: Any) -> Operation:
    """A row whose functions have its name, in one file of each side; `start` makes an optimiser's first state."""
    own = f"{'losses' if kind == 'loss' else f'{kind}s'}:{name.replace('-', '_')}"
    pairs = {
        "activation": (own, f"{own}_derivative"),
        "loss": (own, f"{own}_derivative"),
        "optimizer": (f"optimizers:{start}", own),
    }
    return Operation(kind, name, pairs.get(kind, (own,)), f"handgrad.torchref.{own}", equations, **more)


def _of_average(beta: float, before: Any, new: Any) -> Any:
    """The units of B V + (1-B) dw, where 1 - B rounds too."""
    return 4 * beta * before + (4 * (1 - beta) + 2 * beta) * new


def _of_moments(m: Callable[[str], Any], *, learning_rate: float, beta: float, beta2: float, epsilon: float) -> Any:
    """The units of Adam's step: 14 of its size, and what a power of B or B2 may lose as a product of t factors."""
    t = m("t")
    kept, kept2 = beta**t, beta2**t
    size = learning_rate * m("mw") / (1 - kept) / ((m("sw") / (1 - kept2)) ** 0.5 + epsilon)
    return (14 + (t + 1) * (kept / (1 - kept) + kept2 / (1 - kept2))) * size


LINEAR = ("network:linear", "network:backward")
OPERATIONS = (
    Operation("layer", "linear", LINEAR, "torch.nn:Linear", ("F1", "B2", "B3", "B4")),
    _row("activation", "sigmoid", "F2", "B5", reads="A",
        units={"A": lambda m: 8, "dZ": lambda m: 4 * m("dZ") + 10 * m("dA")}),
    _row("activation", "relu", "F2", "B5", reads="Z", slope="stepped",
        units={"dZ": lambda m: 4 * m("dZ")}),
    _row("activation", "tanh", "F2", "B5", reads="A",
        units={"A": lambda m: 8, "dZ": lambda m: 4 * m("dZ") + 18 * m("dA")}),  # 1 - A^2 cancels
    _row("activation", "identity", "F2", "B5", reads="Z", slope="constant",
        units={"dZ": lambda m: 4 * m("dZ")}),
    _row("activation", "leaky-relu", "F2", "B5", reads="Z", slope="stepped",
        supplied={"A4": "LeakyReLU(z) = z for z > 0, z/100 for z <= 0"},
        units={"A": lambda m: 3 * m("A"), "dZ": lambda m: 5 * m("dZ")}),  # 1/100 is rounded, and its product
    _row("activation", "gelu", "F2", "B5", reads="Z",
        supplied={"A5": "GELU(z) = z Phi(z), Phi(z) = (1 + erf(z/sqrt(2)))/2"},
        # erf 8, its argument 1, the sum 2, half of which is Phi's; z phi(z) is at most 1/4 and 3.3 off, the last sum 1
        units={"A": lambda m: 8 * m("Z"), "dZ": lambda m: 4 * m("dZ") + 12 * m("dA")}),
    _row("activation", "gelu-tanh", "F2", "B5", reads="Z",
        supplied={"A6": "GELU(z) = z (1 + tanh(w))/2, w = sqrt(2/pi) (z + 0.044715 z^3)"},
        # tanh 8, its argument 7 w (1 - tanh^2) < 3.2, the sum 2; z w'/2 is up to 22 before 1 - T^2, 3 off, is exactly 0
        units={"A": lambda m: 9 * m("Z"), "dZ": lambda m: 4 * m("dZ") + 80 * m("dA")}),
    Operation("activation", "softmax", ("activations:softmax",), "handgrad.torchref.activations:softmax", ("F2",),
        supplied={"A7": "softmax(z)[k] = e^(z[k]) / (e^(z[1]) + ... + e^(z[K]))"},
        # relative: exp 8, the sum K, what the K terms are off 8 + K, two more; z - max is off where its exp is small
        units={"A": lambda m: 1 + (18 + 2 * m("A").shape[-2]) * m("A")}),
    _row("loss", "binary-cross-entropy", "L2", "B1", reads="Z", last="sigmoid", labels=(0, 1),
        units={"losses": lambda m: 8 * m("Z") + 8 * m("losses")}),  # the terms of every stable form are no larger
    _row("loss", "cross-entropy", "L5", "B1", reads="Z", last="softmax", labels=(0, 1), label_sum=1,
        supplied={"L5": "loss[k] = -y[k] log p[k]"},
        # the logarithm of a sum of K terms that are 8 + K off, 8 more of the loss, and z beside the largest
        units={"losses": lambda m: (10 + 2 * m("Z").shape[-2] + 2 * m("Z").max(-2, keepdims=True)) * m("Y")
            + 12 * m("losses")}),
    _row("loss", "squared-error", "L3", "B1", reads="A", supplied={"L3": "loss = (1/2) (a - y)^2"},
        units={"losses": lambda m: 6 * m("losses")}),  # a - y rounds once, which the square doubles; two products
    Operation("cost", "mean", ("losses:mean_loss",), "handgrad.torchref.losses:mean_loss", ("L1",)),
    Operation("cost", "weight-decay", ("losses:weight_decay",), "handgrad.torchref.losses:weight_decay", ("L4",)),
    _row("optimizer", "gradient-descent", "U1", start="no_state", options=("learning_rate",),
        units={"w_next": lambda m, learning_rate: 2 * m("w") + 14 * learning_rate * m("dw")}),
    _row("optimizer", "momentum", "O3", "O4", start="zero_velocities", options=("learning_rate", "beta"),
        state={"v": "O3"},
        units={"vw": lambda m, beta, **_: _of_average(beta, m("vw before"), m("dw")),
            "w_next": lambda m, learning_rate, **_: 2 * m("w") + 14 * learning_rate * m("vw")}),
    _row("optimizer", "adam", "O5", "O6", "O7", start="zero_moments",
        options=("learning_rate", "beta", "beta2", "epsilon"), state={"m": "O5", "s": "O6", "t": "O7"},
        supplied={"O5": "M = B M + (1-B) dJ/dw", "O6": "S = B2 S + (1-B2) (dJ/dw)^2",
            "O7": "w = w - a M' / (sqrt(S') + e), M' = M/(1 - B^t), S' = S/(1 - B2^t)"},
        units={"mw": lambda m, beta, **_: _of_average(beta, m("mw before"), m("dw")),
            "sw": lambda m, beta2, **_: 2 * _of_average(beta2, m("sw before"), m("dw") ** 2),
            "w_next": lambda m, **options: 2 * m("w") + _of_moments(m, **options)}),
    _row("initializer", "lecun", "I1", "I2"),
    _row("initializer", "glorot", "I5"),
    _row("initializer", "he", "I3"),
    _row("initializer", "small", "I6"),
    _row("initializer", "zeros"),
    _row("initializer", "notes-xavier", "I4"),
    _row("initializer", "notes-he", "I5"),
)  # fmt: skip

_BY_NAME = {(row.kind, row.name): row for row in OPERATIONS}


def names(kind: str) -> tuple[str, ...]:
    """The names of all operations of a kind, in registry order."""
    return tuple(row.name for row in OPERATIONS if row.kind == kind)


def operation(kind: str, name: str) -> Operation:
    """The registry row of that kind and name; KeyError if there is none."""
    return _BY_NAME[kind, name]


def network_reads(depth: int, *, loss_reads: str, l2: bool) -> dict[str, tuple[str, ...]]:
    """What each value of the notes' network is computed from, in dataflow order; `loss_reads` is "Z" or "A"."""
    reads: dict[str, tuple[str, ...]] = {}
    for l in range(1, depth + 1):
        reads |= {f"Z{l}": (f"W{l}", "X" if l == 1 else f"A{l - 1}", f"b{l}"), f"A{l}": (f"Z{l}",)}
    penalty = {"penalty": tuple(f"W{l}" for l in range(1, depth + 1))} if l2 else {}
    return {**reads, "losses": (f"{loss_reads}{depth}", "Y"), **penalty, "J": ("losses", *penalty)}


Shape = tuple[int, ...]


@cache
def network_records(
    layers: tuple[int, ...], n: int, *, loss_reads: str, l2: bool, optimizer: str
) -> Mapping[str, tuple[str, Shape]]:
    """The phase and shape of each tensor of one training step of the notes' network, in dataflow order.

    `layers` holds the widths, n is the number of examples; `loss_reads` is "Z" or "A", `optimizer` a registry name.
    """
    L, of_losses = len(layers) - 1, (layers[-1], n)
    values = {f"{stem}{l}": (layers[l], n) for l in range(1, L + 1) for stem in "ZA"}
    of_layer = ({f"W{l}": (layers[l], layers[l - 1]), f"b{l}": (layers[l], 1)} for l in range(1, L + 1))
    parameters = {name: shape for of_one in of_layer for name, shape in of_one.items()}
    backward = [f"{stem}{l}" for l in range(L, 0, -1) for stem in "AZWb" if (stem, l, loss_reads) != ("A", L, "Z")]
    state = remembered(operation("optimizer", optimizer).state, parameters)
    moving: dict[str, Shape] = {name: parameters.get(of, ()) for name, of in state.items()}
    phases: dict[str, dict[str, Shape]] = {
        "forward": {"X": (layers[0], n), "Y": of_losses, **values},
        "loss": {"losses": of_losses, **({"penalty": ()} if l2 else {}), "J": ()},
        "backward": {gradient(name): (values | parameters)[name] for name in backward},
        "update": moving | {updated(name): shape for name, shape in parameters.items()},
    }
    return {name: (phase, shape) for phase, shapes in phases.items() for name, shape in shapes.items()}


_LABELS = {"Z": "F1", "A": "F2", "dW": "B2", "db": "B3", "dA": "B4", "dZ": "B5"}
_FIXED = {"X": "O1", "Y": "O1", "penalty": "L4", "J": "L1"}


@cache
def equation_of(name: str, *, depth: int, loss: str, optimizer: str) -> str:
    """The label of the equation that computes a recorded tensor of the notes' network, such as "B2" for "dW1".

    `depth` is L; `loss` and `optimizer` are registry names. Unknown names give an empty label.
    """
    of_loss, of_update = operation("loss", loss), operation("optimizer", optimizer)
    output_gradient = gradient(f"{of_loss.reads}{depth}")
    fixed = {**_FIXED, **dict(zip(("losses", output_gradient), of_loss.equations, strict=True))}
    if name in fixed or is_updated(name):
        return fixed.get(name, of_update.equations[-1])
    stem, layer = layered(name)
    by_stem = _LABELS if layer is not None else {}
    label_of_state = {name: label for letter, label in of_update.state.items() for name in remembered(letter, "Wb")}
    return by_stem.get(stem) or label_of_state.get(stem, "")
