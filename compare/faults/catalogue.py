"""The catalogue of known mistakes: each an edit of code that is right, with what a check must say of it.

network.toml holds those of the notes' network, which edit manual/, elsewhere.toml those of the problems beside it.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

FILES = ("network.toml", "elsewhere.toml")
NETWORK = "handgrad.manual."
NOMINAL = "NOMINAL_BATCH_SIZE"

Edits = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Needs:
    """What a run must have for a mistake to show; None is drawn at random.

    `hidden` are the activations that hidden layers may have, `activations` two that they must have in turn. `even`
    leaves no short batch, `square` makes all widths equal, `exact_zeros` makes half of the examples and all biases 0,
    `saturated` multiplies inputs by 1000.
    """

    loss: str = "binary-cross-entropy"
    hidden: tuple[str, ...] = ("tanh", "sigmoid", "relu")
    activations: tuple[str, str] | None = None
    outputs: int | None = None
    batch_size: int | None = None
    l2: bool | None = None
    steps: int = 5
    square: bool = False
    even: bool = False
    exact_zeros: bool = False
    saturated: bool = False


@dataclass(frozen=True)
class Fault:
    """One mistake: the code that is right, what is written in its place, and what a check must say of it.

    `module` holds the code; what is right in an edit stands in it exactly once. `equation` is the label of the notes,
    or the right formula where they have none, `formula` the wrong one. `cause` is the code that the finding must have
    and `first` the first tensor that is wrong, with {L} for the last layer, {H} for the one before and {R} for what the
    loss reads, Z or A.
    """

    name: str
    module: str
    edits: Edits
    equation: str
    formula: str
    cause: str
    first: str
    why: str
    lesson: str
    needs: Needs = field(default_factory=Needs)

    @property
    def is_of_network(self) -> bool:
        """Whether the mistake is one in manual/."""
        return self.module.startswith(NETWORK)

    def edits_for(self, batch_size: int | None) -> Edits:
        """The edits for a run with this batch size."""
        return tuple((right, wrong.replace(NOMINAL, str(batch_size or "n"))) for right, wrong in self.edits)


@cache
def catalogue() -> Mapping[str, Fault]:
    """Every entry by name, those of the notes' network first."""
    texts = (resources.files(__package__).joinpath(file).read_text(encoding="utf-8") for file in FILES)
    entries = (entry for text in texts for entry in tomllib.loads(text).items())
    return MappingProxyType({name: _fault(name, **entry) for name, entry in entries})


def _fault(name: str, module: str, right: Any, wrong: Any, needs: Any = MappingProxyType({}), **texts: str) -> Fault:
    """An entry as the file has it: one edit, or a list of them."""
    edits = tuple(zip(right, wrong, strict=True)) if isinstance(right, list) else ((right, wrong),)
    kept: dict[str, Any] = {key: tuple(need) if isinstance(need, list) else need for key, need in needs.items()}
    return Fault(name, f"handgrad.{module}", edits, needs=Needs(**kept), **texts)
