"""The corpora on which names are measured: written mistakes, random edits, random wrong answers, two mistakes at once.

Each is a function of a seed and of which mistake it is, and gives how that was named.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from handgrad.compare.results import Finding
from handgrad.compare.sandbox import quietly
from tests.benchmarks.naming_judge import Checked, Named, checked, has_formula, stepped
from tests.benchmarks.naming_plants import ANSWERS, answered, assigned, edited, pairs
from tests.corpus.planted import Operation, made

__all__ = ["Outcome", "of_answer", "of_edit", "of_pair", "of_rule", "of_written", "operations", "rules"]

WRITTEN = {
    "slips": "slips",
    "fresh one": "fresh_one",
    "fresh two": "fresh_two",
    "fresh three": "fresh_three",
    "fresh four": "fresh_four",
    "fresh five": "fresh_five",
    "fresh six": "fresh_six",
    "fresh seven": "fresh_seven",
}
EDITS = "edits of "
CHANGED = 1e-9  # share by which an edit must change some tensor to be a mistake
MOST_TRIES = 200  # edits until one can be run and changes something
RIGHT, SECOND, WRONG, UNKNOWN, UNSEEN = "right first", "right second", "wrong", "unknown", "not found"


@dataclass(frozen=True)
class Outcome:
    """What became of one planted mistake: how it was named, at which tensor, and what was said."""

    corpus: str
    operation: str
    what: str
    how: str
    tensor: str = ""
    said: str = ""


# --- one mistake


def outcome(corpus: str, operation: str, what: str, code: Named) -> Outcome:
    """How the first finding on wrong code is named."""
    findings = code.report().findings
    if not findings:
        return Outcome(corpus, operation, what, UNSEEN)
    return _of_finding(corpus, operation, what, code, findings[0])


def _of_finding(corpus: str, operation: str, what: str, code: Named, finding: Finding) -> Outcome:
    causes, name = (finding.cause, *finding.others)[:2], finding.where.name
    how = UNKNOWN
    if has_formula(causes[0]):
        right = [code.is_right(cause, name) for cause in causes]
        how = RIGHT if right[0] else SECOND if any(right) else WRONG
    return Outcome(corpus, operation, what, how, name, " | ".join(f"{cause.code}: {cause}" for cause in causes))


# --- the corpora: each a function of the seed and of which one it is


@cache
def operations(corpus: str) -> tuple[Operation, ...]:
    """The operations of a written corpus; it is imported where it is used."""
    found: tuple[Operation, ...] = import_module(f"tests.corpus.{WRITTEN[corpus]}").OPERATIONS
    return found


@cache
def rules() -> Any:
    """The update rules."""
    return import_module("tests.corpus.slips_updates").RULES


def of_written(corpus: str, seed: int, index: tuple[int, int]) -> list[Outcome]:
    """One written mistake."""
    operation = operations(corpus)[index[0]]
    mistake = operation.mistakes[index[1]]
    code = checked(operation, made(mistake.planted(operation.derivation)), [seed, *index])
    return [outcome(corpus, operation.name, mistake.what, code)]


def of_rule(seed: int, index: tuple[int, int]) -> list[Outcome]:
    """One written mistake in an update rule."""
    rule = rules()[index[0]]
    mistake = rule.mistakes[index[1]]
    return [
        outcome("updates", rule.name, mistake.what, stepped(rule, made(mistake.planted(rule.update)), [seed, *index]))
    ]


def of_edit(corpus: str, seed: int, index: int) -> list[Outcome]:
    """One random edit of a right derivation that runs, keeps every shape and changes something."""
    for attempt in range(MOST_TRIES):
        rng = np.random.default_rng([seed, index, attempt, 1])
        of = operations(corpus)
        operation = of[int(rng.integers(len(of)))]
        source, what = edited(operation.derivation, rng)
        right = checked(operation, made(operation.derivation), [seed, index, attempt])
        code = checked(operation, made(source), [seed, index, attempt])
        if _is_mistake(code, right):
            return [outcome(f"{EDITS}{corpus}", operation.name, what, code)]
    return []


def _is_mistake(code: Checked, right: Checked) -> bool:
    """Whether code runs on every draw, returns what it should by shape, and other numbers on the first."""
    for draw in (code.here, *code.fresh):
        wrong, due = (_returned(side, draw) for side in (code, right))
        if {n: np.shape(a) for n, a in wrong.items()} != {n: np.shape(a) for n, a in due.items()}:
            return False
        if not all(np.isfinite(array).all() for array in wrong.values()):
            return False
        if draw is code.here and not any(_differs(wrong[name], due[name]) for name in due):
            return False
    return True


def _returned(code: Checked, draw: Any) -> dict[str, Any]:
    with quietly():
        try:
            returned = code.derivation({n: a.copy() for n, a in draw.params.items()}, *draw.batch)
        except Exception:  # whatever a random edit raises
            return {}
    return dict(returned)


def _differs(one: Any, other: Any) -> bool:
    return bool(np.max(np.abs(np.subtract(one, other)), initial=0.0) > CHANGED * np.max(np.abs(other), initial=0.0))


def of_answer(seed: int, index: int) -> list[Outcome]:
    """One random wrong answer in a tensor's place, which has no name."""
    rng = np.random.default_rng([seed, index, 2])
    of = operations("slips")
    operation = of[int(rng.integers(len(of)))]
    kind = [*ANSWERS][index % len(ANSWERS)]
    fewest, make = ANSWERS[kind]
    right = checked(operation, made(operation.derivation), [seed, index])
    arrays, others = (_returned(right, draw) for draw in (right.here, right.fresh[0]))
    varying = {
        n: np.asarray(a) for n, a in arrays.items() if _differs(a, others[n])
    }  # of others a factor would be true
    usable = sorted(n for n in assigned(operation.derivation) & varying.keys() if varying[n].size >= fewest)
    name = usable[int(rng.integers(len(usable)))]
    change = make(rng, varying[name])

    def wrong(array: Any) -> Any:
        given = np.asarray(array)
        return np.asarray(change(given)).astype(given.dtype)

    derivation = made(answered(operation.derivation, name), wrong=wrong)
    code = checked(operation, derivation, [seed, index])
    return [outcome("answers", operation.name, f"{kind} in {name}", code)]


def of_pair(seed: int, index: int) -> list[Outcome]:
    """Two slips of one operation at once: how every finding is named, by whether both are in one tensor."""
    rng = np.random.default_rng([seed, index, 3])
    of = operations("slips")
    operation = of[int(rng.integers(len(of)))]
    possible = pairs(operation)
    one, other = possible[int(rng.integers(len(possible)))]
    right = operation.derivation
    both = (checked(operation, made(each.planted(right)), [seed, index]).report().first for each in (one, other))
    where = {first.where.name for first in both if first is not None}
    title = "two in one tensor" if len(where) == 1 else "two in two tensors"
    code = checked(operation, made(other.planted(one.planted(right))), [seed, index])
    what = f"{one.what} {other.what}"
    return [_of_finding(title, operation.name, what, code, finding) for finding in code.report().findings]
