"""Operations with mistakes that are planted as text: written before anything was run on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Mistake:
    """What is wrong in one plain sentence, and the text of the derivation that makes it so."""

    what: str
    old: str
    new: str


@dataclass(frozen=True)
class Operation:
    """A reference in torch, a right derivation as source, and mistakes; `draw` gives parameters and a batch."""

    name: str
    reference: Callable[..., Any]
    derivation: str
    draw: Callable[[np.random.Generator], tuple[Arrays, tuple[Any, ...]]]
    mistakes: tuple[Mistake, ...]
