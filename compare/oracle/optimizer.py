"""torch's optimiser following a derivation: it starts each step from the derivation's parameters, its state is its own.

Updates are judged entry by entry in float64 on W_next, with the same gradients on both sides, so no state needs a name.
What rounding explains is measured: more optimisers get the parameters and gradients moved by one float32 rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from handgrad.compare.diagnosis import TOO_FEW, Cause, explained, relatives
from handgrad.compare.errors import InputError, kind_of
from handgrad.compare.names import Key
from handgrad.compare.report import Finding, Row
from handgrad.compare.sandbox import CAUGHT, defaulting_to, located
from handgrad.compare.verdict.bounds import PRECISIONS
from handgrad.compare.verdict.excerpts import excerpt
from handgrad.compare.verdict.rule import CUT, Local, index_of
from handgrad.compare.verdict.steps import Judgement, beyond
from handgrad.torchref.exchange import to_array, to_tensor

__all__ = [
    "FORMS",
    "NO_BUFFER",
    "Follower",
    "Optimizer",
    "UpdateRun",
    "judge_update",
    "named_rule",
    "nothing_moved",
    "or_reset",
    "unmoved",
]

Arrays = Mapping[str, np.ndarray]
Optimizer = Callable[[list[Tensor]], torch.optim.Optimizer]
MOVED = 3
NO_BUFFER = "{} is not compared: torch's {} keeps no momentum buffer."
RESET = Cause("reset", "it is torch's with no step before: what the optimiser had kept is lost at this one")
FORMS = ("unknown", "scale", "update-form", "reset")  # what an update that is another rule looks like at first


class Follower:
    """One torch optimiser on tensors of its own, in float64."""

    def __init__(self, optimizer: Optimizer, params: Arrays) -> None:
        """Build it; InputError if that fails or gives something else than a torch optimiser."""
        self.build = optimizer
        self.leaves = {name: to_tensor(array.astype(np.float64)).requires_grad_() for name, array in params.items()}
        try:
            with defaulting_to("float64"):
                self.optimizer = optimizer(list(self.leaves.values()))
        except CAUGHT as error:
            raise InputError(
                f"the optimizer raises {located(error).what}; it must take a list of tensors and return an optimiser, "
                "as in lambda tensors: torch.optim.SGD(tensors, lr=0.1)"
            ) from None
        if not isinstance(self.optimizer, torch.optim.Optimizer):
            raise InputError(
                f"optimizer returns {kind_of(self.optimizer)}; it must take a list of tensors and return a "
                "torch optimiser, as in lambda tensors: torch.optim.SGD(tensors, lr=0.1)"
            )

        held = {id(tensor) for group in self.optimizer.param_groups for tensor in group["params"]}
        left = [name for name, leaf in self.leaves.items() if id(leaf) not in held]
        if left:
            raise InputError(
                f"the optimizer does not hold {left[0]}; hand torch's optimiser all the tensors it is given"
            )

    def step(self, params: Arrays, gradients: Arrays) -> dict[str, np.ndarray]:
        """The parameters after one step from `params` along `gradients`, named d<name>."""
        with torch.no_grad():
            for name, leaf in self.leaves.items():
                leaf.copy_(to_tensor(params[name]))
                gradient = gradients.get(f"d{name}")
                leaf.grad = None if gradient is None else to_tensor(gradient.astype(np.float64))
        try:
            with defaulting_to("float64"):
                self.optimizer.step()
        except CAUGHT as error:
            raise InputError(
                f"{type(self.optimizer).__name__} raises {located(error).what}; use an optimiser whose step() needs no "
                "argument and takes dense gradients"
            ) from None
        return {name: to_array(leaf) for name, leaf in self.leaves.items()}

    def velocity(self, name: str) -> np.ndarray | None:
        """torch's momentum buffer of a parameter, if it keeps one."""
        buffer = self.optimizer.state[self.leaves[name]].get("momentum_buffer")
        return None if buffer is None else np.asarray(to_array(buffer))

    def set_velocity(self, name: str, velocity: np.ndarray) -> None:
        """Replace torch's momentum buffer of a parameter."""
        buffer = self.optimizer.state[self.leaves[name]].get("momentum_buffer")
        if buffer is not None and tuple(buffer.shape) == velocity.shape:
            buffer.copy_(to_tensor(velocity))


