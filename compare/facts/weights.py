"""Mistakes in initial weights: as in causes.py."""

from handgrad.compare.facts.causes import Cause, OfNumbers


class InitializerFamily(Cause, code="initializer-family"):
    """The weights are of another distribution; `samples` is how many show that, where samples were drawn.

    The calls are those of torch that draw what each side has; `cut` is a key of HOW_CUT.
    """

    by_hand: str
    torch: str
    samples: int = 0
    by_hand_calls: tuple[str, ...] = ()
    torch_calls: tuple[str, ...] = ()
    cut: str = ""

    def __str__(self) -> str:
        by_samples = f"; the distributions differ in {self.samples} samples" if self.samples else ""
        ours, theirs = _called(self.by_hand_calls), _called(self.torch_calls)
        cut = HOW_CUT.get(self.cut, self.cut)
        return f"by hand the weights are {self.by_hand}{ours}{cut}, in torch {self.torch}{theirs}{by_samples}"


HOW_CUT = {
    "rescaled": " and rescaled to torch's deviation",
    "not-rescaled": " and not rescaled",
}


class InitializerRepeated(Cause, code="initializer-family"):
    """All rows, or all columns, or all entries, are one draw."""

    sentence = "all {slices} are the same draw, in torch each is its own; equal units never separate"
    slices: str


class InitializerMean(OfNumbers, code="initializer-family"):
    """The weights have another mean."""

    def __str__(self) -> str:
        return f"by hand the mean is {self.by_hand:.7g}, in torch {self.torch:.7g}"


class InitializerStatistic(OfNumbers, code="initializer-family"):
    """A number that each draw has, as the mean of row (3,), is another on the average over the draws.

    The place is an entry, a row, a column, the diagonal, entries from one to another, or "" where it is the whole draw.
    """

    of: str
    place: str
    index: tuple[int, ...]

    def __str__(self) -> str:
        index = f" ({', '.join(map(str, self.index))})" if self.index else ""
        place = f" of {self.place}{index}" if self.place else ""
        return f"over the draws, the {self.of}{place} is {self.by_hand:.4g} by hand, in torch {self.torch:.4g}"


class InitializerScale(Cause, code="initializer-scale"):
    """The weights have another standard deviation; the formulas are those of the shape that give each of both.

    `calls`: see InitializerFamily. `rescaled`: the side that makes up for a normal's cut, where the other does not.
    """

    factor: float
    by_hand: float
    torch: float
    by_hand_formulas: tuple[str, ...] = ()
    torch_formulas: tuple[str, ...] = ()
    by_hand_calls: tuple[str, ...] = ()
    torch_calls: tuple[str, ...] = ()
    rescaled: str = ""

    def __str__(self) -> str:
        ours = f"{self.by_hand:.7g}{_equal(self.by_hand_formulas)}{_called(self.by_hand_calls)}"
        theirs = f"{self.torch:.7g}{_equal(self.torch_formulas)}{_called(self.torch_calls)}"
        cut = f"; {self.rescaled} the normal is rescaled after the cut, and not on the other side" * bool(self.rescaled)
        return f"the standard deviation is {self.factor:.7g} times torch's: by hand {ours}, in torch {theirs}{cut}"


def _called(calls: tuple[str, ...]) -> str:
    return f" ({' or '.join(calls)})" if calls else ""


def _equal(formulas: tuple[str, ...]) -> str:
    return f" = {' or '.join(formulas)}" if formulas else ""
