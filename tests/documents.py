"""The blocks of code in the README and what may differ in an output from one machine to another."""

import re

from tests.repository import ROOT

__all__ = ["blocks", "masked"]

_BLOCKS = re.findall(r"```(\w*)\n(.*?)```\n", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)


def blocks(language: str) -> list[str]:
    """The README's blocks of a language, in their order."""
    return [text for kind, text in _BLOCKS if kind == language]


def masked(text: str) -> str:
    """The text without what differs between machines: measured numbers, and the widths of columns; counts stay."""
    counted = r"\d+ (?:of|entr|step|tensor|compared|later|check)"
    number = rf"(?<![\d.])(?!{counted})[-+]?\d+(\.\d+)?(e[-+]\d+)?"
    return re.sub(r"[-\s]+", " ", re.sub(number, "#", text.replace("+cpu", ""))).strip()
