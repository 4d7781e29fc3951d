"""What comes of another tensor: a multiple of one added, memory that is shared, an operand of another moment."""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose

import numpy as np

from handgrad.compare.diagnosis.factors import named_factors
from handgrad.compare.diagnosis.scene import Scene
from handgrad.compare.facts.causes import Cause
from handgrad.compare.facts.operands import Accumulated, DecayAdded, OfStepBefore, Overwritten, Stale, UpdatedOperand
from handgrad.compare.names import gradient
from handgrad.compare.thresholds import EQUAL, TIMES


def added(scene: Scene) -> Iterator[Cause]:
    """Regularisation, and gradients accumulated over steps."""
    c = scene.multiple_of(scene.tensors.get(scene.of)) if scene.of in scene.parameters else None
    if c is not None:
        l2 = scene.settings.get("l2", 0.0)
        plain = bool(l2) and any(isclose(c / l2, times, rel_tol=EQUAL) for times in TIMES)
        yield DecayAdded(c, scene.of, l2, () if l2 else named_factors(c, scene.numbers), plain)
    earlier = scene.previous.get(scene.name)
    if scene.explained_by(earlier):
        yield OfStepBefore()
    c = scene.multiple_of(earlier, (1.0,))
    if c is not None and abs(c - 1) <= EQUAL:
        yield Accumulated(scene.name)


def overwritten(scene: Scene) -> Iterator[Cause]:
    """The tensor holds what is computed from it: that was written into it, or they share memory."""
    if scene.of:
        later = [gradient(name) for name in sorted(scene.reads.get(scene.of, ()))]
    else:
        later = [name for name, read in scene.reads.items() if scene.name in read and name != "J"]
    for name in later:
        due = scene.replayed({scene.name: scene.reference}, name)
        if due is not None and not scene.explained_by(scene.reference) and scene.explained_by(due):
            yield Overwritten(name)
            return


def of_another_moment(scene: Scene) -> Iterator[Cause]:
    """One operand replaced by its value after the update, or at the step before."""
    for operand in _read(scene):
        for cause, tensors in ((UpdatedOperand, scene.updated), (Stale, scene.previous)):
            instead = tensors.get(operand)
            if instead is None or np.array_equal(instead, scene.tensors[operand]):
                continue
            if scene.explained_by(scene.replayed({operand: instead})):
                yield cause(operand)


def _read(scene: Scene) -> list[str]:
    """What the tensor is computed from: a value from what it reads; a gradient from the gradients of the values that
    read what it is the gradient of, and from what else they read.
    """
    if not scene.of or not scene.readers:
        return [name for name in sorted(scene.reads.get(scene.name, ())) if name in scene.tensors]
    of_readers = [name for reader in scene.readers for name in (*sorted(scene.reads[reader]), gradient(reader))]
    return [name for name in dict.fromkeys((*of_readers, *sorted(scene.inputs))) if name in scene.tensors]
