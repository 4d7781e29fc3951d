"""What every cause means and how to tell it from others, by its code; the texts are those of explanations.toml."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

from handgrad.compare.faults.catalogue import Fault, catalogue


@dataclass(frozen=True)
class Explanation:
    """One cause: its group, its line in a list, what it means, a known mistake as the example, and its neighbours.

    `question` leads to it without giving a formula away. `neighbours` are codes of causes that it is easily mistaken
    for, each with the sign that tells them apart.
    """

    code: str
    group: str
    line: str
    means: str
    example: str
    question: str
    neighbours: Mapping[str, str]

    @property
    def others(self) -> tuple[str, ...]:
        """The names of the other known mistakes that are called by this cause."""
        return tuple(name for name, fault in catalogue().items() if fault.cause == self.code and name != self.example)

    @property
    def fault(self) -> Fault:
        """The example."""
        return catalogue()[self.example]


@cache
def explanations() -> Mapping[str, Explanation]:
    """Every cause by its code, in the order of its group."""
    text = resources.files(__package__).joinpath("explanations.toml").read_text(encoding="utf-8")
    return MappingProxyType({code: Explanation(code, **fields) for code, fields in tomllib.loads(text).items()})
