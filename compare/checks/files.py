"""Checks defined in a file of the user's: which names make which check, and running them."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handgrad.compare.checks.function import check_function
from handgrad.compare.checks.gradients import check_gradients
from handgrad.compare.checks.initializer import check_initializer
from handgrad.compare.checks.training import check_training
from handgrad.compare.checks.updates import check_updates
from handgrad.compare.errors import InputError, closest, did_you_mean
from handgrad.compare.facts.remarks import BlindSpot
from handgrad.compare.report.report import Report
from handgrad.compare.sandbox import located


@dataclass(frozen=True)
class FileCheck:
    """One check: its function, the names that a file must define for it, and those that it may define."""

    function: Callable[..., Report]
    needs: tuple[str, ...]
    may: tuple[str, ...]

    def run(self, values: Mapping[str, Any]) -> Report:
        """The report of the check on what a file defines, by name."""
        options = {name: values[name] for name in self.may if name in values}
        return self.function(*(values[name] for name in self.needs), **options)


CHECKS = {
    "gradients": FileCheck(check_gradients, ("derivation", "reference", "params", "batch"), ("precisions",)),
    "updates": FileCheck(check_updates, ("update", "optimizer", "params"), ("steps", "gradients", "precisions")),
    "training": FileCheck(check_training, ("trainer", "reference", "optimizer", "params", "batches"), ("precisions",)),
    "initializer": FileCheck(check_initializer, ("initializer", "torch_initializer", "shape"), ("seed",)),
    "function": FileCheck(check_function, ("function", "reference", "inputs"), ("second",)),
}


def check_file(
    path: str, only: str | None = None, settings: Mapping[str, Any] | None = None, reference: str | None = None
) -> dict[str, Report]:
    """Run every check whose names a file defines, or the one named; `settings` come before the file's own.

    With `reference`, a second file, the first gives what is derived by hand and nothing else counts in it: all that a
    check needs besides comes from the second. Raises InputError if a file cannot be read, run or used, with its own
    file and line.
    """
    settings = settings or {}
    wanted = wanted_checks(only)
    with redirect_stdout(sys.stderr), importing_from(path, reference):  # what the file prints is not the report
        defined = defined_in(path) if reference is None else _by_hand(defined_in(path)) | of_key(defined_in(reference))
        complete = {name: check for name, check in wanted.items() if all(need in defined for need in check.needs)}
        if not complete:
            raise InputError(f"{Path(path).name} defines no complete check; {_lacking(wanted, defined)}")
        _check_settings(settings, complete)
        values = {**defined, **settings}
        reports = {name: check.run(values) for name, check in complete.items()}
        begun = {name: check for name, check in wanted.items() if name not in complete and check.needs[0] in defined}
        if begun:
            sys.stderr.write(f"handgrad: not checked: {_lacking(begun, defined)}\n")
        for meant, name in _nearly(complete, defined):
            sys.stderr.write(f"handgrad: no check reads {name}; did you mean {meant!r}?\n")
    return reports


def wanted_checks(only: str | None) -> Mapping[str, FileCheck]:
    """The check that is named, or all of them; InputError for a name that none has."""
    if only is not None and only not in CHECKS:
        raise InputError(f"--only {only} is not known; {did_you_mean(only, CHECKS)}")
    return CHECKS if only is None else {only: CHECKS[only]}


def _by_hand(defined: Mapping[str, Any]) -> dict[str, Any]:
    """Of what a file defines, what is derived by hand."""
    return {check.needs[0]: defined[check.needs[0]] for check in CHECKS.values() if check.needs[0] in defined}


def of_key(defined: Mapping[str, Any]) -> dict[str, Any]:
    """What a file defines besides what is derived by hand, which its own solution is not to stand in for."""
    own = {check.needs[0] for check in CHECKS.values()}
    return {name: value for name, value in defined.items() if name not in own}


def audit_file(
    path: str, only: str | None = None, settings: Mapping[str, Any] | None = None
) -> dict[str, tuple[BlindSpot, ...]]:
    """What each check that a file defines could not reveal: from what it returned, its data and its sizes.

    Raises InputError as check_file does.
    """
    return {name: report.blind_spots for name, report in check_file(path, only, settings).items()}


def _check_settings(settings: Mapping[str, Any], checks: Mapping[str, FileCheck]) -> None:
    """Raise InputError for a setting that no check reads."""
    unread = [name for name in settings if not any(name in check.may for check in checks.values())]
    if unread:
        flag = "dtype" if unread[0] == "precisions" else unread[0]
        raise InputError(f"--{flag} says nothing to {', '.join(checks)}; leave it out")


def defined_in(path: str) -> dict[str, Any]:
    """The names that a file defines when it is run; InputError where it cannot be read or run."""
    file = Path(path)
    if file.suffix != ".py":
        raise InputError(f"{path!r} is no Python file; name one that ends in .py")
    try:
        file.read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path} cannot be read ({why}); name an existing file, or make one: handgrad init {path}"
        ) from None
    try:
        return runpy.run_path(path, run_name="handgrad_check")
    except SystemExit:
        raise InputError(
            f"{file.name} exits while it is read; keep such calls under if __name__ == '__main__'"
        ) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the file raises
        raised = located(error)
        remedy = "mend that line" if raised.file else f"mend {file.name}"
        raise InputError(f"{raised}; {remedy}") from None


@contextmanager
def importing_from(*files: str | None) -> Iterator[None]:
    """While entered, modules beside the files, those beside the first first, can be imported, as if it were run."""
    before = list(sys.path)
    sys.path[:0] = [str(Path(file).parent.resolve()) for file in files if file is not None]
    try:
        yield
    finally:
        sys.path[:] = before


def _lacking(wanted: Mapping[str, FileCheck], defined: Mapping[str, Any]) -> str:
    """What each check that was begun lacks, or those do that lack least; and the names that may be meant for it."""
    missing = {name: [need for need in check.needs if need not in defined] for name, check in wanted.items()}
    begun = [name for name, check in wanted.items() if check.needs[0] in defined]
    if not begun and any(len(missing[name]) < len(check.needs) for name, check in wanted.items()):
        least = min(map(len, missing.values()))
        begun = [name for name, needs in missing.items() if len(needs) == least]
    said = {name: missing[name] for name in begun or wanted}
    unread = _unread(defined)
    near = {need: closest(need, unread) for needs in said.values() for need in needs}
    renamed = (f"rename {name} to {need}" for need, name in near.items() if name)
    return "; ".join([*(f"{name} lacks {', '.join(needs)}" for name, needs in said.items()), *renamed])


def _nearly(checks: Mapping[str, FileCheck], defined: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the checks may read and a file lacks, with the name of a plain value in it that is nearly the same."""
    plain = [name for name in _unread(defined) if isinstance(defined[name], (bool, int, float, str, tuple, list, dict))]
    options = dict.fromkeys(name for check in checks.values() for name in check.may if name not in defined)
    pairs = ((name, closest(name, plain)) for name in options)
    return ((name, near) for name, near in pairs if near)


def _unread(defined: Mapping[str, Any]) -> list[str]:
    """The names that a file defines and no check reads."""
    read = {name for check in CHECKS.values() for name in (*check.needs, *check.may)}
    return [name for name in defined if name not in read and not name.startswith("_")]
