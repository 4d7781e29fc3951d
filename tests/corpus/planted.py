"""Code with mistakes that are planted as text: derivations of operations, and update rules."""

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

    def planted(self, source: str) -> str:
        """A source with the mistake in it."""
        if source.count(self.old) != 1:
            raise ValueError(f"{self.old!r} stands {source.count(self.old)} times in the source of: {self.what}")
        return source.replace(self.old, self.new)


@dataclass(frozen=True)
class Operation:
    """A reference in torch, a right derivation as source, and mistakes; `draw` gives parameters and a batch."""

    name: str
    reference: Callable[..., Any]
    derivation: str
    draw: Callable[[np.random.Generator], tuple[Arrays, tuple[Any, ...]]]
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True)
class Rule:
    """An optimiser of torch's, a right update as source, and mistakes; `draw` gives parameters."""

    name: str
    optimizer: Callable[..., Any]
    update: str
    draw: Callable[[np.random.Generator], Arrays]
    mistakes: tuple[Mistake, ...]


def made(source: str, **known: Any) -> Callable[..., Any]:
    """The function that a source defines; it may use np, and what else is `known`."""
    names = {"np": np, **known}
    exec(compile(source, "<planted>", "exec"), names)
    return next(value for name, value in names.items() if name in ("derivation", "update", "backward"))
