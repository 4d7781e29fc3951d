"""What to return or tap so that a check can tell more of a finding that nothing known explains."""

from __future__ import annotations

from collections.abc import Container, Mapping

from handgrad.compare.facts.fact import Fact, listed
from handgrad.compare.names import gradient, is_updated, of_updated, of_velocity
from handgrad.compare.results import Finding, Results

Reads = Mapping[str, tuple[str, ...]]


class Unrecorded(Fact, code="unrecorded"):
    """What the derivation did not return, between two tensors: the names that the reference taps there, if any.

    `act` is what hands tensors over: a derivation returns, a trainer yields.
    """

    start: tuple[str, ...]
    end: str
    names: tuple[str, ...] = ()
    act: str = "return"

    def __str__(self) -> str:
        """Between J and db1 nothing was recorded: return dZ1, dA1."""
        between = f"between {listed(self.start, 3)} and {self.end} nothing"
        if self.names:
            return f"{between} was recorded: {self.act} {listed(self.names, 6)}"
        return f"{between} is tapped: if several operations lead there, tap a value between them and {self.act} it"


class NothingTapped(
    Fact,
    code="nothing-tapped",
    sentence='nothing is tapped: write Z1 = tap("Z1", ...) in the reference for each value, and {act} Z1 and dZ1',
):
    """The reference taps nothing at all; `act`: see Unrecorded."""

    act: str = "return"


def is_untapped(results: Results) -> bool:
    """Whether the reference taps nothing, so that neither J nor a gradient can be told wrong by itself."""
    return {*results.details.reads} == {"J"}


def to_record(results: Results, finding: Finding) -> Fact | None:
    """What to return or tap to narrow down the mistake in a tensor; None where what it is computed from is not known.

    Nor is anything where it differs only in another precision than that printed: there its operation rounds.

    A value is computed from what it reads, the gradient of a value from those of its readers, what is updated from its
    gradient.
    """
    reads, name = results.details.reads, finding.where.name
    if finding.worst is not None and finding.worst.dtype:
        return None
    act = "yield" if any(row.phase == "update" for row in results.rows) else "return"
    gradients = _of_gradients(reads)
    recorded = {row.name for row in results.rows}
    due = gradient(of_updated(name) if is_updated(name) else of_velocity(name))
    if due in gradients:
        return None if due in recorded else Unrecorded(("J",), name, (due,), act)
    computed_from = gradients if name in gradients else reads
    if name not in computed_from:
        return None
    if is_untapped(results):
        return NothingTapped(act)
    start, names = _before(name, computed_from, recorded)
    return Unrecorded(start, name, ("J", *names) if "J" in start and "J" not in recorded else names, act)


def _of_gradients(reads: Reads) -> dict[str, tuple[str, ...]]:
    """What each gradient is computed from: the gradients of the values that read it, J itself for what J reads."""
    computed_from: dict[str, tuple[str, ...]] = {}
    for value, operands in reads.items():
        source = "J" if value == "J" else gradient(value)
        for operand in operands:
            computed_from[gradient(operand)] = (*computed_from.get(gradient(operand), ()), source)
    return computed_from


def _before(name: str, computed_from: Reads, recorded: Container[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The nearest recorded or given tensors that one is computed from, and those between them that are neither."""
    start: dict[str, None] = {}
    between: dict[str, None] = {}
    waiting = [name]
    while waiting:
        for source in computed_from[waiting.pop(0)]:
            if source in recorded or source not in computed_from:
                start[source] = None
            elif source not in between:
                between[source] = None
                waiting.append(source)
    return tuple(start), tuple(between)
