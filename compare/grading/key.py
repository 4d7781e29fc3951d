"""The key of an exercise: what a check needs besides the submission, the points of equations, and what else costs."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handgrad.compare.checks.files import CHECKS, FileCheck, defined_in, importing_from
from handgrad.compare.errors import InputError, did_you_mean, kind_of
from handgrad.compare.names import gradient
from handgrad.compare.oracle.reference import own_run
from handgrad.compare.pipeline.problem import problem_of
from handgrad.compare.report.report import Report
from handgrad.compare.results import FAILING
from handgrad.compare.sandbox import undisturbed

COSTS = ("reference", "autograd", "optimizer", "differences", "mutated-input", "not-repeatable", "ignored-arguments")
TOTAL = 100.0  # points of an exercise whose key gives none
GRADED = ("gradients", "updates", "training", "initializer")


@dataclass(frozen=True)
class Key:
    """A key: its file, the check that it is for, the name that a submission must define, and what a tensor is worth.

    `points` are by tensor, in dataflow order; `costs` are points that a remark takes away, by its code.
    """

    path: str
    check: FileCheck
    values: Mapping[str, Any] = field(repr=False)
    points: Mapping[str, float]
    costs: Mapping[str, float]

    @property
    def due(self) -> str:
        """The name that a submission must define."""
        return self.check.needs[0]

    def judge(self, by_hand: Callable[..., Any]) -> Report:
        """The report on what is derived by hand."""
        with redirect_stdout(sys.stderr), importing_from(self.path):
            return self.check.run({**self.values, self.due: by_hand})


def load_key(path: str) -> Key:
    """The key in a file: reference, params and batch, or what another check needs, `points` and `costs` if it has any.

    Its own solution, if it has one, must be right, and says which tensors are due. InputError where it cannot be used.
    """
    name = Path(path).name
    with redirect_stdout(sys.stderr):
        values = defined_in(path)
    complete = [CHECKS[check] for check in GRADED if all(need in values for need in CHECKS[check].needs[1:])]
    own = [check for check in complete if check.needs[0] in values]
    if not complete:
        raise InputError(
            f"{name} is no key: it lacks {', '.join(CHECKS['gradients'].needs[1:])}; or what updates, training or an "
            "initializer needs"
        )
    check = (own or complete)[0]
    key = Key(path, check, values, {}, _checked_costs(values.get("costs", {}), name))
    with redirect_stdout(sys.stderr):
        names = _names_of_solution(key) if own else _names_of_reference(key)
    return Key(path, check, values, _checked_points(values.get("points"), names, name), key.costs)


def _names_of_solution(key: Key) -> list[str]:
    """The tensors that the key's own solution has; InputError where that is wrong."""
    report = key.judge(key.values[key.due])
    first = next((finding for finding in report.findings if finding.verdict in FAILING), None)
    if first is not None:
        name = Path(key.path).name
        raise InputError(
            f"the {key.due} in {name} differs itself, first in {first.where.name}; handgrad check {name} shows it, and "
            "a key must be right"
        )
    return [*dict.fromkeys(row.name for row in report.rows)]


def _names_of_reference(key: Key) -> list[str]:
    """J, what the reference taps, and the gradients of parameters; InputError for a key that has no such thing."""
    if key.due != "derivation":
        raise InputError(f"{Path(key.path).name} has no {key.due}; a key for it needs its own right one")
    values = key.values
    with undisturbed(), importing_from(key.path):
        problem = problem_of(values["reference"], values["params"], values["batch"], ("float64",))
        run = own_run(problem.reference, problem.params, problem.batch, {}, "float64")
    return [*run.values, *map(gradient, problem.params)]


def _checked_points(points: Any, names: Iterable[str], key: str) -> dict[str, float]:
    """The points of each tensor; by default all are worth the same."""
    known = [*names]
    if points is None:
        return {name: TOTAL / len(known) for name in known}
    checked = _checked("points", points, key)
    unknown = [name for name in checked if name not in known and not _may_be(name, known)]
    if unknown:
        raise InputError(
            f"points in {key} names {unknown[0]!r}, which is not compared; {did_you_mean(unknown[0], known)}"
        )
    if not sum(checked.values()):
        raise InputError(f"points in {key} are all 0; give one equation some, like points = {{'dW1': 2}}")
    return {name: checked[name] for name in [*known, *checked] if name in checked}


def _may_be(name: str, known: Iterable[str]) -> bool:
    """Whether a name is the gradient of a value that is compared: it is compared where it is returned."""
    return any(name == gradient(value) for value in known)


def _checked_costs(costs: Any, key: str) -> dict[str, float]:
    """What remarks cost, by their codes."""
    checked = _checked("costs", costs, key)
    unknown = [code for code in checked if code not in COSTS]
    if unknown:
        raise InputError(f"costs in {key} names {unknown[0]!r}, which is no remark; {did_you_mean(unknown[0], COSTS)}")
    return checked


def _checked(kind: str, values: Any, key: str) -> dict[str, float]:
    """A mapping of names to points from 0 on."""
    if not isinstance(values, Mapping):
        raise InputError(f"{kind} in {key} is {kind_of(values)}; it must be a dict of names and points, {{'dW1': 2}}")
    for name, value in values.items():
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or value < 0:
            raise InputError(f"{kind}[{name!r}] in {key} is {value!r}; it must be a number of points from 0 on")
    return {str(name): float(value) for name, value in values.items()}