@dataclass(frozen=True)
class UpdateRun:
    """One updated tensor in one precision: before, after by hand, after in torch, and after in the moved optimisers."""

    before: np.ndarray
    by_hand: np.ndarray
    torch: np.ndarray
    moved: Sequence[np.ndarray]

    @property
    def difference(self) -> np.ndarray:
        """|by hand - torch|."""
        with np.errstate(all="ignore"):
            return np.asarray(np.abs(self.by_hand.astype(np.float64) - self.torch))

    @property
    def spread(self) -> np.ndarray:
        """The largest change of torch's result when everything it is computed from moves by one float32 rounding."""
        with np.errstate(all="ignore"):
            return np.asarray(np.max([np.abs(moved - self.torch) for moved in self.moved], axis=0, initial=0.0))

    @property
    def scale(self) -> np.ndarray:
        """|before| + |after|, what one rounding of the update is relative to."""
        return np.asarray(np.abs(self.before.astype(np.float64)) + np.abs(self.torch))


def judge_update(key: Key, runs: Mapping[str, UpdateRun], printed: str, equation: str = "") -> Judgement:
    """Judge one updated tensor from its runs by dtype; shapes are equal and everything is a real number."""
    fine, coarse = PRECISIONS["float64"], PRECISIONS["float32"]
    dtype = "float64" if "float64" in runs else "float32"
    run, shown = runs[dtype], runs[printed]
    with np.errstate(all="ignore"):
        if dtype == "float64":
            other = runs["float32"].difference if "float32" in runs else np.zeros(run.before.shape)
            floor = np.maximum(np.nan_to_num(other), run.spread) + coarse.u * run.scale
            allowed = np.maximum(CUT * floor, 8 * fine.u * run.scale + 8 * fine.eta)
        else:
            moved = np.abs(run.torch - run.before)
            allowed = np.maximum(8 * run.spread, np.sqrt(coarse.u) * moved) + 8 * coarse.u * run.scale + coarse.eta
        ratio = np.atleast_1d(np.where(run.difference == 0, 0.0, run.difference / allowed)).ravel()
    finite = np.isfinite(run.by_hand) & np.isfinite(run.torch)
    worst = int(np.argmax(np.where(np.isnan(ratio), np.inf, ratio)))
    index = index_of(worst, run.before.shape)
    rho = float(ratio[worst])
    verdict = "NONFINITE" if not finite.all() else "OK" if rho <= 1 else "FAULT"
    at = index if verdict != "OK" else index_of(int(np.argmax(shown.difference)), run.before.shape)
    row = Row(
        *key,
        equation=equation,
        shape=run.before.shape,
        max_abs_diff=float(np.max(shown.difference)),
        index=at,
        by_hand=float(shown.by_hand[at]),
        torch=float(shown.torch[at]),
        rho=rho,
        rho_basis="ladder",
        verdict=verdict,
    )
    if verdict == "OK":
        return Judgement(row)
    change = Local(run.by_hand.astype(np.float64) - run.before, run.torch - run.before.astype(np.float64))
    cause = explained(change.recorded, change.reference) if verdict == "FAULT" else Cause("not-finite")
    entries = excerpt(key, run.by_hand, run.torch, index)
    return Judgement(row, _finding(row, run, cause, index), differs=True, factor=cause.factor, excerpt=entries)


