"""The verdicts on records in the convention in which fewer equations are wrong, and the notes that say which it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from handgrad.compare.errors import InputError
from handgrad.compare.facts.remarks import MeanLeftOut, Note, Undone
from handgrad.compare.oracle.reference import run_on_records
from handgrad.compare.oracle.replay import Replay
from handgrad.compare.pipeline.evidence import Evidence, with_records
from handgrad.compare.thresholds import MEAN_IS_KEPT, SAME_FACTOR
from handgrad.compare.trace import Arrays
from handgrad.compare.verdict.conventions import AS_RECORDED, As, Reading
from handgrad.compare.verdict.judgement import Judgement
from handgrad.compare.verdict.readings import Step, is_fewer, not_ok, ratios, sizes

Sides = Mapping[str, Evidence]  # by precision, the printed one first
Judge = Callable[[Sides], list[Judgement]]


@dataclass(frozen=True)
class Read:
    """The verdicts on what was returned, in a reading of it, and the notes on how that is."""

    judged: list[Judgement]
    sides: Sides
    reading: Reading = AS_RECORDED
    notes: tuple[Note, ...] = ()

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to find in a convention."""
        return bool(self.reading.of) and not not_ok(self.judged)


def in_convention(judge: Judge, judged: list[Judgement], sides: Sides, own: Replay, known: Read | None = None) -> Read:
    """Verdicts, or those in a convention if fewer equations are wrong in that: at most four further judgements.

    First in that of another step, `known`, which holds where its records are right in it, whatever else is wrong. Then
    in which form records stand for torch's, and then, or without that, by which factors gradients do.
    """
    recorded = Read(judged, sides)
    if not any(judgement.finding for judgement in judged):
        return recorded
    before = _step(recorded, own)

    def accepted(read: Read) -> Read | None:
        undone = _undone(before, read.reading, not_ok(read.judged))
        if undone is None or not is_fewer(read.judged, judged, before.of_params):
            return None
        return replace(read, notes=(*_with_mean(undone, before, next(iter(sides.values())), own),))

    def read(reading: Reading) -> Read:
        read = {dtype: read_in(reading, side) for dtype, side in sides.items()}
        return Read(judge(read), read, reading)

    usual = None if known is None else _as_in(known, before, sides, read)
    if usual is not None and (not usual.is_settled or is_fewer(usual.judged, judged, before.of_params)):
        return usual
    forms = before.forms()
    for start in (read(forms), recorded) if forms.of else (recorded,):
        best = accepted(start) if start.reading.of else None
        factors = _step(start, own).factors()
        both = accepted(read(start.reading.then(factors))) if factors.of else None
        if both is not None and (best is None or is_fewer(both.judged, best.judged, before.of_params)):
            best = both
        if best is not None:
            return best
    return recorded


def _as_in(known: Read, step: Step, sides: Sides, read: Callable[[Reading], Read]) -> Read | None:
    """The verdicts in the convention of another step, where it holds: its own records are right in it.

    With something left to find only in the plainest that it may be.
    """
    before, now = (next(iter(of.values())).batch for of in (known.sides, sides))
    reading, is_plainest = step.carried(known.reading, ratios(before, now))
    if not reading.of:
        return None
    usual = read(reading)
    left = not_ok(usual.judged)
    if left & reading.of.keys() or (left and not is_plainest):
        return None
    same = all(known.reading.of[name].factor == form.factor for name, form in reading.of.items())
    return replace(usual, notes=known.notes if same else tuple(map(_at_any_size, known.notes)))


def _at_any_size(note: Note) -> Note:
    """The note on a convention whose factor is another at another size of the batch."""
    if isinstance(note, MeanLeftOut):
        return MeanLeftOut("n")
    return replace(note, varies=True) if isinstance(note, Undone) and note.factor != 1.0 else note


def of_all_steps(notes: Iterable[Note]) -> dict[Note, None]:
    """Notes, each convention in one: that which holds at every size of the batch."""
    found = dict.fromkeys(notes)
    general = {_at_any_size(note) for note in found} & found.keys()
    return {note: None for note in found if note in general or _at_any_size(note) not in general}


def _step(now: Read, own: Replay) -> Step:
    """What readings are looked for in: the finest precision, where not everything is next to its roundings."""
    finest = now.sides.get("float64", next(iter(now.sides.values())))
    within = max(SAME_FACTOR, 2**12 * finest.unit)
    return Step(finest.records, finest.local, own, not_ok(now.judged), frozenset(finest.params), within)


def read_in(reading: Reading, evidence: Evidence) -> Evidence:
    """Evidence whose records, also of further runs, are read in a convention."""
    derive = evidence.derive

    def again(params: Arrays, batch: Arrays) -> Arrays:
        assert derive is not None
        return reading.read(derive(params, batch))

    return replace(
        evidence,
        records=reading.read(evidence.records),
        derive=None if derive is None else again,
        situations=with_records(evidence.situations, reading.read),
    )


def _undone(step: Step, reading: Reading, left: frozenset[str]) -> list[Undone] | None:
    """What each factor and form is of, and what undoes it; None if nothing undoes one of them.

    What undoes a factor looks wrong as long as it is not read; of a record in another shape nothing is computed.
    """
    notes = list[Undone]()
    for form in dict.fromkeys(reading.of.values()):
        names = tuple(name for name, other in reading.of.items() if other == form)
        undoing = frozenset[str]().union(*map(step.undoing, names)) - {*names} - left
        if form.shape is None and not (form.axes and _is_turned(form, step.records[names[0]])):
            undoing &= step.wrong
        if not undoing:
            return None
        order = [name for name in (*step.own.values, *step.own.gradients) if name in undoing]
        notes.append(Undone(names, tuple(order), form.factor, _form_of(form)))
    return notes


def _is_turned(form: As, record: np.ndarray) -> bool:
    """Whether another order of the axes is another shape."""
    return record.transpose(form.axes).shape != record.shape


def _form_of(form: As) -> str:
    return "packed" if form.shape is not None else "transposed" if form.axes else ""


def _with_mean(undone: Sequence[Undone], step: Step, side: Evidence, own: Replay) -> Iterator[Note]:
    """Notes, where all gradients of taps lack the mean that J is as that."""
    possible = sizes(own, side.batch)
    for note in undone:
        is_of_all = step.taps <= {*note.tensors} and not note.form
        if is_of_all and note.factor in possible and is_mean(side, own.values["J"], int(note.factor)):
            yield MeanLeftOut(str(int(note.factor)))
        else:
            yield note


def is_mean(side: Evidence, J: np.ndarray, size: int) -> bool:
    """Whether J is a mean over an axis of the batch that divides a size: it is the same of every example twice."""
    batch = side.batch
    for n in {n for array in batch.values() for n in array.shape if n > 1 and size % n == 0}:
        for end in (0, -1):  # in rows or in columns, where both are of this size
            axes = {name: [axis for axis, m in enumerate(array.shape) if m == n] for name, array in batch.items()}
            twice = {
                name: np.concatenate([array, array], axis=axes[name][end]) if axes[name] else array
                for name, array in batch.items()
            }
            try:
                J_of_twice = run_on_records(side.reference, side.params, twice, {}).values["J"]
            except InputError:  # an axis that may not be longer
                continue
            if abs(J_of_twice - J) <= MEAN_IS_KEPT * abs(J_of_twice):
                return True
    return False
