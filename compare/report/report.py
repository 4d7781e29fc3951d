"""The report that every check returns: its results, rendered in any form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from handgrad.compare.errors import InputError, ParityError, did_you_mean
from handgrad.compare.facts.fact import enumerated
from handgrad.compare.report import json, text
from handgrad.compare.report.summary import deciding, fails
from handgrad.compare.results import Results

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Report(Results):
    """The outcome of a check, and its renderings.

    `arrays` holds both sides' tensors of the run just made, by step and name; they are neither shown nor stored.
    """

    arrays: Mapping[tuple[int, str], tuple[np.ndarray, np.ndarray]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def tensor(self, name: str, step: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Both sides of a tensor of the run just made: by hand, torch.

        Those of a step, by default of that of the finding on the tensor, or without one of the first that has it.
        Raises InputError, a ValueError, for what was not compared, for a stored report, and for one of a check that
        keeps no arrays: of the notes' network, and of an initialiser. Of the draws of check_function it is the one that
        the row shows.
        """
        step = self.step_of(name) if step is None else step
        if (step, name) not in self.arrays:
            steps = [str(number) for number, other in self.arrays if other == name]
            raise InputError(f"{name} was not compared at step {step!r}; it was at {enumerated(steps)}")
        return self.arrays[step, name]

    def step_of(self, name: str) -> int:
        """The step that `tensor` takes where none is asked for; InputError as there."""
        if not self.arrays:
            raise InputError(
                "this report holds no arrays: check_gradients, check_updates, check_training and check_function keep "
                "those that they compared, and nothing stores them; run one of these again"
            )
        steps = [number for number, other in self.arrays if other == name]
        if not steps:
            names = dict.fromkeys(other for _, other in self.arrays)
            raise InputError(f"no tensor {name!r} was compared; {did_you_mean(name, names)}")
        found = (finding.where.step for finding in self.findings if name in (finding.where.name, *finding.together))
        return next((number for number in found if number in steps), steps[0])

    def raise_if_failed(self, strict: bool = False) -> None:
        """Raise ParityError, an AssertionError, if the report is not ok; with `strict`, any finding raises.

        Its message is the report.
        """
        __tracebackhide__ = True
        if fails(self, strict):
            culprit = deciding(self)
            because = f"\n{culprit.verdict} fails because of strict.\n" if self.ok and culprit is not None else ""
            raise ParityError(f"{self}{because}")

    def __str__(self) -> str:
        """The report as a person reads it on a terminal."""
        return text.render(self)

    def to_json(self) -> str:
        """The report as JSON, schema handgrad.report/2; the same run gives the same bytes."""
        return json.render(self)

    def to_markdown(self) -> str:
        """The report as Markdown, for a pull request or a job summary."""
        from handgrad.compare.report.markdown import render

        return render(self)

    def to_html(self) -> str:
        """The report as one page that needs no other file; InputError where the extra `report` is not installed."""
        from handgrad.compare.report.html import render

        return render(self)

    def _repr_html_(self) -> str | None:
        """The report as notebooks show it; None, so that they show its text, without the extra `report`."""
        from handgrad.compare.report.html import fragment

        try:
            return fragment(self)
        except InputError:
            return None
