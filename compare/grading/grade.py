"""Grading: each submission in a process of its own, judged here, one after the other or in several processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from handgrad.compare.errors import InputError
from handgrad.compare.facts.failures import NotComputed
from handgrad.compare.grading.facts import Ended, NotJudged
from handgrad.compare.grading.key import Key, load_key
from handgrad.compare.grading.marks import Grade, Mark, marks_of, remarks_of
from handgrad.compare.grading.submissions import Likeness, Submission
from handgrad.compare.grading.worker import Distant, Limits, Stopped, Worker

Progress = Callable[[Iterable[Grade]], Iterable[Grade]]


class ByHand:
    """What a submission derives by hand, as a check calls it; `__wrapped__` is its code, for those who read it."""

    def __init__(self, distant: Distant, submission: Submission, due: str) -> None:
        """`due` is the name that it has there."""
        self._distant = distant
        file = str(Path(submission.path).resolve())
        self.__wrapped__ = Likeness(submission.text, file).of(due)

    def __call__(self, *arguments: Any) -> Any:
        """What it returns there."""
        return self._distant(*arguments)

    def __deepcopy__(self, memo: Any) -> ByHand:
        """One whose state there is its own."""
        copied = object.__new__(ByHand)
        copied.__dict__ = {**self.__dict__, "_distant": self._distant.__deepcopy__(memo)}
        return copied


def grade(submission: Submission, key: Key, limits: Limits) -> Grade:
    """The grade of one submission; whatever it does costs its own points alone."""
    none = Grade(submission.name, submission.path, _nothing(key))
    if submission.wrong is not None:
        return replace(none, ended=submission.wrong)
    worker = Worker(submission.files, limits)
    try:
        with worker:
            by_hand = ByHand(worker.load(submission.main, key.due), submission, key.due)
            report = key.judge(by_hand)
    except Stopped as stopped:
        return replace(none, ended=stopped.why, printed=worker.printed, confined=worker.confined)
    except InputError as error:
        ended: Ended = NotJudged(str(error))
        return replace(none, ended=ended, printed=worker.printed, confined=worker.confined)
    return replace(
        none,
        marks=marks_of(report, key.points),
        remarks=remarks_of(report, key),
        printed=worker.printed,
        confined=worker.confined,
        code=tuple(code for code in report.details.code if code.side == "by hand"),
    )


def _nothing(key: Key) -> tuple[Mark, ...]:
    """The marks of what was not returned."""
    return tuple(Mark(name, worth, "missing", None, NotComputed()) for name, worth in key.points.items())


def grades(found: Sequence[Submission], key: Key, limits: Limits, jobs: int, progress: Progress = iter) -> list[Grade]:
    """The grades of all submissions, in their order; `progress` may wrap them as they come."""
    if jobs == 1 or len(found) == 1:
        return [*progress(grade(one, key, limits) for one in found)]
    return [*progress(_in_processes(found, key, limits, min(jobs, len(found))))]


def _in_processes(found: Sequence[Submission], key: Key, limits: Limits, jobs: int) -> Iterator[Grade]:
    """The same in several processes, each of which reads the key once."""
    context = get_context("spawn")  # a process with torch in it is not forked
    try:
        with ProcessPoolExecutor(jobs, context, _prepare, (key.path, limits)) as pool:
            yield from pool.map(_grade, found)
    except BrokenProcessPool:
        raise InputError("a process that judges was ended, as where memory runs out; use fewer --jobs") from None


def _prepare(path: str, limits: Limits) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: there are as many as cores already
    _READY.append((load_key(path), limits))


def _grade(submission: Submission) -> Grade:
    return grade(submission, *_READY[-1])


_READY: list[tuple[Key, Limits]] = []  # of a process of _in_processes: the key, read once
