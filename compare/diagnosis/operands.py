"""Another tensor in an operand's place: the reference replayed with each one that has its shape."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from handgrad.compare.diagnosis.scene import Array, Scene
from handgrad.compare.facts import operands as mistakes
from handgrad.compare.facts.causes import Cause, DerivativeAt, DerivativeMissing, DerivativeTwice, LabelsSwapped
from handgrad.compare.names import gradient, is_gradient, of_gradient, updated, velocity
from handgrad.compare.thresholds import MOST_REPLAYS


def overwritten(scene: Scene) -> Iterator[Cause]:
    """The tensor holds what is computed from it: that was written into it, or they share memory."""
    if scene.of:
        later = [gradient(name) for name in sorted(scene.reads.get(scene.of, ()))]
    else:
        later = [name for name, read in scene.reads.items() if scene.name in read and name != "J"]
    for name in later:
        due = scene.replayed({scene.name: scene.reference}, name)
        if due is not None and not scene.explained_by(scene.reference) and scene.explained_by(due):
            yield mistakes.Overwritten(name)
            return


def copied(scene: Scene) -> Iterator[Cause]:
    """The tensor is an earlier one, unchanged: an operation is left out."""
    candidates = sorted(scene.alike(), key=lambda pair: (of_gradient(pair[0]) or pair[0]) not in scene.readers)
    name = next((name for name, other in candidates if scene.explained_by(other)), None)
    if name is None:
        return
    if not is_gradient(name, scene.readers):
        yield mistakes.Copied(name)
        return
    rest = scene.replayed({name: np.zeros_like(scene.tensors[name])})
    if len(scene.readers) > 1 and rest is not None and scene.explained_by(scene.reference - rest):
        yield mistakes.PathMissing(name, tuple(reader for reader in scene.readers if gradient(reader) != name))
    else:
        yield DerivativeMissing(of_gradient(name), scene.of)


def operands(scene: Scene) -> Iterator[Cause]:
    """One operand replaced: by a tensor of its shape, its transpose, its value after the update or the step before."""
    tried = 0
    for operand in _read(scene):
        right = scene.tensors[operand]
        yield from _updated(scene, operand)
        for cause, instead in _instead(scene, operand, right):
            tried += 1
            if tried > MOST_REPLAYS:
                return
            if not np.array_equal(instead, right) and scene.explained_by(scene.replayed({operand: instead})):
                yield cause


def _updated(scene: Scene, operand: str) -> Iterator[Cause]:
    """A parameter read after an update at whatever rate, where the tensor is linear in it."""
    right = scene.tensors[operand]
    for direction in (gradient(operand), velocity(operand)) if operand in scene.parameters else ():
        change = scene.tensors.get(direction)
        if change is None or change.shape != right.shape or change.size == 1:  # at some rate one would be anything
            continue
        after = scene.replayed({operand: right + change})
        c = None if after is None else scene.multiple_of(after - scene.reference)
        if c is not None and c < 0:
            yield mistakes.UpdatedAtRate(operand, direction, -c)
            return


def _read(scene: Scene) -> list[str]:
    """What the tensor is computed from: a value from what it reads; a gradient from the gradients of the values that
    read what it is the gradient of, and from what else they read.
    """
    if not scene.of or not scene.readers:
        return [name for name in sorted(scene.reads.get(scene.name, ())) if name in scene.tensors]
    of_readers = [name for reader in scene.readers for name in (*sorted(scene.reads[reader]), gradient(reader))]
    return [name for name in dict.fromkeys((*of_readers, *sorted(scene.inputs))) if name in scene.tensors]


def _instead(scene: Scene, operand: str, right: Array) -> Iterator[tuple[Cause, Array]]:
    """Each tensor that may stand in an operand's place, with the cause that it means."""
    for_gradient = is_gradient(operand, scene.reads)
    if not for_gradient and operand in scene.parameters and operand != scene.of:
        yield mistakes.Unused(operand), np.zeros_like(right)
    if operand in scene.updated:
        yield mistakes.UpdatedOperand(operand), scene.updated[operand]
    if operand in scene.previous:
        yield mistakes.Stale(operand), scene.previous[operand]
    if operand in scene.inputs and right.dtype.kind == "f" and np.all((right >= 0) & (right <= 1)):
        yield LabelsSwapped(operand), 1 - right
    if for_gradient and right.shape == scene.reference.shape:
        yield DerivativeTwice(of_gradient(operand), scene.of), scene.reference
    if right.ndim == 2 and right.shape[0] == right.shape[1] > 1:
        yield mistakes.OperandTransposed(operand), right.T
    for name in _candidates(scene, operand, right):
        at_output = scene.of == operand and name in scene.readers
        yield (DerivativeAt if at_output else mistakes.WrongOperand)(name, operand), scene.tensors[name]
    if right.dtype.kind == "f" and not scene.of:
        yield mistakes.OperandSign(operand), -right


def _candidates(scene: Scene, operand: str, right: Array) -> list[str]:
    """Earlier tensors of the operand's shape, gradients for a gradient and values for a value.

    The wrong tensor itself is none of them: it explains itself where an operation changes nothing, as ReLU of what is
    positive.
    """
    for_gradient = is_gradient(operand, scene.reads)
    return [
        name
        for name in sorted(scene.earlier, key=[*scene.tensors].index)
        if name not in (operand, updated(operand))
        and scene.tensors[name].shape == right.shape
        and is_gradient(name, scene.tensors) == for_gradient
        and scene.tensors[name].any()
    ]
