"""An entry of the catalogue as a lesson: the equation, the code wrong and right, the numbers, and what to learn."""

from __future__ import annotations

import importlib
import inspect
import re
from difflib import unified_diff

import numpy as np
from tabulate import tabulate

from compare.faults import Fault, catalogue
from compare.faults.planting import edited
from compare.faults.trial import check
from compare.operations import EQUATIONS
from compare.report import Report
from compare.report.summary import closing, setting
from compare.report.text import render

__all__ = ["lesson", "listed"]

AROUND = 2  # lines of code around a change


def listed() -> str:
    """All entries in a table: name, cause, the tensor that is wrong first, and the wrong equation."""
    rows = [(fault.name, fault.cause, _plain(fault.first), fault.formula) for fault in catalogue().values()]
    table = tabulate(rows, headers=("name", "cause", "first", "wrong equation"), disable_numparse=True)
    return f"{table}\n\n{len(rows)} mistakes; handgrad faults NAME shows one.\n"


def lesson(fault: Fault, seed: int) -> str:
    """What a class should see of one mistake, in a fixture that the seed draws."""
    report, _ = check(fault, np.random.default_rng(seed))
    right = f"({fault.equation}) {EQUATIONS[fault.equation]}" if fault.equation in EQUATIONS else fault.equation
    parts = [
        fault.name,
        f"right   {right}\nwrong   {fault.formula}",
        f"Why it happens: {fault.why}",
        _difference(fault),
        *_numbers(report),
        f"Lesson: {fault.lesson}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _difference(fault: Fault) -> str:
    """The wrong code against the right one, as a unified diff."""
    module = importlib.import_module(fault.module)
    path = fault.module.replace(".", "/") + ".py"
    right, wrong = inspect.getsource(module).splitlines(), edited(module, fault.edits).splitlines()
    return "\n".join(unified_diff(right, wrong, f"{path} (right)", f"{path} (wrong)", lineterm="", n=AROUND))


def _numbers(report: Report) -> list[str]:
    """What the check says, without the rows of what is right."""
    whole = render(report).split("\n\n")
    first = next((i for i, part in enumerate(whole) if part.startswith("step ")), len(whole))
    return ["\n".join(setting(report)), whole[first] if first < len(whole) else "", closing(report)[0]]


def _plain(first: str) -> str:
    """dW[L] for the template dW{L}."""
    return re.sub(r"d?\{R\}", "d(Z or A)", first).replace("dd(", "d(").replace("{L}", "[L]").replace("{H}", "[L-1]")
