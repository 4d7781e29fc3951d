"""Where a tensor is wrong, and where its entries should stand: transposed, permuted, isolated, at a kink, masked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

import numpy as np

from handgrad.compare.diagnosis.scene import INFORMATIVE, Array, Cause, Scene

__all__ = ["masks", "moved", "parts"]

FEW = 3  # so many wrong entries of many are isolated


def moved(scene: Scene) -> Iterator[Cause]:
    """The right entries in the wrong places: axes exchanged, an axis turned round or reordered, or read by columns."""
    recorded, reference = scene.recorded, scene.reference
    for axes in permutations(range(reference.ndim)):
        turned = reference.transpose(axes)
        if axes != tuple(range(reference.ndim)) and turned.shape == recorded.shape and scene.explained_by(turned):
            told = "it is the transpose of what it should be"
            yield Cause("transpose", told if reference.ndim == 2 else f"its axes are in the order {axes}")
            return
    decay = scene.settings.get("l2", 0.0) * scene.tensors.get(scene.of, np.zeros(()))
    square = decay.any() and decay.shape == recorded.shape == reference.T.shape
    if square and scene.explained_by((reference - decay).T + decay):
        yield Cause("transpose", "it is the transpose of what it should be, but for the weight decay")
        return
    for axis in range(reference.ndim):
        if reference.shape[axis] > 1 and scene.explained_by(np.flip(reference, axis)):
            yield Cause("permuted", f"axis {axis} runs backwards")
            return
        order = _reordered(scene, axis)
        if order is not None:
            yield Cause("permuted", f"along axis {axis} its entries are torch's in another order: {_listed(order)}")
            return
    if reference.ndim == 2 and scene.explained_by(reference.T.reshape(reference.shape)):
        yield Cause("permuted", "its entries are filled in by columns where they should be by rows")


def _reordered(scene: Scene, axis: int) -> list[int] | None:
    """The order along an axis that makes the reference the recorded tensor, if there is one."""
    size = scene.reference.shape[axis]
    if not 1 < size <= 4096:
        return None
    ours, theirs = (np.moveaxis(a, axis, 0).reshape(size, -1) for a in (scene.recorded, scene.reference))
    keys = (np.lexsort(side.T[::-1]) for side in (ours, theirs))
    by_ours, by_theirs = keys
    order = np.empty(size, dtype=int)
    order[by_ours] = by_theirs
    if (order == np.arange(size)).all():
        return None
    return order.tolist() if scene.explained_by(np.take(scene.reference, order, axis)) else None


def masks(scene: Scene) -> Iterator[Cause]:
    """Wrong only where what it is a gradient of is exactly zero, or only where that is not positive."""
    value = scene.tensors.get(scene.of)
    inputs = scene.parameters | scene.inputs
    if value is None or scene.of in inputs or value.shape != scene.recorded.shape or not scene.wrong.any():
        return
    if not scene.wrong[value != 0].any():
        told = f"only the {_count(scene.wrong)} where {scene.of} is exactly 0 differ: the derivative at the kink"
        yield Cause("kink", told)
    elif not scene.wrong[value > 0].any() and scene.reference[value > 0].any():
        told = f"only entries where {scene.of} <= 0 differ, {_count(scene.wrong)}: the mask of the derivative"
        yield Cause("mask", told)


def parts(scene: Scene) -> Iterator[Cause]:
    """Wrong in a few slices along an axis, or in a few single entries, and right in at least as many that are not 0."""
    wrong = scene.wrong
    right = ~wrong & (scene.reference != 0)
    if wrong.size < 2 * INFORMATIVE or not wrong.any() or right.sum() < wrong.sum():
        return
    for axis in range(wrong.ndim):
        others = tuple(a for a in range(wrong.ndim) if a != axis)
        slices = np.flatnonzero(wrong.any(axis=others))
        whole = wrong.take(slices, axis).mean() > 0.9
        if wrong.ndim > 1 and whole and 0 < len(slices) <= wrong.shape[axis] // 2 and wrong.shape[axis] > 2:
            empty = not scene.recorded.take(slices, axis).any()
            code = "dropped-example" if empty and axis == wrong.ndim - 1 else "isolated-elements"
            told = "is zero" if empty else "differs"
            yield Cause(code, f"only index {_listed(slices.tolist())} of axis {axis} {told}, the rest agrees")
            return
    if np.count_nonzero(wrong) <= max(FEW, wrong.size // 20):
        places = [tuple(int(i) for i in index) for index in np.argwhere(wrong)]
        shown = [index[0] if len(index) == 1 else index for index in places]
        yield Cause(
            "isolated-elements", f"only {_count(wrong)} differ{'s' if len(shown) == 1 else ''}: {_listed(shown)}"
        )


def _count(wrong: Array) -> str:
    many = int(np.count_nonzero(wrong))
    return f"{many} entry" if many == 1 else f"{many} entries"


def _listed(items: Sequence[object]) -> str:
    return ", ".join(map(str, items[:8])) + (" ..." if len(items) > 8 else "")
