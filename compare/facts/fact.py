"""What handgrad can say, as values: every fact is a small frozen type with a code, its numbers and names.

A sentence is made from a fact once, at the end, by str(); nothing ever reads a sentence to learn something.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, dataclass_transform


@dataclass_transform(frozen_default=True)
class Fact:
    """Something that a check says. `code` is stable and part of the public API; str() is its one sentence.

    `sentence` is the template of that, filled in with the fields; a fact that needs more has a __str__ of its own.
    Every subclass is a frozen dataclass, made so when it is first used: there are a hundred, and a report needs a few.
    """

    code: ClassVar[str]
    sentence: ClassVar[str]

    def __init_subclass__(cls, code: str = "", sentence: str = "") -> None:
        """Keep the code and the template that stand behind its name."""
        if code:
            cls.code = code
        if sentence:
            cls.sentence = sentence

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """The value that __init__ fills in."""
        if "__dataclass_params__" not in cls.__dict__:
            cls.prepare()
        return super().__new__(cls)

    @classmethod
    def prepare(cls) -> None:
        """Make a dataclass of it, if it is none yet."""
        for kind in reversed(cls.__mro__[: cls.__mro__.index(Fact)]):
            if issubclass(kind, Fact) and "__dataclass_params__" not in vars(kind):
                dataclass(frozen=True)(kind)

    def __str__(self) -> str:
        """The sentence; without a full stop where it may be part of a longer one."""
        return self.sentence.format(**{name: _said(value) for name, value in vars(self).items()})


def _said(value: Any) -> Any:
    """A field as it stands in a sentence: numbers as long as a reader needs, tuples of names with commas."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(str, value)) if isinstance(value, tuple) and all(isinstance(v, str) for v in value) else value


def content_of(fact: Fact) -> dict[str, Any]:
    """A fact for JSON: its code, its type and fields, and its sentence."""
    own = {name: plain(value) for name, value in vars(fact).items() if name != "code"}
    return {"code": fact.code, "type": type(fact).__name__, **own, "text": str(fact)}


def plain(value: Any) -> Any:
    """A value for JSON: facts and records as objects, and as texts the numbers that JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Fact):
        return content_of(value)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def counted(count: int, noun: str, nouns: str = "") -> str:
    """1 step, 2 steps."""
    return f"{count} {noun}" if count == 1 else f"{count} {nouns or f'{noun}s'}"


def listed(items: Iterable[object], most: int = 8) -> str:
    """1, 2, 3 ..., so many at most."""
    shown = [*map(str, items)]
    return ", ".join(shown[:most]) + (" ..." if len(shown) > most else "")


def enumerated(names: Sequence[str]) -> str:
    """dA, dW and db."""
    return " and ".join([*filter(None, [", ".join(names[:-1])]), *names[-1:]])


def number(value: float) -> str:
    """A factor; of one that is close to 1, what it is off by."""
    off = value - 1
    return f"1 {'+' if off > 0 else '-'} {abs(off):.2g}" if 0 < abs(off) < 1e-9 else f"{value:.12g}"
