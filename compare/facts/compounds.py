"""Causes that say more of a mistake: how often it is made, where alone, beside which other, what would tell."""

from handgrad.compare.facts.causes import Cause


class Compound(Cause, sentence="{mistake}"):
    """One mistake, and something more of it; the code is that of the mistake."""

    mistake: Cause

    @property
    def code(self) -> str:  # type: ignore[override]  # of the class everywhere else
        """That of the mistake."""
        return self.mistake.code


class Repeated(Compound):
    """One mistake made at each of so many visits of a line, as in a loop over time."""

    sentence = "{mistake}, each of {visits} times"
    visits: int


class Both(Compound):
    """Two mistakes in one tensor; the first is the larger."""

    sentence = "{mistake}; and {second}"
    second: Cause


class AtOneUse(Compound):
    """A mistake in what one step takes alone, as where a backward pass computes it again."""

    sentence = "{mistake}, as {where} takes it"
    where: str


class Alternative(Compound):
    """A mistake that explains a tensor as well as another does, and the data that would tell them apart."""

    sentence = "{mistake} ({data} would tell)"
    data: str
