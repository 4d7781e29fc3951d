"""The registry: every operation of the notes' network, its half by hand, its twin in torch, its equations.

Adding an operation takes the functions in `manual`, the twin in `torchref` and one row here. Halves are named as
"module:attribute" and resolved on use, so that reading the registry imports neither NumPy nor torch.
"""

from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

from handgrad.compare.errors import InputError
from handgrad.compare.names import gradient, is_updated, layered, of_velocity, updated, velocity

Modules = Mapping[str, ModuleType]
"""Modules of the hand-written side by short name, such as "losses": what runs in place of the installed ones."""


class Operation(NamedTuple):
    """One operation: what kind it is, its name, its functions by hand, its torch twin and its equation labels.

    `by_hand` holds forward and backward (an optimiser: initial state and step; an initialiser: standard deviation).
    `reads` is for losses: the tensor of the last layer that the loss is a function of, "Z" or "A". `value_units` and
    `derivative_units` are for activations: how many units of roundoff g(Z) may be off, and g'(Z) dA per |dA|.
    """

    kind: str
    name: str
    by_hand: tuple[str, ...]
    torch: str
    equations: tuple[str, ...]
    reads: str = ""
    value_units: float = 0.0
    derivative_units: float = 0.0

    def hands(self, modules: Modules | None = None) -> tuple[Any, ...]:
        """The functions by hand: those of `modules`, or of the installed package."""
        halves = (path.split(":") for path in self.by_hand)
        return tuple(
            _attribute(_imported(f"handgrad.manual.{name}") if modules is None else modules[name], attribute)
            for name, attribute in halves
        )

    def twin(self) -> Any:
        """The torch twin, imported."""
        module, attribute = self.torch.split(":")
        return _attribute(_imported(module), attribute)


def _attribute(module: ModuleType, name: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError:
        raise InputError(f"{module.__name__} has no {name}, which the registry names; define it there again") from None


def _imported(module: str) -> ModuleType:
    from importlib import import_module  # the command line needs names alone

    return import_module(module)


def _activation(name: str, value_units: float = 0.0, derivative_units: float = 0.0) -> Operation:
    pair = (f"activations:{name}", f"activations:{name}_derivative")
    twin = f"handgrad.torchref.activations:{name}"
    return Operation("activation", name, pair, twin, ("F2", "B5"), "", value_units, derivative_units)


def _loss(name: str, label: str, reads: str) -> Operation:
    attribute = name.replace("-", "_")
    pair = (f"losses:{attribute}", "losses:output_gradient")
    return Operation("loss", name, pair, f"handgrad.torchref.losses:{attribute}", (label, "B1"), reads)


def _optimizer(name: str, start: str, equations: tuple[str, ...]) -> Operation:
    attribute = name.replace("-", "_")
    pair = (f"optimizers:{start}", f"optimizers:{attribute}")
    return Operation("optimizer", name, pair, f"handgrad.torchref.optimizers:{attribute}", equations)


def _initializer(name: str, *equations: str) -> Operation:
    half = f"initializers:{name.replace('-', '_')}"
    return Operation("initializer", name, (half,), f"handgrad.torchref.{half}", equations)


OPERATIONS = (
    Operation(
        "layer",
        "linear",
        ("network:linear", "network:linear_backward"),
        "torch.nn:Linear",
        ("F1", "B2", "B3", "B4"),
    ),
    _activation("sigmoid", value_units=8.0, derivative_units=10.0),
    _activation("relu"),
    _activation("tanh", value_units=8.0, derivative_units=18.0),
    _activation("identity"),
    _loss("binary-cross-entropy", "L2", "Z"),
    _loss("squared-error", "L3", "A"),
    Operation("cost", "mean", ("losses:mean_loss",), "handgrad.torchref.losses:mean_loss", ("L1",)),
    Operation(
        "cost",
        "weight-decay",
        ("losses:weight_decay",),
        "handgrad.torchref.losses:weight_decay",
        ("L4",),
    ),
    _optimizer("gradient-descent", "no_velocities", ("U1",)),
    _optimizer("momentum", "zero_velocities", ("O3", "O4")),
    _initializer("lecun", "I1", "I2"),
    _initializer("glorot", "I5"),
    _initializer("he", "I3"),
    _initializer("small", "I6"),
    _initializer("zeros"),
    _initializer("notes-xavier", "I4"),
    _initializer("notes-he", "I5"),
)


def names(kind: str) -> tuple[str, ...]:
    """The names of all operations of a kind, in registry order."""
    return tuple(row.name for row in OPERATIONS if row.kind == kind)


@cache
def operation(kind: str, name: str) -> Operation:
    """The registry row of that kind and name; KeyError if there is none."""
    for row in OPERATIONS:
        if (row.kind, row.name) == (kind, name):
            return row
    raise KeyError(f"no {kind} {name!r} in the registry")


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
    layers: tuple[int, ...], n: int, *, loss_reads: str, l2: bool, velocities: bool
) -> Mapping[str, tuple[str, Shape]]:
    """The phase and shape of each tensor of one training step of the notes' network, in dataflow order.

    `layers` holds the widths, n is the number of examples; `loss_reads` is "Z" or "A".
    """
    L, K = len(layers) - 1, layers[-1]
    records: dict[str, tuple[str, Shape]] = {"X": ("forward", (layers[0], n)), "Y": ("forward", (K, n))}
    for l in range(1, L + 1):
        records |= {f"Z{l}": ("forward", (layers[l], n)), f"A{l}": ("forward", (layers[l], n))}
    records |= {"losses": ("loss", (K, n)), **({"penalty": ("loss", ())} if l2 else {}), "J": ("loss", ())}
    of_parameters: dict[str, Shape] = {}
    for l in range(1, L + 1):
        of_parameters |= {f"W{l}": (layers[l], layers[l - 1]), f"b{l}": (layers[l], 1)}
    for l in range(L, 0, -1):
        if l < L or loss_reads == "A":
            records[gradient(f"A{l}")] = ("backward", (layers[l], n))
        records[gradient(f"Z{l}")] = ("backward", (layers[l], n))
        records |= {gradient(name): ("backward", of_parameters[name]) for name in (f"W{l}", f"b{l}")}
    if velocities:
        records |= {velocity(name): ("update", shape) for name, shape in of_parameters.items()}
    return records | {updated(name): ("update", shape) for name, shape in of_parameters.items()}


_LABELS = {"Z": "F1", "A": "F2", "dW": "B2", "db": "B3", "dA": "B4", "dZ": "B5"}
_FIXED = {"X": "O1", "Y": "O1", "penalty": "L4", "J": "L1"}


@cache
def equation_of(name: str, *, depth: int, loss: str, optimizer: str) -> str:
    """The label of the equation that computes a recorded tensor of the notes' network, such as "B2" for "dW1".

    `depth` is L; `loss` and `optimizer` are registry names. Unknown names give an empty label.
    """
    if name in _FIXED:
        return _FIXED[name]
    if name == "losses":
        return operation("loss", loss).equations[0]
    if is_updated(name):
        return operation("optimizer", optimizer).equations[-1]
    stem, layer = layered(name)
    if layer is None:
        return ""
    if of_velocity(stem) in ("W", "b"):
        return operation("optimizer", optimizer).equations[0]
    if name == gradient(f"{operation('loss', loss).reads}{depth}"):
        return operation("loss", loss).equations[1]
    return _LABELS.get(stem, "")
