"""The ledger's sentences in other languages, and the statements in the notes' own words."""

import ast
import re
import string

import pytest

from handgrad import InputError
from handgrad.compare.notes.language import ENGLISH, Language, Sentence, language, own_words
from handgrad.compare.notes.statements import STATEMENTS
from handgrad.compare.operations import OPERATIONS
from tests.repository import ROOT

KOREAN = language("ko")


def test_a_sentence_is_its_text_in_english_and_keeps_what_fills_it_in():
    one = Sentence("{n:.2g} of {what}", n=0.123, what=Sentence("all {k}", k=3))
    assert one == "0.12 of all 3"
    other = Language("xx", {"{n:.2g} of {what}": "{what}: {n:.3g}", "all {k}": "je {k}", "plain": "eben"})
    assert other.said(one) == "je 3: 0.123"
    assert other.said("plain") == "eben"
    assert other.said("x = 1") == "x = 1"
    assert ENGLISH.said(one) == one
    assert language("en") is ENGLISH


def test_an_unknown_language_is_told_what_there_is():
    with pytest.raises(InputError, match=r"--language KO is not known; did you mean 'ko'\? known are en, ko"):
        language("KO")


def fields(template):
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


@pytest.mark.parametrize(("english", "korean"), KOREAN.templates.items())
def test_a_sentence_in_korean_has_the_same_values(english, korean):
    assert fields(english) == fields(korean)
    assert not re.search("니다$", korean), "a sentence ends with a full stop"


def test_nothing_is_translated_that_is_no_longer_said():
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "compare" / "notes").glob("*.py"))
    said = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    said |= {text for row in OPERATIONS for text in (row.name.replace("-", " "), *row.supplied.values())}
    page = (ROOT / "compare" / "report" / "templates" / "notes.html").read_text(encoding="utf-8")
    assert [text for text in KOREAN.templates if text not in said and f"say('{text}')" not in page] == []


def test_own_words_are_verbatim_in_the_notes():
    notes = (ROOT / "tests" / "lecture-notes.txt").read_text(encoding="utf-8").splitlines()
    words = {statement.id: own_words(statement.id) for statement in STATEMENTS}
    for line in (line for lines in words.values() for line in lines):
        assert any(line in of_notes for of_notes in notes), line
    without = {id for id, lines in words.items() if not lines}
    supplied = {statement.id for statement in STATEMENTS if statement.verdict == "supplied"}
    assert without == supplied - {"B1"}, "B1 is where the notes say why they stop"
