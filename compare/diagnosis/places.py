"""Where a tensor is wrong, and where its entries should stand: transposed, permuted, isolated, at a kink, masked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import numpy as np

from handgrad.compare.diagnosis.scene import Scene
from handgrad.compare.facts import updates as mistakes
from handgrad.compare.facts.causes import Cause
from handgrad.compare.thresholds import MOST_PLACES, SINGLE_ENTRIES


def moved(scene: Scene) -> Iterator[Cause]:
    """The right entries in the wrong places: axes exchanged, an axis turned round or reordered, or read by columns."""
    recorded, reference = scene.recorded, scene.reference
    in_order = tuple(range(reference.ndim))
    for axes in permutations(in_order):
        turned = reference.transpose(axes)
        if axes != in_order and turned.shape == recorded.shape and scene.explained_by(turned):
            yield mistakes.Transposed() if len(in_order) == 2 else mistakes.AxesPermuted(axes)
            return
    decay = scene.settings.get("l2", 0.0) * scene.tensors.get(scene.of, np.zeros(()))
    is_square = decay.any() and decay.shape == recorded.shape == reference.T.shape
    if is_square and scene.explained_by((reference - decay).T + decay):
        yield mistakes.Transposed(decay=True)
        return
    for axis in in_order:
        if reference.shape[axis] > 1 and scene.explained_by(np.flip(reference, axis)):
            yield mistakes.Reversed(axis)
            return
        order = _reordered(scene, axis)
        if order is not None:
            yield mistakes.Reordered(axis, order)
            return
    if reference.ndim == 2 and scene.explained_by(reference.T.reshape(reference.shape)):
        yield mistakes.FilledByColumns()


def _reordered(scene: Scene, axis: int) -> tuple[int, ...] | None:
    """The order along an axis that makes the reference the recorded tensor, if there is one."""
    size = scene.reference.shape[axis]
    if not 1 < size <= MOST_PLACES:
        return None
    sides = [np.moveaxis(a, axis, 0).reshape(size, -1) for a in (scene.recorded, scene.reference)]
    lines = [np.sort(side[:, 0]) for side in sides]
    if np.max(np.abs(lines[0] - lines[1])) > scene.allowed:  # one line tells as a rule, before the whole is sorted
        return None
    by_ours, by_theirs = (np.lexsort(side.T[::-1]) for side in sides)
    order = by_theirs[np.argsort(by_ours)]
    is_new = (order != np.arange(size)).any()
    return tuple(order.tolist()) if is_new and scene.explained_by(np.take(scene.reference, order, axis)) else None


def masks(scene: Scene) -> Iterator[Cause]:
    """Wrong only where what it is a gradient of is exactly zero, or only where that is not positive."""
    value, wrong = scene.tensors.get(scene.of), scene.wrong
    inputs = scene.parameters | scene.inputs
    if value is None or scene.of in inputs or value.shape != scene.recorded.shape or not wrong.any():
        return
    entries = int(np.count_nonzero(wrong))
    if not wrong[value != 0].any():
        yield mistakes.AtKink(scene.of, entries)
    elif not wrong[value > 0].any() and scene.reference[value > 0].any():
        yield mistakes.Masked(scene.of, entries)


def parts(scene: Scene) -> Iterator[Cause]:
    """Wrong in a few slices along an axis, or in a few single entries, and right in at least as many that are not 0."""
    wrong = scene.wrong
    right = ~wrong & (scene.reference != 0)
    if not wrong.any() or right.sum() < max(2, wrong.sum()):
        return
    for axis in range(wrong.ndim if wrong.ndim > 1 else 0):
        slices = np.flatnonzero(wrong.any(axis=tuple(a for a in range(wrong.ndim) if a != axis)))
        is_whole = wrong.take(slices, axis).mean() > 0.9
        if is_whole and len(slices) <= wrong.shape[axis] // 2 and wrong.shape[axis] > 2:
            indices, is_zero = tuple(slices.tolist()), not scene.recorded.take(slices, axis).any()
            is_of_examples = is_zero and axis == wrong.ndim - 1
            differing = mistakes.SlicesZero if is_of_examples else mistakes.SlicesDiffer
            yield differing(axis, indices, is_zero)
            return
    if np.count_nonzero(wrong) <= max(SINGLE_ENTRIES, wrong.size // 20):
        yield mistakes.Isolated(tuple(tuple(map(int, index)) for index in np.argwhere(wrong)))
