"""A fact: a frozen value with a code and one sentence, and what JSON has of it."""

import dataclasses

import pytest

from handgrad.compare.facts.fact import Fact, content_of, counted, listed, number


class Off(Fact, code="off", sentence="{tensor} is off by {by} in {places}"):
    tensor: str
    by: float
    places: tuple[str, ...] = ()


class Twice(Fact, code="twice"):
    sentence = "twice {inner}"
    inner: Fact


class Spoken(Fact, code="spoken"):
    count: int

    def __str__(self) -> str:
        return counted(self.count, "word")


def test_a_sentence_is_filled_in_with_the_fields():
    assert str(Off("dW", 1 / 3, ("a", "b"))) == "dW is off by 0.333333 in a, b"
    assert str(Twice(Off("dW", 2.0))) == "twice dW is off by 2 in "
    assert str(Spoken(2)) == "2 words"


def test_facts_are_values():
    assert Off("dW", 2.0) == Off("dW", 2.0) != Off("dW", 3.0)
    assert len({Off("dW", 2.0), Off("dW", 2.0)}) == 1
    assert Off("dW", 2.0).code == Off.code == "off"
    with pytest.raises(dataclasses.FrozenInstanceError):
        Off("dW", 2.0).tensor = "db"


def test_json_has_the_code_the_type_the_fields_and_the_sentence():
    assert content_of(Off("dW", 0.5, ("a",))) == {
        "code": "off", "type": "Off", "tensor": "dW", "by": 0.5, "places": ["a"], "text": "dW is off by 0.5 in a",
    }  # fmt: skip
    assert content_of(Twice(Spoken(1)))["inner"] == {"code": "spoken", "type": "Spoken", "count": 1, "text": "1 word"}


@pytest.mark.parametrize(("count", "words"), [(0, "0 steps"), (1, "1 step"), (2, "2 steps")])
def test_counted(count, words):
    assert counted(count, "step") == words


def test_a_plural_of_its_own():
    assert counted(2, "entry", "entries") == "2 entries"


def test_listed_is_cut_off():
    assert listed([1, 2]) == "1, 2"
    assert listed(range(9), most=2) == "0, 1 ..."
    assert listed([]) == ""


@pytest.mark.parametrize(("value", "words"), [
    (2.0, "2"), (1 / 3, "0.333333333333"), (1 + 1e-12, "1 + 1e-12"), (1 - 1e-12, "1 - 1e-12"), (1.0, "1"),
    (-1.0, "-1"), (1 + 1e-8, "1.00000001"),
])  # fmt: skip
def test_a_factor_close_to_1_is_what_it_is_off_by(value, words):
    assert number(value) == words
