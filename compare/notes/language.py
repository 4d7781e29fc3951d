"""The sentences of the ledger: templates in English with what fills them in, and what they are in other languages."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Self

from handgrad.compare.errors import InputError, did_you_mean


class Sentence(str):
    """A text that knows its template and what fills it in, so that a language may have its own template for it."""

    template: str
    values: Mapping[str, Any]

    def __new__(cls, template: str, **values: Any) -> Self:
        """The text in English."""
        made = super().__new__(cls, template.format(**values))
        made.template, made.values = template, values
        return made


@dataclass(frozen=True)
class Language:
    """A language by its code, with its template for each in English; a formula, which has none, is the same in all."""

    code: str
    templates: Mapping[str, str] = field(default_factory=dict)

    def said(self, text: str) -> str:
        """A text in this language, and the texts in it."""
        if not isinstance(text, Sentence):
            return self.templates.get(text, text)
        values = {name: self.said(value) if isinstance(value, str) else value for name, value in text.values.items()}
        return self.templates.get(text.template, text.template).format(**values)


ENGLISH = Language("en")  # the language of the templates, which needs no file


@cache
def language(code: str) -> Language:
    """A language by its code; InputError for one that has no file here."""
    if code == ENGLISH.code:
        return ENGLISH
    files = {
        file.name.removesuffix(".toml"): file
        for file in resources.files(__package__).joinpath("languages").iterdir()
        if file.name.endswith(".toml")
    }
    if code not in files:
        raise InputError(f"--language {code} is not known; {did_you_mean(code, [ENGLISH.code, *sorted(files)])}")
    return Language(code, tomllib.loads(files[code].read_text(encoding="utf-8")))


def own_words(id: str) -> list[str]:
    """What the notes themselves say of a statement, line by line; nothing where it was supplied."""
    words: list[str] = _originals().get(id, [])
    return words


@cache
def _originals() -> dict[str, list[str]]:
    return tomllib.loads(resources.files(__package__).joinpath("original.toml").read_text(encoding="utf-8"))
