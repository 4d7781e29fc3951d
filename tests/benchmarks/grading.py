"""python -m tests.benchmarks.grading: a class of 200, graded: are the points right, does anything leak, how long.

points     equations whose points are as the making of the submission says, and all equations
rejected   right equations, in right submissions, in another form or another style, that have no points
leaks      outputs below `full` that hold a line of the key's reference, its marks, or a number of torch's
seconds    for one submission on one core: the middle one, and the longest that is not ended by the limit
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tempfile
import time
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from handgrad.compare.grading import pages
from handgrad.compare.grading.grade import grade
from handgrad.compare.grading.key import Key, load_key
from handgrad.compare.grading.marks import EARNING, Grade
from handgrad.compare.grading.outcomes import FORMATS
from handgrad.compare.grading.submissions import submissions
from handgrad.compare.grading.worker import Limits
from handgrad.compare.report.html import ready
from tests.benchmarks.grading_class import Exercise, HandedIn, exercises

__all__ = ["Outcome", "graded"]

LIMITS = Limits(8.0, 3 * 2**30)
LEVELS = ("where", "kind", "hint")


@dataclass
class Outcome:
    """What grading a class gave."""

    submissions: int = 0
    equations: int = 0
    right: int = 0
    rejected: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    by_style: dict[str, list[int]] = field(default_factory=dict)

    def __str__(self) -> str:
        """As a table."""
        rows = [f"  {style:10} {right} of {all_}" for style, (right, all_) in sorted(self.by_style.items())]
        ended = sorted(self.seconds.values())
        return "\n".join(
            [
                f"{self.submissions} submissions, {self.equations} equations",
                f"points right: {self.right} ({100 * self.right / self.equations:.2f} %)",
                *rows,
                f"right and rejected: {len(self.rejected)}",
                f"leaks: {len(self.leaks)}",
                f"seconds a submission: {median(ended):.2f}, at most {ended[-1]:.2f}",
                *(f"  {line}" for line in (*self.rejected, *self.other, *self.leaks)),
            ]
        )


def graded(chosen: list[Exercise], outcome: Outcome | None = None) -> Outcome:
    """Grade every submission by itself, in this process, and compare with how it was made."""
    outcome = outcome or Outcome()
    for exercise in chosen:
        with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):
            file = Path(folder) / "key.py"
            file.write_text(exercise.key, encoding="utf-8")
            key = load_key(str(file))
            hidden = _hidden(exercise, key)
            for one in exercise.handed_in:
                _one(one, exercise, key, Path(folder), hidden, outcome)
    return outcome


def _one(one: HandedIn, exercise: Exercise, key: Key, folder: Path, hidden: set[str], outcome: Outcome) -> None:
    path = folder / one.file
    path.write_text(one.text, encoding="utf-8")
    (submission,) = submissions([str(path)], key.due)
    start = time.perf_counter()
    result = grade(submission, key, LIMITS)
    name = f"{exercise.name}/{one.file}"
    if result.ended is None or result.ended.code != "too-long":
        outcome.seconds[name] = time.perf_counter() - start
    outcome.submissions += 1
    counts = outcome.by_style.setdefault(one.style, [0, 0])
    for mark in result.marks:
        is_right = (mark.state in EARNING) == (mark.name not in one.wrong)
        outcome.equations += 1
        outcome.right += is_right
        counts[0] += is_right
        counts[1] += 1
        if not is_right:
            told = (
                f"{name}: {mark.name} is {mark.state} ({mark.cause and mark.cause.code}), wrong are {sorted(one.wrong)}"
            )
            (outcome.other if one.wrong else outcome.rejected).append(f"{told} {result.ended or ''}")
    outcome.leaks += _leaks(name, result, hidden, one.text)


def _hidden(exercise: Exercise, key: Key) -> set[str]:
    """Lines of the reference, and numbers of torch's, which are those of the right derivation, as they are printed."""
    source = exercise.key[exercise.key.index("def reference") :] if "def reference" in exercise.key else ""
    lines = {line.strip() for line in source.splitlines() if "tap(" in line or "torch" in line or "SECRET" in line}
    returned = key.values[key.due](dict(key.values["params"]), *key.values["batch"])
    numbers = {f"{value:.5g}" for array in returned.values() for value in np.ravel(np.asarray(array, float))}
    return {line for line in lines if len(line) > 12} | {n for n in numbers if len(n.strip("-0.")) >= 5}


def _leaks(name: str, result: Grade, hidden: set[str], own: str) -> list[str]:
    """The outputs that hold something hidden which the submission has not itself."""
    found = []
    for level in LEVELS:
        outputs = {form: render([result], level) for form, render in FORMATS.items()}
        outputs |= {"page": pages.student(result, level), "class": pages.of_class([result], ["x.html"])}
        pattern = re.compile("|".join(map(re.escape, sorted(hidden)))) if hidden else None
        found += [
            f"{name}: {form} at {level} holds {match[0]!r}"
            for form, text in outputs.items()
            for match in ([] if pattern is None else pattern.finditer(text))
            if match[0] not in own
        ]
    return found


def main() -> None:
    """Grade, print, and exit 1 where the figures are not reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    ready()
    outcome = Outcome()
    for exercise in exercises(arguments.count, arguments.seed):
        graded([exercise], outcome)
        print(f"{exercise.name}: {outcome.right} of {outcome.equations} so far", file=sys.stderr)
    print(outcome)
    is_reached = outcome.right >= 0.99 * outcome.equations and not outcome.rejected and not outcome.leaks
    sys.exit(0 if is_reached else 1)


if __name__ == "__main__":
    main()
