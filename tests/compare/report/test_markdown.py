import re

import pytest

from handgrad.compare.facts.causes import Scaled, Unknown
from handgrad.compare.facts.failures import LosesDigits, Raised
from handgrad.compare.facts.remarks import NotJudged
from handgrad.compare.names import Key
from handgrad.compare.report.markdown import render, render_all
from handgrad.compare.results import Finding, Results, Row, SourceLine
from tests.compare.report.samples import FAILING, GOLDEN, PASSING, SAMPLES

ROW = Row(1, "backward", "dw", "", (3,), 0.5, rho=0.1)


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


@pytest.mark.parametrize("name", SAMPLES)
def test_the_markdown_of_a_report(name):
    assert render(SAMPLES[name]) == (GOLDEN / f"{name}.md").read_text(encoding="utf-8")


def test_it_has_the_verdict_the_culprits_and_the_rest_folded():
    text = render(FAILING)
    lines = text.splitlines()
    assert lines[0] == "### handgrad: FAULT"
    assert lines[2].startswith("dZ1 is the first tensor that differs, at step 1")
    culprit, other = (cells(line) for line in lines if line.startswith(("| dZ1 at", "| dW2 at")))
    assert culprit[:4] == [
        "dZ1 at step 1",
        r"my_derivation.py:38 dZ1 = dA1 \* (1 - Z1\*\*2)",
        "FAULT",
        "activation-derivative",
    ]
    assert "the derivative is taken at Z1 where A1 belongs; at (0, 2): by hand 1.0782" in culprit[4]
    assert other[3] == "scale"
    tensors = text[text.index("<details><summary>All 10 tensors") :]
    assert [cells(line)[0] for line in tensors.splitlines() if line.startswith("| ")][:3] == ["tensor", "Z1", "A1"]
    assert "| torch         | 2.9.1" in text
    assert text.count("<details>") == text.count("</details>") == 2


def test_names_and_messages_of_the_users_are_shown_as_they_are():
    name = "a|b<script>`*_x_"
    finding = Finding(
        Key(1, "forward", name), "FAULT", Raised("E", "one\nline | <b>\n# no heading"), SourceLine(name, 1, name)
    )
    results = Results(
        (ROW._replace(name=name, verdict="FAULT"),),
        (finding,),
        (NotJudged("- a\n- b"),),
        environment={"check": "<img src=x>"},
    )
    text = render(results)
    assert "<script>" not in text.replace("\\<script\\>", "")
    assert "<b>" not in text
    assert "<img" not in text.replace("\\<img", "")
    (culprit,) = [line for line in text.splitlines() if line.startswith("| a") and "exception" in line]
    assert len(cells(culprit)) == 5
    assert [line for line in text.splitlines() if line.startswith("#")] == ["### handgrad: FAULT"]


def test_several_show_those_that_differ_in_full_and_the_others_in_a_line():
    text = render_all({"one": PASSING, "two": FAILING, "three": PASSING})
    lines = text.splitlines()
    assert lines[0] == "### handgrad: 1 of 3 checks differs"
    assert [cells(line)[:2] for line in lines[4:7]] == [["two", "FAULT"], ["one", "OK"], ["three", "OK"]]
    assert cells(lines[4])[4] == "dZ1 at step 1, my_derivation.py:38, activation-derivative"
    assert [line for line in lines if line.startswith("#### ")] == ["#### two: FAULT"]
    assert text.count("Environment") == 1
    assert render_all({"one": PASSING}).startswith("### handgrad: 1 check agrees\n")
    assert "- c could not run: no torch" in render_all({}, {"c": "no torch"})


def test_very_many_stay_short_enough_for_a_job_summary():
    fine = Results((ROW,), environment={"check": "c"})
    failing = Results((ROW._replace(verdict="FAULT"),), (Finding(Key(1, "backward", "dw"), "FAULT", Scaled(-1.0)),))
    text = render_all({f"test {i}": failing if i % 10 == 0 else fine for i in range(3000)})
    assert len(text) < 2**20
    assert text.startswith("### handgrad: 300 of 3000 checks differ")
    assert "2500 more agree" in text
    assert "280 more differ; the table above has them" in text


def test_what_fails_decides_although_something_weak_comes_first():
    weak = Finding(Key(1, "forward", "A1"), "WEAK", LosesDigits())
    results = Results((ROW,), (weak, Finding(Key(1, "backward", "dw"), "FAULT", Unknown())))
    assert render(results).startswith("### handgrad: FAULT\n")
    assert any("FAULT" in line and "dw at step 1" in line for line in render_all({"one": results}).splitlines())
    assert render(Results((ROW,), (weak,))).startswith("### handgrad: OK, but WEAK\n")


def test_control_characters_do_not_reach_the_page():
    row = ROW._replace(name="a\x1b[31m\u202e\nb", verdict="FAULT")
    text = render(Results((row,), (Finding(Key(1, "forward", row.name), "FAULT", Raised("E", "\x1b")),)))
    assert not {"\x1b", "\u202e"} & {*text}
    assert "\\x1b[31m\\u202e\\nb" in text.replace("\\\\", "\\").replace("\\[", "[")
