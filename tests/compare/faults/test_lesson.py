"""A lesson on a known mistake: the equation and the code right and wrong, what a check says, why, what to learn."""

import json
import re

import pytest

from handgrad.compare.cli import main
from handgrad.compare.faults import lesson
from handgrad.compare.faults.catalogue import catalogue

ENTRIES = catalogue()
OF_TANH = ENTRIES["tanh-derivative-at-z"]


@pytest.fixture(scope="module")
def of_tanh():
    return lesson.prepared(OF_TANH, 0)


def test_the_report_of_a_lesson_is_of_the_code_with_the_mistake(of_tanh):
    finding = of_tanh.report.first
    assert (finding.cause.code, finding.equation) == ("activation-derivative", "B5")
    (right, wrong), *_ = OF_TANH.edits
    pieces = [code.text for code in of_tanh.report.details.code if code.file == "manual/network.py"]
    assert any(wrong in text for text in pieces)
    assert not any(right in text for text in pieces)


def test_both_sides_mark_what_changed(of_tanh):
    (right, wrong), *_ = OF_TANH.edits
    for listing, piece in zip(of_tanh.sides, (right, wrong), strict=True):
        assert listing.file == "manual/network.py"
        (marked,) = (line.text for line in listing.lines if line.marked)
        assert piece in marked
        assert [line.number for line in listing.lines] == sorted(line.number for line in listing.lines)


def test_a_lesson_as_text_has_every_part(of_tanh):
    told = lesson.as_text(of_tanh)
    for text in (
        "right   (B5) dZ[l] = dA[l] * g'(Z[l])\nwrong   dZ[l] = dA[l] * (1 - Z[l]^2)\n",
        '(cache[f"{g.reads}{l}"])  # (n_l, n)\n+            derivative = g.derivative(cache[f"Z{l}"])',
        f"Why it happens: {OF_TANH.why}",
        str(of_tanh.report.first.cause)[:40],
        f"Lesson: {OF_TANH.lesson}",
    ):
        assert text in told


def test_another_seed_draws_another_run(of_tanh):
    assert lesson.prepared(OF_TANH, 3).report.rows != of_tanh.report.rows


def test_a_lesson_as_json_has_stable_keys(of_tanh):
    content = json.loads(lesson.as_json(of_tanh))
    assert [*content] == ["name", "cause", "first", "equation", "formula", "why", "lesson", "report"]
    assert content["first"] == "dZ[L-1]"
    (finding, *_) = content["report"]["findings"]
    assert finding["cause"]["code"] == content["cause"] == "activation-derivative"


def test_a_lesson_as_markdown_shows_the_difference(of_tanh):
    assert "```diff\n--- manual/network.py (right)\n" in lesson.as_markdown(of_tanh)


@pytest.mark.parametrize("name", ["loss-without-minus", "softmax-gradient-without-mean", "adam-betas-exchanged"])
def test_a_lesson_is_told_of_any_room(name):
    told = lesson.as_text(lesson.prepared(ENTRIES[name], 0))
    assert told.startswith(f"{name}\n")
    assert told.endswith(f"Lesson: {ENTRIES[name].lesson}\n")


def test_the_command_lists_all_and_shows_one(capsys):
    assert main(["faults"]) == 0
    listed = capsys.readouterr().out
    assert all(re.search(rf"^{name} +{fault.cause} ", listed, flags=re.MULTILINE) for name, fault in ENTRIES.items())
    assert f"{len(ENTRIES)} mistakes" in listed
    assert main(["faults", OF_TANH.name]) == 0
    assert capsys.readouterr().out.startswith(f"{OF_TANH.name}\n\nright   (B5)")


def test_the_list_as_json_and_markdown_has_every_entry():
    assert [entry["name"] for entry in json.loads(lesson.listed_as_json())] == [*ENTRIES]
    assert len(lesson.listed_as_markdown().splitlines()) == len(ENTRIES) + 2


def test_an_unknown_entry_gets_a_hint(capsys):
    assert main(["faults", "bias-gradient-meen"]) == 2
    assert "did you mean 'bias-gradient-mean'?" in capsys.readouterr().err
