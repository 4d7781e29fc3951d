"""Sums over examples: a bias gradient summed wrongly, and examples left out of a sum or counted twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from handgrad.compare.diagnosis.scene import Array, Cause, Scene

__all__ = ["bias_sums", "examples"]

MOST_EXAMPLES = 64
MOST_NUMBERS = 2**22


def bias_sums(scene: Scene) -> Iterator[Cause]:
    """A gradient that is a sum of another along some axes, taken as a mean, of one example, or along other axes."""
    if scene.of not in scene.parameters:
        return
    for name, terms, axes in _sums(scene):
        n = int(np.prod([terms.shape[axis] for axis in axes]))
        total = terms.sum(axis=axes, keepdims=True)
        several = {
            f"the mean of {name} over the examples where the sum is due": total / n,
            f"the sum of all of {name} in every entry": np.broadcast_to(terms.sum(), total.shape),
            f"the mean of all of {name} in every entry": np.broadcast_to(terms.mean(), total.shape),
            f"the sum of |{name}|": np.abs(terms).sum(axis=axes, keepdims=True),
            f"the sum of squares of {name}": (terms * terms).sum(axis=axes, keepdims=True),
        }
        if len(axes) == 1:
            for told, index in (("first", 0), ("last", -1)):
                several[f"{name} of the {told} example alone"] = terms.take([index], axes[0])
            for told, kept in (("first", range(1, n)), ("last", range(n - 1))):
                less = terms.take(kept, axes[0]).sum(axis=axes, keepdims=True)
                several[f"the sum of {name} without the {told} example"] = less
        for told, predicted in several.items():
            if n > 1 and scene.explained_by(predicted.reshape(scene.recorded.shape)):
                yield Cause("bias-sum", f"it is {told}", 1 / n if "mean of" in told and "all" not in told else None)


def _sums(scene: Scene) -> Iterator[tuple[str, Array, tuple[int, ...]]]:
    """The gradients of which this one is the sum, and along which axes: those that the bias does not have."""
    bias = scene.reference
    for reader in scene.readers:
        terms = scene.tensors.get(f"d{reader}")
        if terms is None or terms.ndim < bias.ndim:
            continue
        padded = (1,) * (terms.ndim - bias.ndim) + bias.shape
        axes = tuple(a for a, (m, n) in enumerate(zip(padded, terms.shape, strict=True)) if m == 1 < n)
        if not axes:
            continue
        total = terms.sum(axis=axes, keepdims=True)
        if total.shape == padded and np.allclose(
            total.reshape(bias.shape), bias, rtol=1e-3, atol=1e-3 * np.abs(bias).max()
        ):
            yield f"d{reader}", terms, axes


def examples(scene: Scene) -> Iterator[Cause]:
    """Examples left out of a sum or counted more than once: what each contributes, from a replay without the others."""
    if scene.of not in scene.parameters:
        return
    for reader in scene.readers:
        terms = scene.tensors.get(f"d{reader}")
        if terms is None:
            continue
        for axis in dict.fromkeys((terms.ndim - 1, 0)):
            n = terms.shape[axis]
            if not 1 < n <= MOST_EXAMPLES or n * scene.recorded.size > MOST_NUMBERS:
                continue
            shares = _shares(scene, f"d{reader}", terms, axis)
            if shares is None:
                break
            if np.count_nonzero(shares, axis=0).max() <= 1:  # each entry has a slice of its own: nothing is summed
                continue
            for index, share in enumerate(shares):
                for times in (0, 2):
                    if scene.explained_by(scene.reference + (times - 1) * share.reshape(scene.recorded.shape)):
                        yield Cause("dropped-example", _told(scene, np.where(np.arange(n) == index, times, 1)))
                        return
            if n >= scene.recorded.size:  # too many unknowns for several at once
                continue
            rest = scene.reference.ravel() - shares.sum(axis=0)  # weight decay is no example's
            counted, *_ = np.linalg.lstsq(shares.T, scene.recorded.ravel() - rest, rcond=None)
            whole = np.asarray(np.round(counted))
            if (
                np.max(np.abs(counted - whole)) > 1e-6
                or np.ptp(whole) == 0
                or whole.min() < 0
                or not (whole == 1).any()
            ):
                continue
            if scene.explained_by((rest + (whole[:, None] * shares).sum(axis=0)).reshape(scene.recorded.shape)):
                yield Cause("dropped-example", _told(scene, whole))
                return


def _shares(scene: Scene, name: str, terms: Array, axis: int) -> Array | None:
    """What each example contributes to the gradient, a row each; None if they do not add up to it."""
    nothing = scene.replayed({name: np.zeros_like(terms)})
    if nothing is None or nothing.shape != scene.recorded.shape:
        return None
    rows = []
    for index in range(terms.shape[axis]):
        alone = np.zeros_like(terms)
        at = tuple(slice(None) if a != axis else index for a in range(terms.ndim))
        alone[at] = terms[at]
        share = scene.replayed({name: alone})
        if share is None or share.shape != scene.recorded.shape:
            return None
        rows.append((share - nothing).ravel())
    shares = np.array(rows)
    if not np.isfinite(shares).all():
        return None
    own = (scene.reference - nothing).ravel()
    apart = np.max(np.abs(shares.sum(axis=0) - own), initial=0.0)
    return shares if apart <= 1e-9 * max(np.max(np.abs(own)), np.max(np.abs(shares))) else None


def _told(scene: Scene, counted: Array) -> str:
    """Which examples are missing, and which count how often; positions where the batch has another size."""
    known = not scene.inputs or any(len(counted) in scene.tensors[name].shape for name in scene.inputs)
    one = "example" if known else "position"
    missing = [int(i) for i in np.flatnonzero(counted == 0)]
    more = {int(i): int(counted[i]) for i in np.flatnonzero((counted != 0) & (counted != 1))}
    parts = []
    if missing:
        shown = ", ".join(map(str, missing[:8])) + (" ..." if len(missing) > 8 else "")
        parts.append(
            f"{one}{'s' if len(missing) > 1 else ''} {shown} (from 0) {'are' if len(missing) > 1 else 'is'} left out"
        )
    parts += [f"{one} {i} counts {times} times" for i, times in [*more.items()][:8]]
    return f"of the sum over {one}s, " + ", ".join(parts)
