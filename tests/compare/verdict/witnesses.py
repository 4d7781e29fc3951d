"""A witness whose answers are given: records and references by name, and how both look at other places."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from handgrad.compare.thresholds import ROUNDINGS
from handgrad.compare.trace import digits_of
from handgrad.compare.verdict.bounds import PRECISIONS, Allowance
from handgrad.compare.verdict.closeness import Local
from handgrad.compare.verdict.rounding import largest_around


@dataclass
class Told:
    """`elsewhere` holds (records, references) at moved places, by the share that they are moved by or for all of them.

    Without it everything is where it was, so that a difference stays. `roundings` is the variance of every entry, but
    where the operation has an allowance.
    """

    records: Mapping[str, np.ndarray]
    local: Mapping[str, np.ndarray]
    dtype: str = "float64"
    roundings: float = 0.0
    elsewhere: Mapping[float, Sequence[tuple[Mapping, Mapping]]] | None = None
    once_more: Mapping[str, np.ndarray] | None = None
    exact: tuple[Mapping[str, np.ndarray], tuple[str, ...]] = ({}, ())
    reaches: float = 0.0
    nothing: tuple[str, ...] = ()
    own_loss: bool = False
    overflowing: bool = False
    finite: bool = True
    allowances: Mapping[str, Allowance] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def digits(self):
        return max(map(digits_of, self.records.values()))

    @property
    def unit(self):
        return {"float64": 2.0**-53, "float32": 2.0**-24}[self.dtype]

    def beside(self, name):
        return Local(self.records[name], self.local[name])

    def scale(self, name):
        return largest_around(np.asarray(self.local[name]))

    def allowance(self, name):
        return self.allowances.get(name)

    def spread(self, name):
        self.asked.append("spread")
        if name in self.allowances:
            allowed = self.allowances[name].everywhere(PRECISIONS["float64"]) / (ROUNDINGS * 2.0**-53)
            return np.broadcast_to(allowed, np.atleast_1d(self.local[name]).shape)
        return np.full(np.shape(self.local[name]), np.sqrt(self.roundings)) * np.abs(self.local[name])

    def again(self, name):
        return np.atleast_1d((self.once_more or self.local)[name])

    def put_right(self, name):
        values, met = self.exact
        return (np.atleast_1d(values[name]) if name in values else None), met

    def reach(self, name):
        return max(self.reaches, float(np.max(np.abs(self.local[name]))))

    def places(self, name, by):
        self.asked.append(f"places {by:g}")
        here = [(self.records, self.local)] * 3
        found = here if self.elsewhere is None else self.elsewhere.get(by, self.elsewhere.get(0, []))
        return [Local(np.atleast_1d(records[name]), np.atleast_1d(local[name])) for records, local in found]

    def is_nothing(self, name):
        return name in self.nothing

    def contradicts(self, name, difference):
        self.asked.append("own loss")
        return self.own_loss

    @property
    def overflows(self):
        return self.overflowing

    @property
    def torch_is_finite(self):
        return self.finite
