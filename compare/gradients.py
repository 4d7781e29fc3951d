"""A derivation against any torch reference: forward values, J and gradients, judged without knowing the formulas."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compare.conventions import FLOAT32_ONLY, FLOAT64_INSIDE
from compare.environment import versions
from compare.errors import InputError
from compare.findings import Judgement, StepRun, culprits, judge_step
from compare.replay import Replay, replay
from compare.report import Report
from compare.trace import Key, frozen
from compare.verdict import Ladder, is_float32
from torchref.exchange import to_tensor

__all__ = ["check_gradients"]

Arrays = dict[str, np.ndarray]
Derivation = Callable[..., Mapping[str, Any]]
Reference = Callable[..., Tensor]

REPLAYS = 3  # replays with moved inputs, and reruns with moved parameters


def check_gradients(
    derivation: Derivation,
    reference: Reference,
    params: Mapping[str, Any],
    batch: Sequence[Any],
    *,
    precisions: Sequence[str] = ("float64", "float32"),
) -> Report:
    """Check the forward values, J and the gradients of a derivation against a torch reference.

    derivation(params, *batch) is NumPy code and returns a mapping of names to arrays: any of the intermediates that the
    reference names by taps, J, and d<name> for parameters, intermediates and inputs. reference(params, *batch) is torch
    code that returns the scalar J. Floating arrays are cast to each of `precisions`, the others pass unchanged. Raises
    InputError, a ValueError, if there is nothing to compare or the reference misuses taps.
    """
    sides = {dtype: _Side(derivation, reference, params, batch, dtype) for dtype in precisions}
    printed = sides[precisions[0]]
    judged, notes = _judged(sides, printed), []
    finest = sides.get("float64")
    if (
        finest
        and "float32" in sides
        and any(j.finding for j in judged)
        and all(map(is_float32, finest.records.values()))
    ):
        judged = _judged({"float32": sides["float32"]}, sides["float32"])
        notes.append(FLOAT32_ONLY)
    if "float32" in sides and any(array.dtype == np.float64 for array in sides["float32"].records.values()):
        notes.append(FLOAT64_INSIDE)
    notes += [
        f"d{name} is not judged: J does not depend on {name} in the reference."
        for name in sorted(printed.end_to_end().side_outputs)
        if f"d{name}" in printed.records
    ]
    notes += dict.fromkeys(judgement.note for judgement in judged if judgement.note)
    return Report(
        rows=tuple(judgement.row for judgement in judged),
        findings=culprits(judged),
        notes=tuple(notes),
        environment={"precisions": list(precisions), **versions()},
    )


def _judged(sides: Mapping[str, _Side], printed: _Side) -> list[Judgement]:
    """The verdicts on everything recorded, and on what should have been."""
    values, gradients = printed.end_to_end().values, printed.end_to_end().gradients
    owed = {f"d{name}" for name in printed.params}
    keys = [Key(1, "loss" if name == "J" else "forward", name) for name in values if name in printed.records]
    keys += [Key(1, "backward", name) for name in gradients if name in printed.records or name in owed]
    ignored = {f"d{name}" for name in printed.end_to_end().side_outputs}
    unknown = [name for name in printed.records if name not in values and name not in gradients and name not in ignored]
    keys += [Key(1, "backward" if name.startswith("d") else "forward", name) for name in unknown]
    if not any(key.name in printed.records for key in keys):
        raise InputError("the derivation returns no tensor that the reference has; return J or d<name> of a parameter")
    runs = {dtype: StepRun(side.records, side.local) for dtype, side in sides.items()}
    source = sides.get("float64", printed)
    ladders = {
        key.name: Ladder(partial(source.spread, key.name), partial(source.jitter, key.name))
        for key in keys
        if key.name in source.records
    }
    end_to_end = (printed.records, {**values, **gradients})
    with np.errstate(all="ignore"):
        return judge_step([(key, "") for key in keys], runs, end_to_end, printed.end_to_end().reads, ladders)


class _Side:
    """The derivation and the reference in one precision, and the further evidence that the ladder asks for."""

    def __init__(
        self, derivation: Derivation, reference: Reference, params: Mapping[str, Any], batch: Sequence[Any], dtype: str
    ) -> None:
        self.derivation, self.reference, self.dtype = derivation, reference, dtype
        self.params = {name: _cast(value, dtype) for name, value in params.items()}
        self.batch = tuple(_cast(value, dtype) for value in batch)
        self.inputs = _input_names(reference, len(self.batch))
        self.records = self._derive(self.params)
        self.replayed = self._replay(self.params, self.batch, self.records, "float64")
        self.local = {**self.replayed.values, **self.replayed.gradients}
        self.end_to_end = cache(partial(self._replay, self.params, self.batch, {}, dtype, inspect=True))
        self.spreads = cache(self._spreads)
        self.jitters = cache(self._jitters)

    def spread(self, name: str) -> float:
        """The largest change of the local reference of a record when all it is computed from moves by one rounding."""
        return self.spreads().get(name, 0.0)

    def jitter(self, name: str) -> float:
        """How much of the local difference of a record changes when the parameters move a little: 0 for a fault."""
        return self.jitters().get(name, 0.0)

    def _derive(self, params: Arrays) -> Arrays:
        with np.errstate(all="ignore"):  # what overflows shows in the values
            returned = self.derivation(
                {name: array.copy() for name, array in params.items()}, *(array.copy() for array in self.batch)
            )
        return {str(name): frozen(value) for name, value in returned.items()}

    def _replay(
        self, params: Arrays, batch: Sequence[np.ndarray], records: Arrays, dtype: str, *, inspect: bool = False
    ) -> Replay:
        leaves = {name: to_tensor(_cast(array, dtype)).requires_grad_() for name, array in params.items()}
        inputs = [to_tensor(_cast(array, dtype)) for array in batch]
        tracked = {
            name: tensor.requires_grad_()
            for name, tensor in zip(self.inputs, inputs, strict=True)
            if f"d{name}" in self.records and tensor.is_floating_point()
        }
        with torch.enable_grad():
            return replay(lambda: self.reference(leaves, *inputs), {**leaves, **tracked}, records, inspect=inspect)

    def _spreads(self) -> dict[str, float]:
        rng = np.random.default_rng(0)
        found: dict[str, float] = {}
        for _ in range(REPLAYS):
            moved = partial(_moved, rng=rng, by=2.0**-24)
            params = {name: moved(array) for name, array in self.params.items()}
            records = {name: moved(array) for name, array in self.records.items()}
            again = self._replay(params, [moved(array) for array in self.batch], records, "float64")
            for name, reference in {**again.values, **again.gradients}.items():
                found[name] = max(found.get(name, 0.0), _largest(reference - self.local[name]))
        return found

    def _jitters(self) -> dict[str, float]:
        rng = np.random.default_rng(1)
        found: dict[str, float] = {}
        for _ in range(REPLAYS):
            params = {name: _moved(array, rng=rng, by=2.0**-20) for name, array in self.params.items()}
            records = self._derive(params)
            again = self._replay(params, self.batch, records, "float64")
            for name, reference in {**again.values, **again.gradients}.items():
                if name in records and records[name].shape == reference.shape == self.records[name].shape:
                    before, now = self.records[name] - self.local[name], records[name] - reference
                    change = _largest(now - before) / max(_largest(before), np.finfo(float).tiny)
                    found[name] = min(found.get(name, np.inf), change)
        return found


def _cast(value: Any, dtype: str) -> np.ndarray:
    """Floating arrays in the dtype asked for, the others as they are."""
    array = np.asarray(value)
    return array.astype(dtype) if array.dtype.kind == "f" else array


def _moved(array: np.ndarray, *, rng: np.random.Generator, by: float) -> np.ndarray:
    """Every entry of a floating array moved by a relative amount, up or down at random, in float64."""
    if array.dtype.kind != "f":
        return array
    return np.asarray(array.astype(np.float64) * (1 + by * rng.choice([-1.0, 1.0], array.shape)))


def _largest(difference: np.ndarray) -> float:
    return float(np.max(np.abs(np.nan_to_num(difference)), initial=0.0))


def _input_names(reference: Reference, count: int) -> list[str]:
    """The names of the reference's positional parameters after the first, or numbers where it has none."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = [p.name for p in inspect.signature(reference).parameters.values() if p.kind in kinds][1:]
    return [named[i] if i < len(named) else f"input{i + 1}" for i in range(count)]
