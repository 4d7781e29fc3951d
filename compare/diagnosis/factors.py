"""Factors: zero, a wrong sign, a factor with its names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isclose

import numpy as np

from handgrad.compare.diagnosis.scene import Cause, Scene

__all__ = ["data_part", "named_factors", "scaled", "unnamed_scale", "zero"]

PAIRS = (("n", "batch size"), ("n", "n_x"), ("n", "N"))  # which size may stand where which belongs
PLAIN = (2.0, 0.5)  # factors that say nothing of any size


def zero(scene: Scene) -> Iterator[Cause]:
    """All zero."""
    if not scene.recorded.any():
        yield Cause("zero", "by hand it is exactly zero everywhere")


def scaled(scene: Scene) -> Iterator[Cause]:
    """A wrong sign, or a factor that is a whole number, one over it, or has a name."""
    for factor in _candidates(scene):
        if not scene.explained_by(factor * scene.reference):
            continue
        if factor == -1.0:
            yield Cause("sign", "every entry has the wrong sign", factor)
            return
        names = named_factors(factor, scene.numbers)
        short = [name for name in names if name in ("n/(batch size)", "(batch size)/n")]
        if short:
            told = f"every entry is {_shown(factor, (short[0],))} times torch's"
            yield Cause("partial-batch", f"{told}: a short batch is divided by the nominal size", factor)
        yield Cause("scale", f"every entry is {_shown(factor, names)} times torch's, {_direction(factor)}", factor)
        return


def data_part(scene: Scene) -> Iterator[Cause]:
    """A factor on all of a gradient but a term that no example contributes to, weight decay, or on one of its parts."""
    terms = {reader: scene.tensors.get(f"d{reader}") for reader in scene.readers if scene.of in scene.parameters}
    parts = {"but for a term that is not of the data": (*terms,)}
    parts |= {f"in what comes through {reader} alone": (reader,) for reader in terms if len(terms) > 1}
    for where, through in parts.items():
        none = {f"d{reader}": np.zeros_like(of) for reader in through if (of := terms[reader]) is not None}
        rest = scene.replayed(none) if none and len(none) == len(through) else None
        if rest is None or rest.shape != scene.recorded.shape or not rest.any():
            continue
        part = Scene(scene.name, scene.recorded - rest, scene.reference - rest, scene.dtype, numbers=scene.numbers)
        for cause in scaled(part):
            if cause.factor is not None and scene.explained_by(rest + cause.factor * part.reference):
                yield Cause(cause.code, f"{where}, {cause.text}", cause.factor)
                return


def unnamed_scale(scene: Scene) -> Iterator[Cause]:
    """Any other factor."""
    factor = _fitted(scene)
    if factor is not None and factor not in (0.0, 1.0) and scene.explained_by(factor * scene.reference):
        yield Cause("scale", f"every entry is {_number(factor)} times torch's, {_direction(factor)}", factor)


def _fitted(scene: Scene) -> float | None:
    """The factor that fits best in the sense of least squares."""
    scale = float(np.max(np.abs(scene.reference), initial=0.0))
    if not (np.isfinite(scene.recorded).all() and np.isfinite(scale)) or scale == 0.0:
        return None
    unit = scene.reference / scale
    return float(np.vdot(scene.recorded / scale, unit) / np.vdot(unit, unit))


def _candidates(scene: Scene) -> Iterator[float]:
    """The exact factors near the one that fits best: whole numbers, one over them, and those with a name."""
    fitted = _fitted(scene)
    if fitted is None or not np.isfinite(fitted):
        return
    simple = float(round(fitted)) if abs(fitted) >= 1 else 1 / round(1 / fitted) if fitted else 0.0
    exact = [simple, *(sign * value for value in _values(scene.numbers).values() for sign in (1, -1))]
    yield from dict.fromkeys(f for f in exact if f not in (0.0, 1.0) and isclose(f, fitted, rel_tol=1e-6))


def named_factors(factor: float, numbers: Mapping[str, float]) -> tuple[str, ...]:
    """The names that a factor goes by, up to its sign: a number, one over it, or a ratio of two; all that fit."""
    return tuple(name for name, value in _values(numbers).items() if isclose(abs(factor), value, rel_tol=1e-9))


def _values(numbers: Mapping[str, float]) -> dict[str, float]:
    """Every name with its value: the numbers, one over each, roots of sizes, and the quotients that mistakes make."""
    positive = {name: float(value) for name, value in numbers.items() if value > 0 and value != 1}
    sizes = {name: value for name, value in positive.items() if value == int(value)}
    found = positive | {f"1/{_bracketed(name)}": 1 / value for name, value in positive.items()}
    n = sizes.get("n")
    if n is not None:
        found |= {"n/(n-1)": n / (n - 1), "(n-1)/n": (n - 1) / n}
    for a, b in PAIRS:
        if a in sizes and b in sizes:
            found |= {f"{a}/{_bracketed(b)}": sizes[a] / sizes[b], f"{_bracketed(b)}/{a}": sizes[b] / sizes[a]}
    if n is not None and "K" in sizes:
        found |= {"n K": n * sizes["K"], "1/(n K)": 1 / (n * sizes["K"])}
    for name, value in sizes.items():
        if not isclose(value**0.5, round(value**0.5)):
            found |= {f"sqrt({name})": value**0.5, f"1/sqrt({name})": value**-0.5}
    return {name: value for name, value in found.items() if value != 1}


def _bracketed(name: str) -> str:
    return f"({name})" if " " in name and not name.startswith("(") else name


def _shown(factor: float, names: tuple[str, ...]) -> str:
    named = names and abs(factor) not in PLAIN
    minus = "minus " if factor < 0 else ""
    return _number(factor) + (f" = {' or '.join(minus + name for name in names[:4])}" if named else "")


def _number(factor: float) -> str:
    """A factor, of one close to 1 what it is off by."""
    off = factor - 1
    return f"1 {'+' if off > 0 else '-'} {abs(off):.2g}" if 0 < abs(off) < 1e-9 else f"{factor:.12g}"


def _direction(factor: float) -> str:
    return "too large" if abs(factor) > 1 else "too small" if factor > 0 else "off"
