"""Another tensor in an operand's place: the reference replayed with each one that has its shape."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from handgrad.compare.diagnosis.scene import Array, Arrays, Cause, Scene

__all__ = ["copied", "operands", "overwritten"]

MOST = 100  # replays for one tensor


def overwritten(scene: Scene) -> Iterator[Cause]:
    """The tensor holds what is computed from it: that was written into it, or they share memory."""
    if scene.of:
        later = [f"d{name}" for name in sorted(scene.reads.get(scene.of, ()))]
    else:
        later = [name for name, read in scene.reads.items() if scene.name in read and name != "J"]
    for name in later:
        due = scene.replayed({scene.name: scene.reference}, name)
        if due is not None and not scene.explained_by(scene.reference) and scene.explained_by(due):
            yield Cause(
                "aliased",
                f"it holds {name}, which is computed from it: it was overwritten in place, they share memory, "
                "or one is kept under the other's name",
            )
            return


def copied(scene: Scene) -> Iterator[Cause]:
    """The tensor is an earlier one, unchanged: an operation is left out."""
    for name, other in sorted(scene.alike(), key=lambda pair: pair[0].removeprefix("d") not in scene.readers):
        if scene.explained_by(other):
            if scene.of and name.startswith("d") and name[1:] in scene.readers:
                rest = scene.replayed({name: np.zeros_like(other)})
                if len(scene.readers) > 1 and rest is not None and scene.explained_by(scene.reference - rest):
                    through = ", ".join(reader for reader in scene.readers if f"d{reader}" != name)
                    yield Cause("wrong-operand", f"it is {name} itself: what comes through {through} is missing")
                    return
                told = f"it is {name} itself: the derivative of {name[1:]} with respect to {scene.of} is missing"
                yield Cause("activation-derivative", told)
            else:
                yield Cause("wrong-operand", f"it is {name} itself")
            return


def operands(scene: Scene) -> Iterator[Cause]:
    """One operand replaced: by a tensor of its shape, its transpose, its value after the update or the step before."""
    tried = 0
    for operand in _read(scene):
        right = scene.tensors[operand]
        yield from _updated(scene, operand)
        for cause, instead in _instead(scene, operand, right):
            tried += 1
            if tried > MOST:
                return
            if np.array_equal(instead, right):
                continue
            if scene.explained_by(scene.replayed({operand: instead})):
                yield cause


def _updated(scene: Scene, operand: str) -> Iterator[Cause]:
    """A parameter read after an update at whatever rate, where the tensor is linear in it."""
    for direction in (f"d{operand}", f"v{operand}"):
        moved = scene.tensors.get(direction)
        if operand not in scene.parameters or moved is None or moved.shape != scene.tensors[operand].shape:
            continue
        if moved.size == 1:  # at some rate it would be anything
            continue
        after = scene.replayed({operand: scene.tensors[operand] + moved})
        if after is None or after.shape != scene.recorded.shape or not (after != scene.reference).any():
            continue
        change = after - scene.reference
        c = float(np.vdot(scene.difference, change) / np.vdot(change, change))
        if c < 0 and scene.explained_by(scene.reference + c * change):
            told = (
                f"it reads {operand} - {-c:.6g} {direction}, already updated: compute all gradients before any update"
            )
            yield Cause("updated-weights", told, fitted=c)
            return


def _read(scene: Scene) -> list[str]:
    """What the tensor is computed from: a value from what it reads; a gradient from the gradients of the values that
    read what it is the gradient of, and from what else they read.
    """
    if not scene.of or not scene.readers:
        return [name for name in sorted(scene.reads.get(scene.name, ())) if name in scene.tensors]
    found: dict[str, None] = {}
    for reader in scene.readers:
        found |= dict.fromkeys(sorted(scene.reads[reader]))
        found |= {f"d{reader}": None}
    found |= dict.fromkeys(sorted(scene.inputs))
    return [name for name in found if name in scene.tensors]


def _instead(scene: Scene, operand: str, right: Array) -> Iterator[tuple[Cause, Array]]:
    """Each tensor that may stand in an operand's place, with the cause that it means."""
    gradient = operand.startswith("d") and operand[1:] in scene.reads
    if not gradient and operand in scene.parameters and operand != scene.of:
        yield Cause("wrong-operand", f"{operand} is not used"), np.zeros_like(right)
    if operand in scene.updated:
        told = f"{operand} is already updated where it is read: compute all gradients before any update"
        yield Cause("updated-weights", told), scene.updated[operand]
    if operand in scene.previous:
        yield Cause("stale", f"it reads {operand} of the step before"), scene.previous[operand]
    if operand in scene.inputs and right.dtype.kind == "f" and np.all((right >= 0) & (right <= 1)):
        yield Cause("loss-formula", f"1 - {operand} is used where {operand} belongs: the labels are swapped"), 1 - right
    if gradient and right.shape == scene.reference.shape:
        told = f"the derivative of {operand[1:]} with respect to {scene.of} is applied twice"
        yield Cause("activation-derivative", told), scene.reference
    if right.ndim == 2 and right.shape[0] == right.shape[1] > 1:
        yield Cause("wrong-operand", f"{operand} is used where its transpose belongs, or the other way round"), right.T
    for name, other in _candidates(scene.tensors, scene.earlier, operand, right, gradient=gradient):
        told = f"{name} is used where {operand} belongs"
        at_output = scene.of == operand and name in scene.readers
        if at_output:
            told = f"the derivative is taken at {name}, where {operand} belongs"
        yield Cause("activation-derivative" if at_output else "wrong-operand", told), other
    if right.dtype.kind == "f" and not scene.of:
        yield Cause("sign", f"{operand} enters with the wrong sign"), -right


def _candidates(
    tensors: Arrays, earlier: frozenset[str], operand: str, right: Array, *, gradient: bool
) -> Iterator[tuple[str, Array]]:
    """Earlier tensors of the operand's shape, gradients for a gradient and values for a value.

    The wrong one itself is none of them: it explains itself where an operation changes nothing, as ReLU of what is
    positive.
    """
    for name in sorted(earlier, key=list(tensors).index):
        other = tensors[name]
        is_gradient = name.startswith("d") and name[1:] in tensors
        if (
            name not in (operand, f"{operand}_next")
            and other.shape == right.shape
            and is_gradient == gradient
            and other.any()
        ):
            yield name, other
