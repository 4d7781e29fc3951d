"""A cause explained in every format, all causes listed, and the command that shows both."""

import json
import re

import pytest

from handgrad.compare.cli import main
from handgrad.compare.faults import explain, lesson
from handgrad.compare.faults.explanations import explanations

CAUSES = explanations()
OF_LOOP = CAUSES["isolated-elements"]


def test_a_cause_as_text_has_every_part():
    told = explain.as_text(OF_LOOP)
    assert told.startswith(f"isolated-elements: {OF_LOOP.line}\n\n")
    words = " ".join(told.split())
    for text in (OF_LOOP.means, OF_LOOP.fault.lesson, *OF_LOOP.neighbours.values()):
        assert text in words
    assert re.search(r"^ *-    dW = X\.T @ dZ$", told, flags=re.MULTILINE)
    assert re.search(r"^ *\+        dW\[j\] = X\[:, j\] @ dZ$", told, flags=re.MULTILINE)
    assert [told.index(f"  {code}  ") for code in OF_LOOP.neighbours] == sorted(
        told.index(f"  {code}  ") for code in OF_LOOP.neighbours
    )


def test_the_other_mistakes_of_a_cause_are_named_where_there_are_any():
    assert "handgrad faults NAME: labels-of-another-shape," in explain.as_text(CAUSES["shape"])
    assert OF_LOOP.others == ()
    assert "handgrad faults NAME" not in explain.as_text(OF_LOOP)


def test_a_cause_as_json_has_stable_keys():
    content = json.loads(explain.as_json(OF_LOOP))
    assert [*content] == ["code", "group", "line", "means", "example", "question", "neighbours", "others", "lesson"]
    assert content["neighbours"] == dict(OF_LOOP.neighbours)
    (finding,) = content["lesson"]["report"]["findings"]
    assert finding["cause"]["code"] == content["code"] == content["lesson"]["cause"]


def test_a_cause_as_markdown_shows_the_difference_and_the_neighbours():
    text = explain.as_markdown(OF_LOOP)
    assert text.startswith("# isolated-elements: ")
    assert "```diff\n--- compare/faults/problems/softmax.py (right)\n" in text
    assert all(re.search(rf"^\| {code} +\|", text, flags=re.MULTILINE) for code in OF_LOOP.neighbours)


def test_a_cause_as_a_page_has_its_code_right_and_wrong():
    page = explain.as_page(OF_LOOP)
    assert 'class="removed"' in page
    assert 'class="added"' in page
    assert all(f"<code>{code}</code>" in page for code in OF_LOOP.neighbours)


def test_the_list_has_a_line_of_80_columns_for_every_cause():
    lines = explain.listed().splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines if line.startswith("  ")] == [*CAUSES]


def test_the_list_in_other_formats_has_every_cause():
    assert [cause["code"] for cause in json.loads(explain.listed_as_json())] == [*CAUSES]
    assert len(explain.listed_as_markdown().splitlines()) == len(CAUSES) + 2
    page = explain.listed_as_page()
    assert all(f"<code>{code}</code>" in page for code in CAUSES)


def test_every_format_has_its_rendering():
    assert [*explain.LIST] == [*explain.ONE] == [*lesson.LIST] == [*lesson.ONE]


def test_the_command_lists_all_and_shows_one(capsys):
    assert main(["explain"]) == 0
    assert capsys.readouterr().out == explain.listed()
    assert main(["explain", OF_LOOP.code]) == 0
    assert capsys.readouterr().out.startswith(f"{OF_LOOP.code}: ")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("activation-deriv", "activation-derivative"), ("Scale", "scale"), ("updated-wieghts", "updated-weights")],
)
def test_an_unknown_cause_gets_a_hint(name, meant, capsys):
    assert main(["explain", name]) == 2
    assert f"{name!r} is no cause; did you mean {meant!r}? handgrad explain lists all" in capsys.readouterr().err
