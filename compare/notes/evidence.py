"""What the statements of the lecture notes are made of: the statement, its evidence, and the figures in that."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, SupportsFloat

from handgrad.compare.results import Curve, Plot


class Figure(NamedTuple):
    """One quantity by hand and in torch; None for a side that has none."""

    name: str
    by_hand: float | None
    torch: float | None


class Evidence(NamedTuple):
    """What was computed, what it shows in a sentence that quotes the figures, and its consequence as curves."""

    text: str
    figures: tuple[Figure, ...] = ()
    plots: tuple[Plot, ...] = ()


class Statement(NamedTuple):
    """One statement of the notes: its label, as written and corrected in English, the verdict, and what proves it."""

    id: str
    as_written: str
    corrected: str
    verdict: str
    prove: Callable[[], Evidence]


def figure(name: str, by_hand: SupportsFloat | None, torch: SupportsFloat | None = None) -> Figure:
    """A figure of numbers of any kind: Python's, NumPy's or torch's."""
    return Figure(name, *(None if side is None else float(side) for side in (by_hand, torch)))


def evidence(text: str, *figures: Figure, plots: tuple[Plot, ...] = ()) -> Evidence:
    """What a text, figures and plots show together."""
    return Evidence(text, figures, plots)


def curves(values: Mapping[str, Sequence[float]], first: int = 0) -> tuple[Curve, ...]:
    """What was computed step by step, by the name of its curve; the steps count from `first`."""
    return tuple(Curve(name, tuple(map(float, range(first, first + len(y)))), tuple(y)) for name, y in values.items())
