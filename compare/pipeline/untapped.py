"""The names that a derivation returns: those that the reference has, and those that it has nothing of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from handgrad.compare.errors import closest
from handgrad.compare.facts.failures import NotComputed
from handgrad.compare.facts.remarks import Note, NotTapped
from handgrad.compare.names import gradient
from handgrad.compare.oracle.replay import Replay
from handgrad.compare.sandbox import Call
from handgrad.compare.trace import Arrays, in_precision, is_none, same
from handgrad.compare.verdict.bounds import PRECISIONS
from handgrad.compare.verdict.judgement import Judgement
from handgrad.compare.verdict.shapes import alike


@dataclass(frozen=True)
class Names:
    """What names are known from: the reference's own run, what both sides are handed, the parameters of what is due."""

    end_to_end: Replay
    handed: Arrays
    due: frozenset[str]

    @cached_property
    def torch(self) -> Arrays:
        """What the reference has by name."""
        return {**self.end_to_end.values, **self.end_to_end.gradients}

    def judged_of(self, call: Call) -> Call:
        """A call without what says nothing: None for what is not due, and what was handed over, returned as it was."""
        owed = {*map(gradient, self.due)} & self.end_to_end.gradients.keys()
        nothing = {name for name, array in call.records.items() if is_none(array)} - owed
        return call.without(nothing | {name for name in call.records.keys() & self.handed if self._is_copy(name, call)})

    def _is_copy(self, name: str, call: Call) -> bool:
        """Whether something that was handed over, in whatever precision, comes back under its name."""
        array = call.records[name]
        return any(same(array, in_precision({name: self.handed[name]}, dtype)[name]) for dtype in PRECISIONS)

    def not_tapped(self, records: Arrays, judged: Sequence[Judgement]) -> list[Note]:
        """Notes on the names that the reference has nothing of, but for those that a missing one asks about."""
        causes = [judgement.finding.cause for judgement in judged if judgement.finding is not None]
        asked = {cause.similar for cause in causes if isinstance(cause, NotComputed)}
        known = {*self.torch, *self.handed, *map(gradient, (*self.end_to_end.side_outputs, *self.due, *self.handed))}
        unknown = [name for name in records if name not in known | asked]
        meant = {name: self._meant(name, records) for name in unknown}
        alone = tuple(name for name in unknown if not meant[name])
        notes = [NotTapped((name,), *found) for name in unknown if (found := meant[name])]
        return [*notes, *([NotTapped(alone)] if alone else [])]

    def _meant(self, name: str, records: Arrays) -> tuple[str, str] | tuple[()]:
        """A tensor of the reference's that was not returned and that a name may stand for, and what they have alike."""
        record = records[name]
        free = {other: array for other, array in self.torch.items() if other not in records}
        for of, by in ((free, "values"), (self.handed, "handed")):
            if equal := [other for other, array in of.items() if alike(record, array)]:
                return equal[0], by
        if near := closest(name, free):
            return near, "name"
        shaped = [other for other, array in free.items() if record.ndim and array.shape == record.shape]
        return (shaped[0], "shape") if shaped else ()
