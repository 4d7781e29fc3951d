"""What is checked: a function and its reference, called alike, with their inputs; modules with their parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from handgrad.compare.errors import InputError, kind_of
from handgrad.compare.names import gradient
from handgrad.compare.oracle.coarse.evaluation import is_floating, leaves_of
from handgrad.compare.oracle.coarse.formats import coarsest

CALLED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class Subject:
    """Both callables, of the same inputs in the same order, and the names of these.

    `trained` are the positions of the inputs that have a gradient; `of_outputs` and `of_gradients` are the names of
    these where they do not follow from those of the inputs.
    """

    function: Callable[..., Any]
    reference: Callable[..., Any]
    inputs: tuple[Any, ...]
    names: tuple[str, ...]
    trained: tuple[int, ...]
    of_outputs: tuple[str, ...] = ()
    of_gradients: tuple[str, ...] = ()

    @property
    def dtype(self) -> str:
        """The coarsest dtype of what is handed over."""
        return coarsest([t.dtype for t in self.inputs if is_floating(t)])

    @property
    def gradients(self) -> tuple[str, ...]:
        """The names of the gradients."""
        return self.of_gradients or tuple(gradient(self.names[position]) for position in self.trained)

    def outputs(self, count: int) -> tuple[str, ...]:
        """The names of so many outputs, which no input has."""
        stem = "y" if all(name[:1] != "y" for name in self.names) else "output"
        return self.of_outputs or ((stem,) if count == 1 else tuple(f"{stem}{i + 1}" for i in range(count)))


def subject_of(function: Any, reference: Any, inputs: Any) -> Subject:
    """The subject that arguments describe; InputError for arguments that cannot be used."""
    inputs = (inputs,) if isinstance(inputs, Tensor) else inputs
    if not isinstance(inputs, (tuple, list)):
        raise InputError(f"inputs is {kind_of(inputs)}; it must be a tuple of tensors and other arguments, like (x, w)")
    for side, name in ((function, "function"), (reference, "reference")):
        if not callable(side):
            raise InputError(f"{name} is {kind_of(side)}; it must be a function of the inputs")
        if isinstance(side, type) and issubclass(side, nn.Module):
            raise InputError(f"{name} is the class {side.__name__}; hand over a module, as {side.__name__}(...)")
        if isinstance(side, nn.Module):
            _initialized(side, name)
    if isinstance(function, type) and issubclass(function, torch.autograd.Function):
        function = function.apply
    names, theirs = _names(reference, len(inputs)), reference
    values = [*inputs]
    if isinstance(function, nn.Module):
        own = dict(function.named_parameters())
        plain = [*map(_plain, own)]
        names += [name.replace(".", "_") for name in plain]
        reference = _beside(reference, plain, len(inputs))
        values += own.values()
        function = _functional(function, [*own], len(inputs), dict(function.named_buffers()))
    elif isinstance(reference, nn.Module):
        constants = _in_float64((*reference.named_parameters(), *reference.named_buffers()))
        reference = _functional(reference, (), len(inputs), constants)
    if len({*names}) < len(names):
        raise InputError(f"{', '.join(names)} are not distinct; rename the parameters of the reference")
    checked = [_checked(name, value) for name, value in zip(names, values, strict=True)]
    trained = _trained(names, values, len(inputs))
    _check_call(theirs, names[: len(inputs)], names[len(inputs) :])
    return Subject(function, reference, tuple(checked), tuple(names), trained)


def _check_call(reference: Any, names: Sequence[str], parameters: Sequence[str]) -> None:
    """Raise InputError where a reference does not take inputs by position, and the parameters of a module by name."""
    is_module = isinstance(reference, nn.Module)
    by_name = dict.fromkeys(() if is_module else parameters)
    try:
        signature = inspect.signature(reference.forward if is_module else reference)
    except (TypeError, ValueError):  # of a function of torch's own
        return
    try:
        signature.bind(*names, **by_name)
    except TypeError as error:
        also = f", and {', '.join(by_name)} by name" * bool(by_name)
        call = "functional_call(module, {'w': w}, (x,))" if is_module else "reference(x, w=w)"
        raise InputError(
            f"the reference takes {signature}, and is handed {', '.join(names)} by position{also} ({error}); wrap it, "
            f"as in lambda x, w: {call}"
        ) from None


def _names(reference: Any, count: int) -> list[str]:
    """The names of the reference's positional parameters, or numbers where it has none."""
    try:
        called = reference.forward if isinstance(reference, nn.Module) else reference
        parameters = [*inspect.signature(called).parameters.values()]
    except (TypeError, ValueError):
        parameters = []
    named = [parameter.name for parameter in parameters if parameter.kind in CALLED]
    return [named[i] if i < len(named) else f"x{i + 1}" for i in range(count)]


