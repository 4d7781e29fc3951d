"""The statements as a table, one of them as its whole story, or as JSON."""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from collections.abc import Sequence

from tabulate import tabulate

import manual.as_written
from compare.faults import catalogue
from compare.faults.lesson import lesson
from compare.notes import Evidence, Statement
from compare.report.json import text

__all__ = ["as_json", "as_table", "story"]

WIDTH = 44


def as_table(statements: Sequence[Statement]) -> str:
    """One row per statement, with the evidence computed now."""
    rows = [
        (s.id, *(textwrap.fill(cell, WIDTH) for cell in (s.as_written, s.corrected)), s.verdict, _wrapped(s.prove()))
        for s in statements
    ]
    headings = ("id", "as written", "corrected", "verdict", "evidence, computed by this run")
    return tabulate(rows, headers=headings, tablefmt="grid", disable_numparse=True) + "\n"


def as_json(statements: Sequence[Statement]) -> str:
    """The same facts with stable keys: id, as_written, corrected, verdict, evidence."""
    return text([_fields(statement, statement.prove()) for statement in statements])


def _fields(statement: Statement, evidence: Evidence) -> dict[str, object]:
    figures = {figure.name: {"by_hand": figure.by_hand, "torch": figure.torch} for figure in evidence.figures}
    return {
        "id": statement.id,
        "as_written": statement.as_written,
        "corrected": statement.corrected,
        "verdict": statement.verdict,
        "evidence": {"text": evidence.text, "figures": figures},
    }


def story(statement: Statement) -> str:
    """One statement: as written and corrected, the evidence in numbers, the code of both sides, and a mistake in it."""
    evidence = statement.prove()
    rows = [
        (f.name, *("" if side is None else f"{side:.9g}" for side in (f.by_hand, f.torch))) for f in evidence.figures
    ]
    parts = [
        f"{statement.id}  {statement.verdict}\n"
        f"  as written  {statement.as_written}\n"
        f"  corrected   {statement.corrected}",
        evidence.text,
        tabulate(rows, headers=("", "by hand", "torch"), disable_numparse=True) if rows else "",
        *(_code(package, statement.id) for package in ("manual", "torchref")),
        _literal(statement.id),
        _exact(statement.id),
        _mistake(statement.id),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _number(side: float | None) -> str:
    return "" if side is None else f"{side:.9g}"


def _code(package: str, label: str) -> str:
    """The function that computes an equation on one side, found by its label."""
    for name in ("activations", "losses", "network", "initializers", "optimizers", "batches", "training"):
        module = importlib.import_module(f"{package}.{name}")
        source = inspect.getsource(module)
        at = re.search(rf"^(?!\s*{label}  ).*\S.*# \({label}\)", source, flags=re.MULTILINE)
        if at is None:
            continue
        line = source[: at.start()].count("\n") + 1
        for _, function in inspect.getmembers(module, inspect.isfunction):
            lines, start = inspect.getsourcelines(function)
            if function.__module__ == module.__name__ and start <= line < start + len(lines):
                return f"{package}/{name}.py\n{_without_docstring(''.join(lines))}"
        return f"{package}/{name}.py\n{textwrap.indent(at[0].strip(), '  ')}"
    return ""


def _without_docstring(source: str) -> str:
    return textwrap.indent(re.sub(r'\n\s*"""(?:.|\n)*?"""', "", source, count=1).rstrip(), "  ")


def _literal(label: str) -> str:
    """The formula as written, where code of it is kept."""
    name = {"L2": "binary_cross_entropy", "A3": "tanh", "C2": "collapsed_bias", "I1": "standard_deviation"}.get(label)
    if name is None:
        return ""
    return (
        f"as written, manual/as_written.py\n{_without_docstring(inspect.getsource(getattr(manual.as_written, name)))}"
    )


def _mistake(label: str) -> str:
    """What a check says when the formula is written wrongly: the first entry of the catalogue on that equation."""
    fault = next((fault for fault in catalogue().values() if fault.equation == label), None)
    return "" if fault is None else f"A known mistake in it\n\n{textwrap.indent(lesson(fault, 0).rstrip(), '  ')}"


def _exact(label: str) -> str:
    """The elementwise derivatives as sympy proves them."""
    try:
        from compare.notes.exact import proofs
    except ImportError:  # torch brings it; where it does not, the numbers stand alone
        return "Exactly: pip install sympy"

    found = proofs().get(label, ())
    return "\n".join(("Exactly, by sympy:", *(f"  {line}" for line in found))) if found else ""


def _wrapped(evidence: Evidence) -> str:
    return textwrap.fill(evidence.text, 2 * WIDTH) if evidence.text else ""