def _finding(row: Row, run: UpdateRun, cause: Cause, index: tuple[int, ...]) -> Finding:
    """The finding on an updated tensor; its cause is sought in the change, not in what it changed."""
    ours, theirs, before = float(run.by_hand[index]), float(run.torch[index]), float(run.before[index])
    worst = f"{f'at {index}: ' if index else ''}by hand {ours:.9g}, torch {theirs:.9g}"
    said, why = dict[str, str](), cause.text
    if row.name.endswith("_next"):
        worst += f", both from {before:.9g}"
        said = {"zero": "the update leaves it as it was", "sign": "the update goes the other way: it ascends"}
        why = said.get(cause.code, why.replace("every entry", "every entry of the update"))
    code = "update-form" if cause.code in said else cause.code
    far = beyond(row.rho or 0.0)
    if cause.code == "not-finite":
        text = f"by hand it is {ours}, in torch {theirs}"
    elif cause.code == "unknown":
        text = f"{far}; {why}" if why else far
    else:
        text = f"{why}; {far}"
    factor = None if cause.code == "unknown" else cause.factor
    key = (row.step, row.phase, row.name)
    return Finding(*key, row.equation, row.verdict, code, f"{text}; {worst}", factor, index)


def named_rule(
    findings: tuple[Finding, ...],
    judged: Iterable[Judgement],
    due: torch.optim.Optimizer,
    agrees: Callable[[Optimizer], bool],
) -> tuple[Finding, ...]:
    """Findings on updates with the optimiser that the update is instead, if one agrees at every step.

    Without one, a factor is named only where every step has one, and as that of its step if it is not the same.
    """
    factors: dict[str, set[float]] = {}
    for judgement in judged:
        if judgement.finding is not None:
            factor = np.nan if judgement.factor is None else judgement.factor
            factors.setdefault(judgement.row.name, set()).add(round(factor, 9) if np.isfinite(factor) else np.nan)
    is_steady = all(len(each) == 1 and not np.isnan([*each]).any() for each in factors.values())
    others = relatives(due, new_memory=not is_steady or not factors)
    cause = next((cause for cause, factory in others if _agrees(agrees, factory)), None)
    named = []
    for finding in findings:
        text = finding.explanation
        if finding.cause not in FORMS or not finding.name.endswith("_next"):
            named.append(finding)
        elif cause is not None:
            named.append(_called(finding, cause))
        elif finding.cause == "scale" and any(map(np.isnan, factors.get(finding.name, ()))):
            named.append(replace(finding, cause="unknown", factor=None, explanation=text.partition("; ")[2]))
        elif finding.cause == "scale" and len(factors.get(finding.name, ())) > 1:
            first, _, rest = text.partition("; ")
            named.append(replace(finding, explanation=f"{first}, and by other factors at other steps; {rest}"))
        else:
            named.append(finding)
    return tuple(named)


def unmoved(steps: Iterable[tuple[Arrays, Arrays]]) -> list[str]:
    """The parameters that no step changes, each step given as what there was before and after it."""
    steps = [*steps]
    names = steps[0][0] if steps else ()
    return [n for n in names if all(n in after and np.array_equal(before[n], after[n]) for before, after in steps)]


def nothing_moved(name: str, remedy: str) -> Finding:
    """The finding that neither side changes any parameter, the first of which has this name."""
    text = f"no step changes any parameter on either side, so nothing is compared; {remedy}"
    return Finding(1, "update", f"{name}_next", "", "FAULT", "zero", text)


def _called(finding: Finding, cause: Cause) -> Finding:
    """The finding with another cause."""
    text = finding.explanation.replace(f"; {TOO_FEW}", "")
    told = text if finding.cause == "unknown" else text.partition("; ")[2]
    return replace(finding, cause=cause.code, factor=None, explanation=f"{cause.text}; {told}")


def or_reset(finding: Finding, from_scratch: Sequence[Judgement]) -> Finding:
    """A finding on what an optimiser made, called `reset` if torch agrees that had no step before, as far as it can."""
    agrees = bool(from_scratch) and not any(judgement.finding for judgement in from_scratch)
    return _called(finding, RESET) if agrees and finding.cause in FORMS else finding


def _agrees(agrees: Callable[[Optimizer], bool], factory: Optimizer) -> bool:
    try:
        return agrees(factory)
    except (InputError, TypeError, ValueError):  # torch refuses that combination of settings
        return False