def _checked(name: str, value: Any) -> Any:
    """An input, detached; InputError for a tensor that nothing can be told of, and for floating ones inside of it."""
    if not isinstance(value, Tensor):
        if isinstance(value, (list, tuple, dict)) and any(map(is_floating, leaves_of(value))):
            raise InputError(
                f"{name} is {kind_of(value)} with floating tensors in it, which have gradients of their own; hand them "
                "over one by one, and let both sides put them together, as in lambda *ts: f(list(ts))"
            )
        return value
    if value.is_meta:
        raise InputError(f"{name} is on the device meta and holds no numbers; hand over a tensor that does")
    if value.is_complex():
        raise InputError(f"{name} is complex; hand over its real and imaginary parts, by .real and .imag")
    if value.layout is not torch.strided:
        raise InputError(f"{name} is of layout {value.layout}; hand over {name}.to_dense()")
    if value.is_floating_point():
        if not value.numel():
            raise InputError(f"{name} has shape {tuple(value.shape)} and no entry; hand over at least one number")
        if torch.finfo(value.dtype).bits < 16:
            raise InputError(f"{name} is {value.dtype}; hand over 16 bits or more")
        if not bool(torch.isfinite(value).all()):
            raise InputError(f"{name} holds nan or infinity; start from finite numbers")
    return value.detach()


def _trained(names: Sequence[str], values: Sequence[Any], count: int) -> tuple[int, ...]:
    """The floating inputs that require a gradient, or all of them where none does, and the parameters that do."""
    floats = [i for i, value in enumerate(values[:count]) if is_floating(value)]
    parameters = [i for i, value in enumerate(values) if i >= count and is_floating(value) and value.requires_grad]
    if not floats and not parameters:
        held = ", ".join(f"{n} {kind_of(v)}" for n, v in zip(names, values, strict=True)) or "nothing"
        raise InputError(f"no input is a floating tensor ({held}); hand over what the gradient is with respect to")
    return (*([i for i in floats if values[i].requires_grad] or floats), *parameters)


# --- modules


def _initialized(module: nn.Module, side: str) -> None:
    """Raise InputError for a module that makes its parameters when it is called first."""
    lazy = [name for name, held in (*module.named_parameters(), *module.named_buffers()) if is_lazy(held)]
    if lazy:
        raise InputError(
            f"{', '.join(lazy)} of the {side} {'is' if len(lazy) == 1 else 'are'} uninitialised; call the module once "
            "on the inputs before it is checked"
        )


def _plain(name: str) -> str:
    """The name of a parameter without what torch.compile puts before the names of a module that it wraps."""
    return name.replace("_orig_mod.", "")


def _functional(
    module: nn.Module, parameters: Sequence[str], count: int, held: Mapping[str, Tensor]
) -> Callable[..., Any]:
    """A module as a function of its inputs and then its parameters, on copies of what it holds beside these."""

    def call(*values: Any) -> Any:
        given = dict(zip(parameters, values[count:], strict=True))
        return functional_call(module, {**{n: t.clone() for n, t in held.items()}, **given}, values[:count])

    return call


def _beside(reference: Any, parameters: Sequence[str], count: int) -> Callable[..., Any]:
    """The reference of a module: called with its parameters, a module in place of its own and a function by name."""
    if not isinstance(reference, nn.Module):
        names = [name.replace(".", "_") for name in parameters]
        return lambda *values: reference(*values[:count], **dict(zip(names, values[count:], strict=True)))
    own = {_plain(name): name for name, _ in reference.named_parameters()}
    if own.keys() != {*parameters}:
        raise InputError(
            f"the reference has the parameters {', '.join(own)}, the function {', '.join(parameters)}; name them alike"
        )
    held = _in_float64(reference.named_buffers())
    return _functional(reference, [own[name] for name in parameters], count, held)


def _in_float64(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    return {name: t.detach().double() if t.is_floating_point() else t for name, t in tensors}
