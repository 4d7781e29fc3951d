"""The settings of one run of the notes' network, frozen and checked."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from handgrad.compare.errors import InputError, did_you_mean
from handgrad.compare.operations import names, operation
from handgrad.compare.thresholds import FLOAT32_MAX

DTYPES = ("float64", "float32")
LARGEST = 10**8  # parameters, or steps: what a machine can be expected to hold and a person to wait for
DISTRIBUTIONS = ("normal", "uniform")


def printed_first(dtype: str) -> tuple[str, ...]:
    """Both precisions, the one that is printed first."""
    return (dtype, *(other for other in DTYPES if other != dtype))


def _described(default: Any, text: str) -> Any:
    """A field with its default and the sentence that the command line shows for it."""
    return field(default=default, metadata={"help": text})


def _with_last(loss: str) -> str:
    """A loss with the last activation that it needs."""
    last = operation("loss", loss).last
    return f"{loss} (needs {last} last)" if last else loss


@dataclass(frozen=True)
class Settings:
    """One run of the notes' network, by hand and in torch.nn, on the same weights and the same batches.

    `layers` holds the widths (n_x, n_1, ..., n_L), `activations` one name per layer after the input. The run is fixed
    by these fields and the data alone. Raises InputError, a ValueError, if a field is out of range or unknown.
    """

    layers: tuple[int, ...] = _described((30, 16, 1), "widths from the input to the output, such as 30,16,1")
    activations: tuple[str, ...] = _described(
        ("tanh", "sigmoid"), f"one per layer after the input: {' '.join(names('activation'))}"
    )
    loss: str = _described("binary-cross-entropy", " or ".join(map(_with_last, names("loss"))))
    initializer: str = _described("lecun", "lecun glorot he small zeros; notes-xavier is lecun, notes-he is glorot")
    distribution: str = _described("normal", "what the initial weights are drawn from: normal or uniform")
    bias_scale: float = _described(0.1, "standard deviation of the initial biases; 0 starts them at 0")
    optimizer: str = _described("momentum", f"{' '.join(names('optimizer'))}; momentum is the notes' weighted average")
    learning_rate: float = _described(0.1, "the rate a of the update, above 0")
    beta: float = _described(0.9, "memory B of momentum and of Adam's mean gradient, from 0 to below 1")
    beta2: float = _described(0.999, "memory B2 of Adam's mean square, above 0 and below 1")
    epsilon: float = _described(1e-8, "what Adam adds to the root of the mean square, above 0")
    l2: float = _described(0.0, "weight decay: (l2/2) ||W||^2 is added to J")
    batch_size: int | None = _described(32, "examples per step, or `full`; the last batch of an epoch may be smaller")
    epochs: int = _described(2, "passes over the data, reshuffled each time")
    steps: int | None = _described(None, "number of steps; overrides --epochs")
    dtype: str = _described("float64", "float64 or float32")
    seed: int = _described(0, "fixes the initial weights and the order of the examples")
    free_running: bool = _described(
        False, "torch goes its own way after step 1 instead of restarting from the hand's weights"
    )

    def __post_init__(self) -> None:
        """Coerce numbers and sequences to plain Python, and check every field."""
        for name, coerce in _COERCE.items():
            object.__setattr__(self, name, coerce(name, getattr(self, name)))
        _check(self)

    @property
    def depth(self) -> int:
        """The number L of layers after the input."""
        return len(self.layers) - 1

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        return dict(vars(self))


def _integer(name: str, value: Any) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise InputError(f"{name} is {value!r}; it must be a whole number, so write for example 4") from None


def _optional_integer(name: str, value: Any) -> int | None:
    return None if value is None else _integer(name, value)


def _number(name: str, value: Any) -> float:
    try:
        if isinstance(value, (str, bytes, bool)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise InputError(f"{name} is {value!r}; it must be a number, so write for example 0.1") from None
    if not math.isfinite(number):
        raise InputError(f"{name} is {number}; it must be finite, so write for example 0.1")
    if abs(number) > FLOAT32_MAX:
        raise InputError(f"{name} is {number}; float32 holds no more than {FLOAT32_MAX:.1e}, so write for example 0.1")
    return number


def _sequence(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise InputError(f"{name} is {value!r}; it must be a sequence, so write for example {EXAMPLES[name]}")
    return tuple(value)


EXAMPLES = {"layers": (30, 16, 1), "activations": ("tanh", "sigmoid")}


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        known = "float64" if name == "dtype" else "uniform" if name == "distribution" else names(name)[0]
        raise InputError(f"{name} is {value!r}; it must be a name in quotes, so write for example {known!r}")
    return value


def _flag(name: str, value: Any) -> bool:
    if value is not True and value is not False:
        raise InputError(f"{name} is {value!r}; it must be True or False, so write one of them")
    return value


def _widths(name: str, value: Any) -> tuple[int, ...]:
    return tuple(_integer(f"{name}[{i}]", width) for i, width in enumerate(_sequence(name, value)))


_COERCE = {
    "layers": _widths,
    "activations": _sequence,
    "bias_scale": _number,
    "learning_rate": _number,
    "beta": _number,
    "beta2": _number,
    "epsilon": _number,
    "l2": _number,
    "batch_size": _optional_integer,
    "epochs": _integer,
    "steps": _optional_integer,
    "seed": _integer,
    "free_running": _flag,
    **dict.fromkeys(("loss", "initializer", "distribution", "optimizer", "dtype"), _text),
}


def _check(settings: Settings) -> None:
    """Raise InputError for the first field that is out of range."""
    _check_widths(settings.layers)
    for name in settings.activations:
        _known("activation", name, names("activation"))
    for field_name in ("loss", "initializer", "distribution", "optimizer", "dtype"):
        _known(field_name, getattr(settings, field_name), _OPTIONS.get(field_name) or names(field_name))
    _check_activations(settings)
    _check_numbers(settings)


_OPTIONS = {"distribution": DISTRIBUTIONS, "dtype": DTYPES}


def _check_widths(layers: tuple[int, ...]) -> None:
    if len(layers) < 2:
        raise InputError(f"layers is {layers}; it needs an input and an output width, so write for example (30, 16, 1)")
    for i, width in enumerate(layers):
        if width < 1:
            raise InputError(
                f"layers[{i}] is {width}; every width must be at least 1, so give that layer a positive width"
            )
    count = sum(a * b for a, b in pairwise(layers))
    if count > LARGEST:
        raise InputError(f"layers {layers} have {count} weights; no more than {LARGEST} can be held, so narrow a layer")


def _check_activations(settings: Settings) -> None:
    activations = settings.activations
    if len(activations) != settings.depth:
        raise InputError(
            f"activations has {len(activations)} names for {settings.depth} layers after the input; "
            f"give exactly one per layer, for example {('tanh',) * (settings.depth - 1) + ('sigmoid',)}"
        )
    for l, name in enumerate(activations, start=1):
        before = [loss for loss in names("loss") if operation("loss", loss).last == name]
        if len(operation("activation", name).by_hand) == 1 and (l < settings.depth or settings.loss not in before):
            raise InputError(
                f"the activation of layer {l} is {name}; it may stand only last, before {' or '.join(before)}, so "
                f"choose another there or the loss {before[0]}"
            )
    needed = operation("loss", settings.loss).last
    if needed and activations[-1] != needed:
        other = next(name for name in names("loss") if not operation("loss", name).last)
        raise InputError(
            f"the last activation is {activations[-1]!r}; {settings.loss} needs {needed} there, "
            f"so end the activations with {needed} or choose the loss {other}"
        )


def _check_numbers(settings: Settings) -> None:
    if not settings.learning_rate > 0:
        raise InputError(f"learning_rate is {settings.learning_rate}; it must be above 0, so write for example 0.1")
    if not 0 <= settings.beta < 1:
        raise InputError(f"beta is {settings.beta}; it must be from 0 to below 1, so write for example 0.9")
    if not 0 < settings.beta2 < 1:
        raise InputError(f"beta2 is {settings.beta2}; it must be above 0 and below 1, so write for example 0.999")
    if not settings.epsilon > 0:
        raise InputError(f"epsilon is {settings.epsilon}; it must be above 0, so write for example 1e-8")
    for name, least in (("bias_scale", 0), ("l2", 0), ("batch_size", 1), ("epochs", 1), ("steps", 1), ("seed", 0)):
        value = getattr(settings, name)
        if value is not None and not value >= least:
            raise InputError(f"{name} is {value}; it must be at least {least}, so write for example {max(least, 1)}")
    for name in ("epochs", "steps"):
        if (getattr(settings, name) or 0) > LARGEST:
            raise InputError(
                f"{name} is {getattr(settings, name)}; it must be at most {LARGEST}, so write for example 20"
            )


def _known(field_name: str, value: Any, options: tuple[str, ...]) -> None:
    if value not in options:
        raise InputError(f"{field_name} {value!r} is not known; {did_you_mean(value, options)}")
