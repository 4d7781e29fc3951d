"""A factor, a sign or a transpose in one line: a fault where what follows uses it, else a convention."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from handgrad.compare.names import of_gradient
from tests.corpus.cases import Array, Arrays, Case, Records
from tests.corpus.variants import BASE

__all__ = ["Planted", "planted"]

Form = Callable[[Array], Array]


class Planted(NamedTuple):
    """A case whose record `name` has another form: for all that follows, or only as it is returned.

    It is a fault where something follows, or where it is what was asked for, and a convention where something else
    than that is returned otherwise.
    """

    name: str
    form: str
    wrong: Callable[..., Arrays]
    undone: Callable[..., Arrays]
    is_fault: bool
    is_convention: bool


class _Changed(Records):
    """Records, one of which has another form; what follows uses that or the right one."""

    def __init__(self, name: str, form: Form, used: bool) -> None:
        super().__init__()
        self.changed, self.form, self.used = name, form, used

    def __call__(self, name: str, value: Array, *mistakes: object, **settings: str | None) -> Array:
        """Record the value, or its other form."""
        if name != self.changed or settings.get("shows"):
            return super().__call__(name, value, *mistakes, **settings)
        right = np.asarray(value)
        self[name] = np.asarray(self.form(right))
        return self[name] if self.used else right


def planted(case: Case, rng: np.random.Generator) -> Iterator[Planted]:
    """Every record of a case by a factor, by its sign, and transposed."""
    operation, right = case.variants[0].args[0], case.variants[0](case.params, *case.batch)
    for name, value in right.items():
        factor = float(rng.choice([0.5, 2.0, 3.0, 1 / 7, 12.0]))
        forms: dict[str, Form] = {f"times {factor:g}": partial(np.multiply, factor), "sign": np.negative}
        if value.ndim == 2 and 1 not in value.shape:
            forms["transposed"] = np.transpose
        is_asked = name == "J" or of_gradient(name) in case.params
        for title, form in forms.items():
            wrong, undone = (partial(_run, operation, _Changed(name, form, used)) for used in (True, False))
            is_fault = is_asked or _goes_on(wrong, right, name, case)
            yield Planted(name, title, wrong, undone, is_fault, not is_asked)


def _goes_on(wrong: Callable[..., Arrays], right: Arrays, name: str, case: Case) -> bool:
    """Whether a run gets through with the wrong form, and something follows from it."""
    try:
        with np.errstate(all="ignore"):
            others = {n: array for n, array in wrong(case.params, *case.batch).items() if n != name}
    except (ValueError, IndexError):  # that shape does not fit
        return False
    return any(not np.array_equal(array, right[n]) for n, array in others.items())


def _run(operation: Callable[..., None], records: Records, params: Arrays, *batch: Array) -> Arrays:
    records.clear()
    operation(records, BASE, params, *batch)
    return dict(records)
