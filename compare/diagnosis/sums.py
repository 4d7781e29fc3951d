"""Examples left out of a sum over examples, or counted twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from handgrad.compare.diagnosis.scene import Array, Scene
from handgrad.compare.facts.causes import Cause, Examples
from handgrad.compare.names import gradient
from handgrad.compare.thresholds import EQUAL, MOST_EXAMPLES, MOST_NUMBERS, WHOLE


def examples(scene: Scene) -> Iterator[Cause]:
    """Examples left out of a sum or counted more than once: what each contributes, from a replay without the others."""
    if scene.of not in scene.parameters:
        return
    for name in map(gradient, scene.readers):
        terms = scene.tensors.get(name)
        if terms is None:
            continue
        for axis in dict.fromkeys((terms.ndim - 1, 0)):
            n = terms.shape[axis]
            if not 1 < n <= MOST_EXAMPLES or n * scene.recorded.size > MOST_NUMBERS:
                continue
            shares = _shares(scene, name, terms, axis)
            if shares is None:
                break
            if np.count_nonzero(shares, axis=0).max() <= 1:  # each entry has a slice of its own: nothing is summed
                continue
            counts = _one_example(scene, shares)
            if counts is None and n < scene.recorded.size:  # else there are too many unknowns for several at once
                counts = _several_examples(scene, shares)
            if counts is not None:
                yield _examples(scene, counts)
                return


def _one_example(scene: Scene, shares: Array) -> Array | None:
    """How often each example counts, if one of them is left out or counts twice."""
    for index, share in enumerate(shares):
        for times in (0, 2):
            if scene.explained_by(scene.reference + (times - 1) * share.reshape(scene.recorded.shape)):
                return np.where(np.arange(len(shares)) == index, times, 1)
    return None


def _several_examples(scene: Scene, shares: Array) -> Array | None:
    """How often each example counts, if these are whole numbers and half of them count once."""
    rest = scene.reference.ravel() - shares.sum(axis=0)  # weight decay is no example's
    fitted, *_ = np.linalg.lstsq(shares.T, scene.recorded.ravel() - rest, rcond=None)
    counts = np.asarray(np.round(fitted))
    is_whole = np.max(np.abs(fitted - counts)) <= WHOLE
    if not is_whole or np.ptp(counts) == 0 or counts.min() < 0 or (counts == 1).mean() < 0.5:
        return None
    predicted = (rest + (counts[:, None] * shares).sum(axis=0)).reshape(scene.recorded.shape)
    return counts if scene.explained_by(predicted) else None


def _shares(scene: Scene, name: str, terms: Array, axis: int) -> Array | None:
    """What each example contributes to the gradient, a row each; None if they do not add up to it."""
    of_example = np.arange(terms.shape[axis]).reshape([-1 if a == axis else 1 for a in range(terms.ndim)])
    replays = [scene.replayed({name: np.where(of_example == i, terms, 0)}) for i in range(-1, terms.shape[axis])]
    known = [replay.ravel() for replay in replays if replay is not None and replay.shape == scene.recorded.shape]
    if len(known) < len(replays):
        return None
    without, shares = known[0], np.array(known[1:]) - known[0]  # none of the examples, which is number -1
    if not np.isfinite(shares).all():
        return None
    own = scene.reference.ravel() - without
    apart = np.max(np.abs(shares.sum(axis=0) - own), initial=0.0)
    return shares if apart <= EQUAL * max(np.max(np.abs(own)), np.max(np.abs(shares))) else None


def _examples(scene: Scene, counts: Array) -> Examples:
    """Which examples are missing, and which count how often; positions where the batch has another size."""
    is_known = not scene.inputs or any(len(counts) in scene.tensors[name].shape for name in scene.inputs)
    missing = tuple(int(i) for i in np.flatnonzero(counts == 0))
    repeated = tuple((int(i), int(counts[i])) for i in np.flatnonzero((counts != 0) & (counts != 1)))
    return Examples(missing, repeated, positions=not is_known)
