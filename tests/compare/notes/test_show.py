"""The statements of the notes as a table, as JSON, and each as its whole story."""

import json

import pytest
from wcwidth import wcswidth

from handgrad.compare.cli import main
from handgrad.compare.notes.language import language
from handgrad.compare.notes.show import as_json, as_markdown, as_table, short_story, story, whole_story
from handgrad.compare.notes.statements import STATEMENTS

BY_ID = {statement.id: statement for statement in STATEMENTS}


def code_of(listing):
    return "\n".join(line.text for line in listing.lines)


def test_the_story_of_one_has_the_code_of_both_sides_and_a_mistake():
    whole = whole_story(BY_ID["L2"])
    by_hand, torch = whole.code
    assert (by_hand.side, by_hand.file) == ("by hand", "manual/losses.py")
    assert "np.maximum(Z, 0) - Z * Y" in code_of(by_hand)
    assert (torch.side, torch.file) == ("torch", "torchref/losses.py")
    assert "binary_cross_entropy_with_logits" in code_of(torch)
    assert "return -Y * np.log(P) + (1 - Y) * np.log(1 - P)" in code_of(whole.literal)
    assert all('"""' not in code_of(listing) for listing in (*whole.code, whole.literal))
    assert whole.proofs
    assert whole.check is None
    assert whole.mistake.fault.name == "loss-as-in-the-notes"
    assert whole.mistake.report.first.cause.code == "loss-formula"


def test_a_short_story_checks_nothing():
    short = short_story(BY_ID["A3"])
    assert short.literal is not None
    assert short.check is None
    assert short.mistake is None


def test_the_line_of_an_equation_is_marked():
    (by_hand, _) = short_story(BY_ID["F1"]).code
    assert [line.text.strip() for line in by_hand.lines if line.marked] == ["return W @ A_prev + b  # (F1) (n_l, n)"]


def test_the_story_as_text_has_every_part():
    told = story(BY_ID["L2"])
    for piece in (
        "as written    loss = -y log p + (1-y) log(1-p)",
        "loss as written                      -2.30258509  -2.30258509",
        "Exactly, by sympy:",
        "A known mistake in it",
    ):
        assert piece in told, piece


@pytest.mark.parametrize("label", ["F0", "L4", "A3", "C2", "I1", "I6", "O1", "O4"])
def test_a_story_can_be_told_whatever_it_is_about(label):
    assert story(BY_ID[label]).startswith(f"{label}  {BY_ID[label].verdict}\n")


def test_json_has_stable_keys():
    statements = json.loads(as_json([BY_ID["L2"], BY_ID["G2"]]))
    keys = ["id", "own_words", "as_written", "corrected", "verdict", "evidence"]
    assert [[*statement] for statement in statements] == [keys] * 2
    assert statements[1]["own_words"][-1] == "Explode 없음."
    figures = statements[0]["evidence"]["figures"]
    assert figures["J after 500 steps as written"] == {"by_hand": "nan", "torch": None}


def test_the_table_has_a_row_for_each():
    chosen = [BY_ID["A1"], BY_ID["O4"]]
    table = as_table(chosen)
    assert "| sigmoid, ReLU and tanh are slow" in table
    assert "단점: 양 끝 포화영역에서" in table
    assert "gradient descent changes sign 200 times" in table
    assert len(as_markdown(chosen).splitlines()) == 4


def test_a_table_in_korean_is_aligned_on_a_terminal():
    table = as_table([BY_ID["A1"], BY_ID["O4"]], language("ko"))
    assert "백만분의" in table
    assert len({wcswidth(line) for line in table.splitlines()}) == 1
    first, *lines = story(BY_ID["A1"], language("ko")).splitlines()[:6]
    assert first == "A1  맞음"
    said = ("A) ", "단점", "update", "sigmoid, ReLU", "sigmoid와")
    starts = [wcswidth(line[: line.index(text)]) for line, text in zip(lines, said, strict=True)]
    assert starts == [starts[0]] * 5


def test_the_command(capsys, tmp_path):
    assert main(["notes", "--id", "G2"]) == 0
    assert capsys.readouterr().out.startswith("G2  corrected\n")
    assert main(["notes", "--id", "g2"]) == 2
    assert "did you mean 'G2'?" in capsys.readouterr().err
    assert main(["notes", "--id", "G2", "--format", "json", "--output", str(tmp_path / "g2.json")]) == 0
    assert json.loads((tmp_path / "g2.json").read_text())[0]["id"] == "G2"


def test_the_command_in_korean(capsys, tmp_path):
    assert main(["notes", "--id", "G2", "--language", "ko"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("G2  고침\n  노트의 표현  예를 들어 (i)")
    assert "50층을 지나면 (1, 1)은 처음의 6.4e+08배가 됩니다." in told
    assert main(["notes", "--language", "korean", "--format", "json"]) == 2
    assert "known are en, ko" in capsys.readouterr().err
    page = tmp_path / "ko.html"
    assert main(["notes", "--id", "A1", "--language", "ko", "--format", "html", "--output", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert '<html lang="ko">' in text
    assert "<title>강의 노트의 A1 - handgrad</title>" in text
    assert "한 층을 지나고 남는 기울기의 비율입니다." in text
    assert '<code lang="ko">단점: 양 끝 포화영역에서</code>' in text
